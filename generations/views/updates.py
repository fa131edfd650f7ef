"""What changed on an open page, as the same fragments its first paint used, each with the place it belongs to.

One address for both ways: the live stream sends this answer at each change, and where no stream can be had the page
asks for it every few seconds. Morphing swaps keep typed text and playing clips.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from accounts.models import Membership
from accounts.permissions import member_required
from generations.models import Generation
from generations.views import live_work
from generations.views.access import find, of_this_page
from generations.views.show import detail

MOST_CARDS = 96
TEAM_HEADER = "X-Live-Team"


@require_safe
@member_required
def updates(request: HttpRequest, *, membership: Membership) -> HttpResponse:
    """`page` says what is open: studio, show (with `id`), library (with `ids` that changed), or just the header."""
    parts = {"studio": studio_part, "show": _show, "library": _library}.get(
        request.GET.get("page", ""), _nothing
    )
    pill = render_to_string("_wallet_pill.html", {}, request)
    asked = render_to_string("_nav_requests.html", {}, request)
    header = (part("wallet-pill", pill), part("nav-requests", asked))
    answer = HttpResponse(format_html("{}{}{}", parts(request, membership), *header))
    answer[TEAM_HEADER] = str(membership.team_id)
    return answer


def part(target: str, html: str) -> SafeString:
    """One fragment and the id of the element it updates; htmx leaves out what is not on the page.

    Without space around it: a morph leaves that beside the element, once more at each update.
    """
    return format_html(
        '<hx-partial hx-target="#{}" hx-swap="outerMorph">{}</hx-partial>', target, SafeString(html.strip())
    )


def studio_part(request: HttpRequest, membership: Membership) -> SafeString:
    return part("live", render_to_string("generations/_live.html", live_work.context(membership), request))


def _show(request: HttpRequest, membership: Membership) -> SafeString:
    generation = find(membership.user, _uuid(request.GET.get("id", "")) or uuid.UUID(int=0))
    return show_part(request, membership, generation)


def show_part(request: HttpRequest, membership: Membership, generation: Generation) -> SafeString:
    html = render_to_string("generations/_generation.html", detail(generation, membership), request)
    return part("generation", html)


def _library(request: HttpRequest, membership: Membership) -> SafeString:
    ids = [pk for pk in map(_uuid, request.GET.getlist("ids")[:MOST_CARDS]) if pk]
    found = live_work.with_places(
        of_this_page(Generation.objects.all().visible_to(membership.user).filter(pk__in=ids))
    )
    return format_html_join("", "{}", ((_card(request, generation),) for generation in found))


def _card(request: HttpRequest, generation: Generation) -> SafeString:
    context: dict[str, Any] = {"generation": generation}
    return part(f"card-{generation.pk}", render_to_string("generations/_card.html", context, request))


def _nothing(_request: HttpRequest, _membership: Membership) -> SafeString:
    return SafeString("")


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
