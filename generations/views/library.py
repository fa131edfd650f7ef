"""The team's library: every generation, newest first, found by state, engine, member and words.

The URL is the state, so every view of it is a link.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from accounts.models import Membership, User
from accounts.permissions import member_required
from generations import catalogue
from generations.models import Generation, GenerationQuerySet
from generations.states import UNSETTLED, State
from generations.views.access import of_this_page
from generations.views.draft import uuid_or_none
from generations.views.live_work import with_places

PER_PAGE = 24
MOST_QUERY_CHARS = 200
STATES = {
    "ready": ("Ready", {State.SUCCEEDED}),
    "running": ("In progress", UNSETTLED),
    "failed": ("Failed", {State.FAILED}),
    "canceled": ("Canceled", {State.CANCELED}),
}


@require_safe
@member_required
def library(request: HttpRequest, *, membership: Membership) -> HttpResponseBase:
    """24 at a time; `before` names the last card of the page that was seen."""
    context = _context(request.GET, membership)
    if request.htmx and "before" in request.GET:  # type: ignore[attr-defined]
        return _more(request, context)
    if request.htmx:  # type: ignore[attr-defined]
        response = render(request, "generations/library.html#results", context)
        response["HX-Push-Url"] = _address(request)
        return response
    return render(request, "generations/library.html", context)


def _address(request: HttpRequest) -> str:
    """This view as a link, without the filters that were left open."""
    asked = QueryDict(mutable=True)
    asked.update({name: value for name, value in request.GET.dict().items() if value})
    return f"{request.path}?{asked.urlencode()}" if asked else request.path


def _context(asked: QueryDict, membership: Membership) -> dict[str, Any]:
    rows = _page_of(_filtered(asked, membership), asked.get("before", ""))
    cards = with_places(of_this_page(rows)[: PER_PAGE + 1])
    shown = cards[:PER_PAGE]
    return {
        "cards": shown,
        "unsettled": [card for card in shown if not card.is_settled],
        "more": _more_url(asked, shown[-1]) if len(cards) > PER_PAGE else "",
        "is_filtered": any(asked.get(name) for name in ("state", "engine", "member", "q")),
        "asked": asked,
        "states": [(name, label) for name, (label, _) in STATES.items()],
        "engines": catalogue.orderable(),
        "members": _members(membership),
    }


def _filtered(asked: QueryDict, membership: Membership) -> GenerationQuerySet:
    rows: GenerationQuerySet = Generation.objects.filter(team=membership.team)
    wanted = STATES.get(asked.get("state", ""))
    if wanted:
        rows = rows.filter(state__in=[state.value for state in wanted[1]])
    engine = asked.get("engine", "").replace("\0", "")
    if engine:
        rows = rows.filter(engine=engine)
    who = asked.get("member", "")
    if who == "me":
        rows = rows.filter(user=membership.user)
    elif who.isdecimal():
        rows = rows.filter(user=int(who[:9]))
    words = asked.get("q", "").replace("\0", "").strip()[:MOST_QUERY_CHARS]
    return rows.filter(prompt__icontains=words) if words else rows


def _page_of(rows: GenerationQuerySet, before: str) -> GenerationQuerySet:
    bound = _bound(before)
    return (rows.before(*bound) if bound else rows).newest_first()


def _bound(text: str) -> tuple[datetime, uuid.UUID] | None:
    """ "2026-11-23T00:17:36.123456+00:00_<id>", or None for anything else."""
    moment, _, pk = text.partition("_")
    try:
        created_at, key = parse_datetime(moment), uuid_or_none(pk)
    except ValueError:
        return None
    return (created_at, key) if created_at and created_at.tzinfo and key else None


def _more_url(asked: QueryDict, last: Generation) -> str:
    query = asked.copy()
    query["before"] = f"{last.created_at.isoformat()}_{last.pk}"
    return f"?{query.urlencode()}"


def _members(membership: Membership) -> QuerySet[User]:
    return User.objects.filter(memberships__team=membership.team).order_by("name", "email")


def _more(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """The next cards behind those that are there, and the button for those after them."""
    cards = render_to_string("generations/library.html#cards", context, request)
    more = render_to_string("generations/library.html#more", context, request)
    swap = '<hx-partial hx-target="#{}" hx-swap="{}">{}</hx-partial>'
    parts = (("clips", "beforeend", SafeString(cards)), ("more", "outerHTML", SafeString(more)))
    return HttpResponse(format_html_join("", swap, parts))
