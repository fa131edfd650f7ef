"""Every change of a generation's state, by compare-and-swap, and the settlement that goes with a final one.

Call these inside a transaction, with a row from `lock`. Lock order: generation, attempt, then the ledger's own (hold,
budgets, wallet, grants). A move that is not in `states.MOVES`, or that somebody else was quicker to make, changes
nothing and answers False.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime
from typing import Any

from accounts import ledger
from accounts.models import User
from generations import queue, trace
from generations.models import Generation
from generations.states import MOVES, SETTLED, State

log = logging.getLogger(__name__)


def lock(generation_id: uuid.UUID | str) -> Generation:
    """The row, locked until the transaction ends. Raises `Generation.DoesNotExist`."""
    return Generation.objects.select_for_update(of=("self",)).get(pk=generation_id)


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


def storing(generation: Generation, *, now: datetime) -> bool:
    """fal says it is over: what became of it is for ingest to find out, at once."""
    return _move(
        generation,
        State.STORING,
        now=now,
        completed_at=now,
        next_check_at=now,
        fal_queue_position=None,
        **FREE,
    )


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


FREE: dict[str, Any] = {"lease_owner": "", "lease_until": None}


def _settle(generation: Generation, to: State, *, now: datetime, **fields: Any) -> bool:
    assert to in SETTLED
    return _move(generation, to, now=now, settled_at=now, next_check_at=None, **FREE, **fields)


def _move(generation: Generation, to: State, *, now: datetime, **fields: Any) -> bool:
    origin = State(generation.state)
    if to not in MOVES[origin] or not _write(generation, {"state": to, "changed_at": now, **fields}):
        return False
    with trace.bound(generation=generation.pk):
        log.info("%s -> %s%s", origin, to, f" ({fields['failure_code']})" if "failure_code" in fields else "")
    queue.announce(generation.team_id, str(generation.pk))
    return True


def _write(generation: Generation, fields: dict[str, Any]) -> bool:
    """One conditional UPDATE; the object in hand follows."""
    changed = Generation.objects.filter(pk=generation.pk, state=generation.state).update(**fields)
    for name, value in fields.items():
        setattr(generation, name, value)
    return changed == 1
