"""What a person on duty may do about work that is stuck. Every verb names who did it; nothing here guesses."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction

from accounts import audit, clock
from accounts.models import User
from generations import queue, trace
from generations.lifecycle import attempts, breaking, lost, moves, watching
from generations.lifecycle.breaking import Probing
from generations.models import Attempt, DispatchPause, Generation
from generations.states import AttemptState, State

log = logging.getLogger(__name__)

GIVEN_UP = "The request never reached fal, so it was given up."
LONGEST_REASON_CHARS = 160


def give_up(generation: Generation, *, actor: User, reason: str) -> bool:
    """A person says that a lost attempt was never ordered: the credits go back, with `actor` and `reason` in the book.

    False where there is no lost attempt (any more). A webhook that comes after all lists the attempt as one that fal
    may bill, and nothing is captured. Raises `ValueError` without a reason.
    """
    why = " ".join(reason.split())[:LONGEST_REASON_CHARS]
    if not why:
        raise ValueError("Giving up needs a reason.")
    now = clock.now()
    with trace.bound(generation=generation.pk), transaction.atomic():
        row = moves.lock(generation.pk)
        rows = Attempt.objects.lost().filter(generation=row)
        detail = f"Given up by {actor}: {why}"
        if not rows.update(
            state=AttemptState.FAILED, ended_at=now, error_type="given_up", error_detail=detail
        ):
            return False
        log.warning("person %s gave it up", actor.pk)
        _record(
            "given_up", row, actor=actor, reason=why, before={"state": row.state}, after={"state": "failed"}
        )
        entry = f"Not charged: never ordered. {why}"
        return moves.failed(row, code="given_up", message=GIVEN_UP, now=now, actor=actor, reason=entry)


def lift_pause(*, actor: User) -> bool:
    """Take a pause away, once fal's account is in order; False where there is none."""
    with transaction.atomic():
        pause = DispatchPause.objects.select_for_update().filter(pk=1).first()
        if pause is None:
            return False
        before = {"code": pause.code, "since_at": pause.since_at}
        pause.delete()
        audit.record("operations.pause_lifted", actor=actor, before=before)
    queue.enqueue(queue.DISPATCH)
    return True


def sweep_now(*, actor: User) -> None:
    """Ring for one round of the sweep; a worker makes it."""
    audit.record("operations.sweep_asked", actor=actor)
    queue.enqueue(queue.SWEEP)


def look_now(generation: Generation, *, actor: User) -> bool:
    """Do now what the sweep would do for it later; whether that changed anything. Raises `fal.FalError`.

    What waits is rung for, what fal has is asked about, what is lost is looked up in fal's history, and what fal has
    finished is rung for to be brought home.
    """
    with trace.bound(generation=generation.pk):
        log.info("person %s has it looked at", actor.pk)
        _record("looked_at", generation, actor=actor)
        if generation.state == State.REQUESTED:
            return _ring(generation, queue.DISPATCH)
        if generation.state == State.STORING:
            return _ring(generation, queue.INGEST, str(generation.pk))
        attempt = attempts.open_attempt(generation.pk)
        if attempt is not None and attempt.state == AttemptState.LOST:
            return lost.resolve(generation.pk)
        return watching.check(generation.pk)


def probe_now(*, actor: User) -> bool:
    """Let the one submission that tests a pause go at once; False where nothing is paused."""
    with transaction.atomic():
        changed = DispatchPause.objects.filter(pk=1).update(probe_at=clock.now())
        if changed:
            audit.record("operations.pause_probed", actor=actor)
    if changed:
        log.warning("person %s has the pause probed", actor.pk)
        queue.enqueue(queue.DISPATCH)
    return bool(changed)


def probe_engine_now(engine: str, *, actor: User) -> Probing:
    """Let the one generation that tests an engine go at once; where none waits, the next order is the test."""
    found = breaking.probe_now(engine, now=clock.now())
    if found is not Probing.NOT_BROKEN:
        log.warning("person %s has engine %s tested", actor.pk, engine)
        audit.record("operations.engine_probed", actor=actor, after={"engine": engine})
    return found


def _ring(generation: Generation, bell: str, *args: str) -> bool:
    """Due from this moment, and rung for; a lease that somebody holds stays theirs."""
    rows = Generation.objects.filter(pk=generation.pk, state=generation.state)
    changed = rows.update(next_check_at=clock.now())
    queue.enqueue(bell, *args)
    return bool(changed)


def _record(what: str, generation: Generation, *, actor: User, **said: Any) -> None:
    audit.record(f"operations.{what}", subject=generation, team=generation.team_id, actor=actor, **said)
