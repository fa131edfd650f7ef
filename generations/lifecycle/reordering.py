"""The order within one's own line: a member says which of their waiting generations go before the others.

Whose turn it is stays as it was, so nothing here lets a member pass another. Nobody changes another's order, a team
admin neither: an admin answers for what is spent (and may cancel), not for what a member wants to see first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction

from accounts import clock
from accounts.models import User
from generations import trace
from generations.lifecycle import line, moves
from generations.lifecycle.errors import NotWaiting, NotYours
from generations.models import Generation
from generations.states import State

TICK = timedelta(microseconds=1)


class Move(StrEnum):
    FIRST = "first"
    SOONER = "sooner"
    LATER = "later"
    LAST = "last"


def reorder(generation: Generation, *, move: Move | str, actor: User) -> bool:
    """Move it within its member's own line; False where it stands there already.

    Raises `NotYours`, `NotWaiting` (dispatch has just taken it, or it was cancelled), and `ValueError` for a move that
    is none. A dispatcher that comes meanwhile takes either the old order or the new.
    """
    move = Move(move)
    if generation.user_id != actor.pk:
        raise NotYours
    now = clock.now()
    with trace.bound(generation=generation.pk), transaction.atomic():
        own = _locked(generation, now)
        at = next((place for place, row in enumerate(own) if row.pk == generation.pk), None)
        if at is None:
            raise NotWaiting
        changed = _changed(own, at, move)
        for row, queued_at in changed:
            moves.touch(row, now=now, queued_at=queued_at)
        if changed:
            transaction.on_commit(line.forget)
    return bool(changed)


def _locked(generation: Generation, now: datetime) -> list[Generation]:
    """The member's own line, locked in the order everybody locks several, without what dispatch has taken."""
    rows = Generation.objects.select_for_update(of=("self",)).filter(
        user=generation.user_id, team=generation.team_id, state=State.REQUESTED
    )
    rows = rows.only("pk", "team_id", "state", "queued_at", "lease_until").order_by("pk")
    waiting = [row for row in rows if row.lease_until is None or row.lease_until < now]
    return sorted(waiting, key=lambda row: (row.queued_at, row.pk))


def _changed(own: Sequence[Generation], at: int, move: Move) -> list[tuple[Generation, datetime]]:
    """The rows that get another `queued_at`: one for an end of the line, two that change places otherwise."""
    to = {
        Move.FIRST: 0,
        Move.SOONER: max(at - 1, 0),
        Move.LATER: min(at + 1, len(own) - 1),
        Move.LAST: len(own) - 1,
    }[move]
    if to == at:
        return []
    if to == 0:
        return [(own[at], own[0].queued_at - TICK)]
    if to == len(own) - 1:
        return [(own[at], own[-1].queued_at + TICK)]
    ordered = [row for place, row in enumerate(own) if place != at]
    ordered.insert(to, own[at])
    return _dealt(ordered, [row.queued_at for row in own])


def _dealt(ordered: Sequence[Generation], times: Sequence[datetime]) -> list[tuple[Generation, datetime]]:
    """The same times dealt out anew, each later than the one before, also where two were equal."""
    changed, last = [], times[0] - TICK
    for row, at in zip(ordered, times, strict=True):
        last = max(at, last + TICK)
        if row.queued_at != last:
            changed.append((row, last))
    return changed
