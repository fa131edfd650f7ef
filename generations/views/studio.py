"""The studio: the composer, the price that follows it, and the order itself."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import LedgerError
from accounts.models import Membership
from accounts.permissions import member_required
from generations import catalogue, estimates, lifecycle
from generations.models import Generation
from generations.views import draft as drafts
from generations.views import live_work, picker
from generations.views.access import find, of_this_page
from generations.views.draft import Draft
from generations.views.updates import part

MOST_RECENT = 12


@require_safe
@member_required
def studio(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """`again` fills the composer with the inputs of a generation, `engine` chooses one."""
    again = drafts.uuid_or_none(request.GET.get("again", ""))
    if again:
        draft = drafts.again(find(membership.user, again), membership)
    else:
        draft = drafts.fresh(picker.chosen(request.GET.get("engine", ""), membership))
    return _page(request, membership, draft, is_prefilled=bool(again))


@require_POST
@member_required
def fields(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """Another engine, a picture taken out, or a sample put in: the composer with everything that was typed."""
    draft = drafts.switched(request, membership)
    if request.htmx:  # type: ignore[attr-defined]
        return _composer(request, membership, draft)
    return _page(request, membership, draft)


@require_POST
@member_required
def quote(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """The button with its price, for the choices as they stand.

    `is_refresh`: nobody has chosen anything, the world has changed. Then the price that was seen stays the one that
    was agreed to, so that a higher one is told before it is held.
    """
    draft = drafts.priced(request)
    seen = request.POST.get("seen_credits", "") if "is_refresh" in request.POST else ""
    context = {
        "draft": draft,
        "offer": drafts.offer(draft, membership),
        "agreed": int(seen[:9]) if seen.isdecimal() else None,
    }
    return render(request, "generations/studio.html#send", context)


@require_POST
@member_required
def upload(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """One picture input with what was brought to it: the fragment that replaces its drop zone."""
    engine = picker.orderable(request.POST.get("engine", "")) or picker.default_engine()
    field = engine.input(request.POST.get("field", ""))
    if field is None or not field.is_picture:
        return HttpResponse(
            f"{engine.label} has no such picture input.", status=422, content_type="text/plain"
        )
    row = drafts.posted_row(request, membership, engine, field)
    return render(request, "generations/_picture.html", {"row": row}, status=422 if row.errors else 200)


@require_POST
@member_required
def generate(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """Order it. What is refused comes back with everything that was typed and the reason beside its field."""
    draft = drafts.posted(request, membership)
    seen = None
    generation = None
    if draft.is_valid():
        seen = draft.form.cleaned_data["seen_credits"]
        generation = _order(membership, draft, seen)
    if generation is None:
        return refused(request, membership, draft, seen)
    return _ordered(request, membership, draft, generation)


def _order(membership: Membership, draft: Draft, seen: int | None) -> Generation | None:
    """None when it is refused; the draft then says why."""
    asked: dict[str, Any] = {
        "user": membership.user,
        "team": membership.team,
        "engine": draft.engine.endpoint_id,
        "params": draft.form.params,
    }
    try:
        return lifecycle.request(
            **asked,
            expected_seconds=estimates.expected_seconds(**asked),
            pictures=draft.pictures,
            form_token=draft.form.cleaned_data["form_token"],
            seen_credits=seen,
            tag=draft.form.cleaned_data["project_tag"],
        )
    except catalogue.InvalidInputs as error:
        draft.form.add_input_errors(error.errors)
    except lifecycle.AlreadySent as error:
        draft.form.add_error(None, str(error))
        draft.form.renew_token()
    except (LedgerError, lifecycle.LifecycleError, catalogue.CatalogueError) as error:
        draft.form.add_error(None, str(error))
    return None


def refused(request: HttpRequest, membership: Membership, draft: Draft, seen: int | None) -> HttpResponse:
    """The composer again, with everything that was typed and why it was not done."""
    answer = _composer if request.htmx else _page  # type: ignore[attr-defined]
    return answer(request, membership, draft, status=422, seen_credits=seen)


def _ordered(
    request: HttpRequest, membership: Membership, draft: Draft, generation: Generation
) -> HttpResponseBase:
    said = f"Requested: {generation.engine_title}."
    if not request.htmx:  # type: ignore[attr-defined]
        messages.success(request, said)
        return redirect("generations:studio")
    membership.team.wallet.refresh_from_db()
    typed = drafts.typed_before(generation)
    pictures = [picture for row in draft.rows for picture in row.pictures] + draft.carried
    fresh = drafts.fresh(draft.engine, typed=typed, pictures=pictures)
    composer = _composer(request, membership, fresh, said=said).content.decode()
    live = render_to_string("generations/_live.html", live_work.context(membership), request)
    pill = render_to_string("_wallet_pill.html", {}, request)
    parts = (part("composer", composer), part("live", live), part("wallet-pill", pill))
    return HttpResponse(format_html("{}{}{}", *parts))


def _context(membership: Membership, draft: Draft, seen: int | None) -> dict[str, Any]:
    broken = picker.broken_engines()
    return {
        "draft": draft,
        "offer": drafts.offer(draft, membership, seen_credits=seen),
        "groups": picker.groups(broken, hidden=picker.hidden_engines(membership)),
        "choice": picker.choice(draft.engine, broken=broken),
        "kinds": picker.KINDS,
        "tags": drafts.recent_tags(membership),
    }


def _composer(
    request: HttpRequest,
    membership: Membership,
    draft: Draft,
    *,
    status: int = 200,
    seen_credits: int | None = None,
    said: str = "",
) -> HttpResponse:
    context = {**_context(membership, draft, seen_credits), "said": said}
    return render(request, "generations/studio.html#composer", context, status=status)


def _page(
    request: HttpRequest,
    membership: Membership,
    draft: Draft,
    *,
    status: int = 200,
    seen_credits: int | None = None,
    is_prefilled: bool = False,
) -> HttpResponse:
    live = live_work.context(membership)
    shown = [generation.pk for generation in live["live"]]
    recent = Generation.objects.filter(team=membership.team).exclude(pk__in=shown)
    context = {
        **_context(membership, draft, seen_credits),
        **live,
        "recent": of_this_page(recent).newest_first()[:MOST_RECENT],
        "is_prefilled": is_prefilled,
    }
    return render(request, "generations/studio.html", context, status=status)
