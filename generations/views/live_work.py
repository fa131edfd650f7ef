"""The live part of the studio: what the team waits for, and what has just come."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from accounts import clock
from accounts.models import Membership
from generations import lifecycle
from generations.models import Generation
from generations.states import SETTLED, State
from generations.views.access import of_this_page

JUST_NOW = timedelta(minutes=20)
MOST_LIVE = 24
LONGEST = timedelta(
    hours=6
)  # from its order, how long something may have taken and still be shown as just come


def context(membership: Membership) -> dict[str, Any]:
    """Everything `_live.html` needs; the number of queries does not grow with the work."""
    since = clock.now() - JUST_NOW
    rows = of_this_page(Generation.objects.filter(team=membership.team)).newest_first()
    # Two bounded reads: as one with OR, a team without much live work has its whole past looked through.
    waited_for = rows.unsettled()[:MOST_LIVE]
    come = rows.settled().filter(settled_at__gte=since, created_at__gte=since - LONGEST)[:MOST_LIVE]
    newest = sorted([*waited_for, *come], key=lambda each: (each.created_at, each.pk), reverse=True)
    found = with_places(newest[:MOST_LIVE])
    return {"live": found, "unsettled": sum(not generation.is_settled for generation in found)}


def with_places(generations: Iterable[Generation]) -> list[Generation]:
    """The rows as a list, those that wait knowing how many go before them (`ahead`)."""
    found = list(generations)
    if any(generation.state == State.REQUESTED for generation in found):
        ahead = lifecycle.waiting_positions()
        for generation in found:
            generation.ahead = ahead.get(generation.pk)  # type: ignore[attr-defined]
    return found


def is_live(generation: Generation) -> bool:
    return generation.state not in SETTLED
