"""Every change of a generation's state, by compare-and-swap, and the settlement that goes with a final one.

Call these inside a transaction, with a row from `lock`. Lock order: generation, attempt, the engine's breaker, then the
ledger's own (hold, budgets, wallet, grants). A move that is not in `states.MOVES`, or that somebody else was quicker to
make, changes nothing and answers False.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db import connection

from accounts import ledger
from accounts.models import User
from generations import queue, trace
from generations.models import Attempt, Generation
from generations.states import AT_FAL, MOVES, SETTLED, State

log = logging.getLogger(__name__)


def lock(generation_id: uuid.UUID | str) -> Generation:
    """The row, locked until the transaction ends. Raises `Generation.DoesNotExist`."""
    return Generation.objects.select_for_update(of=("self",)).get(pk=generation_id)


def lock_for(attempt_ids: Collection[int]) -> dict[uuid.UUID, Generation]:
    """The generations of these attempts that are at fal, by id, locked in one order by everybody who locks several."""
    rows = (
        Generation.objects.select_for_update(of=("self",))
        .filter(pk__in=Attempt.objects.filter(pk__in=attempt_ids).values("generation"), state__in=AT_FAL)
        .only("pk", "team_id", "state", "fal_queue_position")
        .order_by("pk")
    )
    return {row.pk: row for row in rows}


def submitted(generation: Generation, *, now: datetime) -> bool:
    """An attempt is about to be sent."""
    return _move(
        generation, State.SUBMITTED, now=now, submitted_at=now, started_at=None, fal_queue_position=None
    )


def queued_again(generation: Generation, *, position: int | None, now: datetime) -> bool:
    """fal has put a running request back into its queue."""
    return _move(generation, State.SUBMITTED, now=now, started_at=None, fal_queue_position=position)


def running(generation: Generation, *, now: datetime) -> bool:
    return _move(generation, State.RUNNING, now=now, started_at=now, fal_queue_position=None)


def all_running(generations: Iterable[Generation], *, now: datetime) -> list[Generation]:
    """`running` for many rows from `lock_for`; those that may move and did."""
    return _move_all(generations, State.RUNNING, now=now, started_at=now, fal_queue_position=None)


def storing(generation: Generation, *, now: datetime) -> bool:
    """fal says it is over: what became of it is for ingest to find out, at once."""
    return _move(generation, State.STORING, now=now, **_storing_fields(now))


def all_storing(generations: Iterable[Generation], *, now: datetime) -> list[Generation]:
    """`storing` for many rows from `lock_for`; those that may move and did."""
    return _move_all(generations, State.STORING, now=now, **_storing_fields(now))


def _storing_fields(now: datetime) -> dict[str, Any]:
    return {"completed_at": now, "next_check_at": now, "fal_queue_position": None, **FREE}


def requested_again(generation: Generation, *, next_check_at: datetime, now: datetime) -> bool:
    """Back to the queue for a new attempt under the same hold."""
    return _move(
        generation,
        State.REQUESTED,
        now=now,
        next_check_at=next_check_at,
        started_at=None,
        completed_at=None,
        fal_queue_position=None,
        **FREE,
    )


def succeeded(generation: Generation, *, now: datetime) -> bool:
    """The clip is stored with us and playable: the whole hold is captured."""
    if not _settle(generation, State.SUCCEEDED, now=now):
        return False
    ledger.capture(generation.hold, reason="The clip is stored.", now=now)
    return True


def failed(
    generation: Generation,
    *,
    code: str,
    message: str,
    now: datetime,
    actor: User | None = None,
    reason: str = "",
) -> bool:
    """It will not come: the hold is released, and `message` says why in words for the member.

    Where a person decides so, `actor` and `reason` stand on the entry.
    """
    if not _settle(generation, State.FAILED, now=now, failure_code=code[:60], failure_message=message[:500]):
        return False
    why = reason or f"Not charged: {code.replace('_', ' ')}."
    ledger.release(generation.hold, reason=why, actor=actor, now=now)
    return True


def canceled(generation: Generation, *, now: datetime, actor: User | None = None) -> bool:
    """Stopped at somebody's wish: the hold is released."""
    if not _settle(generation, State.CANCELED, now=now):
        return False
    ledger.release(generation.hold, reason="Not charged: cancelled.", actor=actor, now=now)
    return True


