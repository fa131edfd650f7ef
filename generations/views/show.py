"""One generation: the clip, what it was made from, where it stands, and every credit it moved."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts import clock
from accounts.models import Entry, Membership
from accounts.permissions import member_required
from generations import lifecycle
from generations.models import CreditRequest, Generation, LateClip, LogLine
from generations.views.access import find, may_cancel
from generations.views.live_work import with_places

MOST_LOG_LINES = 200
NOT_YOURS = "Only the member who asked for it, or a team admin, can cancel this."
# True before it has stopped and after: the sentence stays on the page.
ASKED = "Asked to cancel it. Nothing is charged unless fal finishes the clip first."
TOO_LATE = "It is too late to cancel: this generation is being stored or has ended."


@require_safe
@member_required
def show(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    return render(request, "generations/show.html", detail(find(membership.user, pk), membership))


@require_POST
@member_required
def cancel(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    """Stop it, if it can still be stopped; what fal finishes first is kept and captured."""
    generation = find(membership.user, pk)
    if not may_cancel(generation, membership):
        return _told(request, generation, NOT_YOURS, status=403)
    if not lifecycle.cancel(generation, actor=membership.user):
        return _told(request, generation, TOO_LATE, status=409)
    return _told(request, generation, ASKED)


def detail(generation: Generation, membership: Membership) -> dict[str, Any]:
    """Everything `_generation.html` needs."""
    with_places([generation])
    attempts = list(generation.attempts.order_by("number"))
    is_overseer = membership.user.is_staff or (
        membership.is_admin and membership.team_id == generation.team_id
    )
    entries = Entry.objects.filter(hold=generation.hold_id).select_related("actor").order_by("seq")
    return {
        "generation": generation,
        "choices": choices(generation),
        "attempts": attempts if is_overseer else [],
        "tries": len(attempts),
        "log_lines": _log(generation),
        "entries": list(entries),
        "late": _late(generation),
        "may_keep": generation.user_id == membership.user_id,
        "kept_from": LateClip.objects.filter(kept_as=generation).select_related("generation").first(),
        "may_cancel": generation.is_cancelable and may_cancel(generation, membership),
    }


def _late(generation: Generation) -> LateClip | None:
    """The clip that came after this was given up, while it can be kept or after it was."""
    found = LateClip.objects.filter(generation=generation).exclude(state=LateClip.State.GONE).first()
    is_over = found and found.state == LateClip.State.OFFERED and found.offered_until <= clock.now()
    return None if is_over else found


def choices(generation: Generation | CreditRequest) -> list[tuple[str, object]]:
    """Every parameter that was sent, under the label the form had; the prompt stands by itself."""
    entry = generation.catalogue_entry
    found = []
    for name, value in generation.inputs.items():
        field = entry.input(name) if entry else None
        if name == "prompt" or (field and field.is_picture):
            continue
        label = field.label if field else name
        shown = dict(field.choices).get(str(value), value) if field and field.enum else value
        found.append(
            (label, {True: "yes", False: "no"}.get(shown, shown) if isinstance(shown, bool) else shown)
        )
    return found


def _log(generation: Generation) -> list[LogLine]:
    lines = LogLine.objects.filter(attempt__generation=generation).order_by("-attempt__number", "-position")
    return list(lines[:MOST_LOG_LINES])[::-1]


def _told(request: HttpRequest, generation: Generation, text: str, *, status: int = 200) -> HttpResponse:
    """A redirect for a form, a line for a fragment. A refusal is a page of its own only for a script."""
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "_notice.html", {"text": text, "is_bad": status >= 400})
    (messages.warning if status >= 400 else messages.success)(request, text)
    return redirect("generations:show", pk=generation.pk)
