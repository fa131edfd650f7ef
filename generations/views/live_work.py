"""The live part of the studio: what the team waits for, and what has just come."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Case, Count, Q, When, Window

from accounts import clock
from accounts.models import Membership
from generations import estimates, lifecycle
from generations.models import Breaker, Generation
from generations.states import SETTLED, State
from generations.views.access import of_this_page

JUST_NOW = timedelta(minutes=20)
MOST_LIVE = 24
# However long the line is: what has just come keeps so much room.
LEAST_ENDED = 6
LONGEST = timedelta(
    hours=6
)  # from its order, how long something may have taken and still be shown as just come


def context(membership: Membership) -> dict[str, Any]:
    """Everything `_live.html` needs; the number of queries does not grow with the work.

    What is under way stands first, in the order in which it will come (`_waited_for`), then what has just come.
    `unsettled` counts all that the team waits for, `more` what of it is not shown.
    """
    since = clock.now() - JUST_NOW
    rows = of_this_page(Generation.objects.filter(team=membership.team))
    # Bounded reads: as one with OR, a team without much live work has its whole past looked through.
    places, total = _waited_for(membership)
    waited_for = {each.pk: each for each in rows.filter(pk__in=places)}
    come = rows.settled().filter(settled_at__gte=since, created_at__gte=since - LONGEST).newest_first()
    # What settles between the reads is in both; what was read later is true.
    seen = waited_for | {each.pk: each for each in come[:MOST_LIVE]}
    live = sorted((each for each in seen.values() if not each.is_settled), key=lambda each: places[each.pk])
    ended = [each for each in seen.values() if each.is_settled]
    ended.sort(key=lambda each: (each.created_at, each.pk), reverse=True)
    shown = live[: MOST_LIVE - min(len(ended), LEAST_ENDED)]
    # What has settled since it was counted is no longer in progress.
    unsettled = total - len(places) + len(live)
    found = with_places([*shown, *ended[: MOST_LIVE - len(shown)]])
    return {"live": found, "unsettled": unsettled, "more": unsettled - len(shown)}


def _waited_for(membership: Membership) -> tuple[dict[uuid.UUID, int], int]:
    """Each of the first `MOST_LIVE` unsettled ones of the team with its place, and how many there are in all.

    First what fal has and what is being stored, then this member's own that wait, then the others'; each in the order
    of the line. One statement, which reads keys alone.
    """
    is_waiting = Q(state=State.REQUESTED)
    rank = Case(When(~is_waiting, then=0), When(is_waiting, user=membership.user, then=1), default=2)
    rows = Generation.objects.filter(team=membership.team).unsettled()
    rows = rows.annotate(rank=rank, total=Window(Count("*"))).order_by("rank", "queued_at", "pk")
    found = list(rows.values_list("pk", "total")[:MOST_LIVE])
    return {pk: place for place, (pk, _) in enumerate(found)}, found[0][1] if found else 0


def with_places(generations: Iterable[Generation]) -> list[Generation]:
    """The rows as a list; those under way with their `estimate`, those that wait knowing how many go before them
    (`ahead`), where they stand among their member's own (`own_place`), or what holds them (`breaker`).
    """
    found: list[Any] = list(generations)
    waiting = [generation.pk for generation in found if generation.state == State.REQUESTED]
    line = lifecycle.waiting_line(waiting) if waiting else None
    broken = Breaker.objects.open().by_engine() if waiting else {}
    known = estimates.of(found, line)
    for generation in found:
        generation.estimate = known.get(generation.pk)
        if line and generation.state == State.REQUESTED:
            generation.ahead = line.positions.get(generation.pk)
            generation.own_place = line.own_places.get(generation.pk)
            generation.breaker = broken.get(generation.engine)
    return found


def is_live(generation: Generation) -> bool:
    return generation.state not in SETTLED
