"""A member puts one of their waiting generations before or behind the others."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.models import Membership
from accounts.permissions import member_required
from generations import lifecycle
from generations.lifecycle import Move
from generations.models import Generation
from generations.views.access import find
from generations.views.updates import show_part, studio_part

SAID = {
    Move.FIRST: "It is the first of yours now.",
    Move.SOONER: "It goes one place sooner.",
    Move.LATER: "It goes one place later.",
    Move.LAST: "It is the last of yours now.",
}
ALREADY = "It stands there already."
# Beside the buttons that were pressed: the head of the page may be far away.
_SAID = '<hx-partial hx-target="#said-{}" hx-swap="innerHTML">{}</hx-partial>'


@require_POST
@member_required
def reorder(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    """`move` is first, sooner, later or last, within what this member has waiting."""
    generation = find(membership.user, pk)
    try:
        move = Move(request.POST.get("move", ""))
    except ValueError:
        return HttpResponse("first, sooner, later or last", status=400, content_type="text/plain")
    try:
        is_changed = lifecycle.reorder(generation, move=move, actor=membership.user)
    except (lifecycle.NotYours, lifecycle.NotWaiting) as error:
        return _told(request, membership, generation, str(error), is_bad=True)
    return _told(request, membership, generation, SAID[move] if is_changed else ALREADY)


def _told(
    request: HttpRequest, membership: Membership, generation: Generation, text: str, *, is_bad: bool = False
) -> HttpResponse:
    """A redirect to where the form stood; for a script the part of the page it is about, and the words in it.

    What could not be done is said at the head of the page: its form may be gone.
    """
    if not request.htmx:  # type: ignore[attr-defined]
        tell = messages.warning if is_bad else messages.info if text == ALREADY else messages.success
        tell(request, text)
        return redirect(_back(request))
    shown = _shown(request, membership, generation)
    if is_bad:
        said = SafeString(render_to_string("_notice.html", {"text": text, "is_bad": True}, request))
    else:
        said = format_html(_SAID, generation.pk, text)
    return HttpResponse(format_html("{}{}", shown, said))


def _shown(request: HttpRequest, membership: Membership, generation: Generation) -> SafeString:
    page = reverse("generations:show", args=[generation.pk])
    if request.htmx.current_url_abs_path == page:  # type: ignore[attr-defined]
        return show_part(request, membership, find(membership.user, generation.pk))
    return studio_part(request, membership)


def _back(request: HttpRequest) -> str:
    wanted = request.META.get("HTTP_REFERER", "")
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else reverse("generations:studio")