def touch(generation: Generation, *, now: datetime, **fields: Any) -> None:
    """Write what is not state (positions, due times, flags) on a locked row, and tell the open pages."""
    _write(generation, {"changed_at": now, **fields})
    queue.announce(generation.team_id, str(generation.pk))


def touch_all(generations: Collection[Generation], *, now: datetime) -> None:
    """Tell the open pages that there is news besides the row (a line of fal's log)."""
    Generation.objects.filter(pk__in=[row.pk for row in generations]).update(changed_at=now)
    _announce(generations)


def place_all(places: Collection[tuple[Generation, int | None]], *, now: datetime) -> None:
    """Write many places in fal's queue with one statement."""
    if not places:
        return
    ids, positions = [row.pk for row, _ in places], [position for _, position in places]
    with connection.cursor() as cursor:
        cursor.execute(_PLACES, {"now": now, "ids": ids, "positions": positions})
    _announce([row for row, _ in places])


_PLACES = """
UPDATE generations_generation row SET fal_queue_position = given.position, changed_at = %(now)s
FROM unnest(%(ids)s::uuid[], %(positions)s::integer[]) AS given(id, position)
WHERE row.id = given.id AND row.state = 'submitted'
"""
FREE: dict[str, Any] = {"lease_owner": "", "lease_until": None}


def _announce(generations: Iterable[Generation]) -> None:
    queue.announce_all((row.team_id, str(row.pk)) for row in generations)


def _settle(generation: Generation, to: State, *, now: datetime, **fields: Any) -> bool:
    assert to in SETTLED
    return _move(generation, to, now=now, settled_at=now, next_check_at=None, **FREE, **fields)


def _move(generation: Generation, to: State, *, now: datetime, **fields: Any) -> bool:
    origin = State(generation.state)
    if to not in MOVES[origin] or not _write(generation, {"state": to, "changed_at": now, **fields}):
        return False
    _log(generation, to, origin=origin, code=fields.get("failure_code", ""))
    queue.announce(generation.team_id, str(generation.pk))
    return True


def _log(generation: Generation, to: State, *, origin: State, code: str = "") -> None:
    with trace.bound(generation=generation.pk):
        log.info("%s -> %s%s", origin, to, f" ({code})" if code else "")


def _move_all(
    generations: Iterable[Generation], to: State, *, now: datetime, **fields: Any
) -> list[Generation]:
    """One conditional UPDATE for each state they come from. Raises `RuntimeError` for rows that were not locked."""
    by_origin: dict[State, list[Generation]] = defaultdict(list)
    for row in generations:
        if to in MOVES[State(row.state)]:
            by_origin[State(row.state)].append(row)
    moved: list[Generation] = []
    for origin, rows in by_origin.items():
        found = Generation.objects.filter(pk__in=[row.pk for row in rows], state=origin)
        if found.update(state=to, changed_at=now, **fields) != len(rows):
            raise RuntimeError(f"rows on their way from {origin} to {to} were not locked")
        moved += rows
    for row in moved:
        origin, row.state = State(row.state), to
        _log(row, to, origin=origin)
    _announce(moved)
    return moved


def _write(generation: Generation, fields: dict[str, Any]) -> bool:
    """One conditional UPDATE; the object in hand follows."""
    changed = Generation.objects.filter(pk=generation.pk, state=generation.state).update(**fields)
    for name, value in fields.items():
        setattr(generation, name, value)
    return changed == 1
