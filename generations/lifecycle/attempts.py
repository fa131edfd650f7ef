"""What became of one attempt: accepted, lost, or over; and what that makes of its generation.

Each function locks the generation, looks at the attempt again, and leaves quietly where another was quicker.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts import clock
from generations import fal, queue, trace
from generations.lifecycle import breaking, moves
from generations.models import Attempt, DispatchPause, Generation
from generations.states import OPEN_ATTEMPTS, AttemptState, State

log = logging.getLogger(__name__)

LONGEST_RETRY_SECONDS = 300.0
MOST_DETAIL_CHARS = 4000
# A member's wish to stop ends a generation the next time anything ends an attempt of it.
CANCELED = "client_cancelled"


def accepted(attempt: Attempt, receipt: fal.Submitted) -> bool:
    """fal has it: by its own answer, by its webhook, or found in its history. False where that was known before."""
    try:
        with (
            trace.bound(generation=attempt.generation_id, attempt=attempt.pk, fal_request=receipt.request_id),
            transaction.atomic(),
        ):
            return _accept(attempt, receipt, now=clock.now())
    except IntegrityError:
        log.exception(
            "request %s is already another attempt's; attempt %s left as it is",
            receipt.request_id,
            attempt.pk,
        )
        return False


def _accept(attempt: Attempt, receipt: fal.Submitted, *, now: datetime) -> bool:
    generation = moves.lock(attempt.generation_id)
    changed = Attempt.objects.filter(
        pk=attempt.pk, request_id="", state__in={AttemptState.SENDING, AttemptState.LOST}
    ).update(
        state=AttemptState.ACCEPTED,
        request_id=receipt.request_id,
        status_url=receipt.status_url,
        response_url=receipt.response_url,
        cancel_url=receipt.cancel_url,
        answered_at=now,
    )
    if not changed:
        return False
    log.info("fal has attempt %s", attempt.number)
    DispatchPause.objects.all().delete()
    if generation.state == State.SUBMITTED:
        moves.touch(
            generation, now=now, next_check_at=now, fal_queue_position=receipt.queue_position, **moves.FREE
        )
    if generation.is_cancel_requested:
        queue.enqueue(queue.CANCEL, str(generation.pk))
    return True


@trace.of("attempt")
def lost(attempt_id: int) -> bool:
    """Nobody knows whether fal has it: it is never sent again, and the hold stays until somebody does know."""
    now = clock.now()
    with transaction.atomic():
        attempt = Attempt.objects.get(pk=attempt_id)
        generation = moves.lock(attempt.generation_id)
        changed = Attempt.objects.filter(pk=attempt_id, state=AttemptState.SENDING).update(
            state=AttemptState.LOST
        )
        if changed and generation.state == State.SUBMITTED:
            look_at = now + timedelta(seconds=settings.LOST_AFTER_SECONDS)
            moves.touch(generation, now=now, next_check_at=look_at, **moves.FREE)
    if changed:
        log.warning("attempt %s of generation %s is lost: no answer came", attempt_id, attempt.generation_id)
    return bool(changed)


@trace.of("attempt")
def ended(
    attempt_id: int,
    error: fal.FalError,
    *,
    is_counted: bool = True,
    is_listed: bool = False,
    breaks_engine: bool = False,
) -> bool:
    """The attempt is over, badly. A new one follows where the outcome allows and one is left; else it is settled.

    `is_listed` lists it as one that fal may have billed, where the outcome alone would not; `breaks_engine` opens the
    engine's breaker at once, so that what waits behind it does not end in the same way one after the other.
    """
    return _end(
        attempt_id,
        replace(error.outcome, may_be_billed=True) if is_listed else error.outcome,
        is_counted=is_counted,
        breaks_with=error if breaks_engine else None,
        retry_after_seconds=error.retry_after_seconds,
        http_status=error.http_status,
        error_type=error.error_type[:80],
        error_detail=_detail_text(error),
        billable_units=error.billable_units,
    )


@trace.of("attempt")
def given_up(attempt_id: int, outcome: fal.Outcome) -> bool:
    """The attempt is over by our own judgement."""
    return _end(attempt_id, outcome, error_type=outcome.reason[:80])


@trace.of("attempt")
def put_back(
    attempt_id: int, *, reason: str, delay_seconds: float, breaks_with: fal.FalError | None = None
) -> bool:
    """It never reached fal and is nobody's failure (the account is locked): the generation waits, untouched.

    `breaks_with` is fal's refusal of the engine as such, which opens its breaker.
    """
    now = clock.now()
    with transaction.atomic():
        attempt = Attempt.objects.select_related("generation").get(pk=attempt_id)
        generation = moves.lock(attempt.generation_id)
        if not _close(attempt, now=now, is_counted=False, error_type=reason[:80]):
            return False
        if breaks_with is not None:
            breaking.refused(generation, breaks_with, now=now)
        if generation.is_cancel_requested:
            return moves.canceled(generation, now=now)
        return moves.requested_again(
            generation, next_check_at=now + timedelta(seconds=delay_seconds), now=now
        )


def _end(
    attempt_id: int,
    outcome: fal.Outcome,
    *,
    is_counted: bool = True,
    breaks_with: fal.FalError | None = None,
    retry_after_seconds: float | None = None,
    **evidence: object,
) -> bool:
    now = clock.now()
    with transaction.atomic():
        attempt = Attempt.objects.get(pk=attempt_id)
        generation = moves.lock(attempt.generation_id)
        is_canceled = outcome.reason == CANCELED
        state = AttemptState.CANCELED if is_canceled else AttemptState.FAILED
        if not _close(
            attempt, state, now=now, is_counted=is_counted, is_maybe_billed=outcome.may_be_billed, **evidence
        ):
            return False
        if breaks_with is not None:
            breaking.refused(generation, breaks_with, now=now)
        if generation.is_cancel_requested:
            return moves.canceled(generation, now=now)
        if is_canceled and attempt.timed_out_at:
            outcome = TIMED_OUT
        is_held_back = _count_against_engine(attempt, generation, outcome, evidence, now=now)
        if outcome.is_retryable and may_go_on(
            generation, is_counted=is_counted and not is_held_back, now=now
        ):
            wait = settings.RETRY_SECONDS if is_held_back else retry_seconds(generation)
            at = now + timedelta(seconds=max(wait, retry_after_seconds or 0))
            return moves.requested_again(generation, next_check_at=at, now=now)
        return moves.failed(generation, code=outcome.reason, message=outcome.message, now=now)


def _count_against_engine(
    attempt: Attempt,
    generation: Generation,
    outcome: fal.Outcome,
    told: Mapping[str, object],
    *,
    now: datetime,
) -> bool:
    """Whether the engine's breaker is open: then the attempt, whose fault it was not, is not counted."""
    if not breaking.is_evidence(outcome):
        return False
    if not breaking.failed(generation, outcome, status=told.get("http_status"), now=now):
        return False
    Attempt.objects.filter(pk=attempt.pk).update(is_counted=False)
    return True


def _close(
    attempt: Attempt, state: AttemptState = AttemptState.FAILED, *, now: datetime, **fields: object
) -> bool:
    rows = Attempt.objects.filter(pk=attempt.pk, state__in=OPEN_ATTEMPTS)
    known = {name: value for name, value in fields.items() if value is not None}
    return rows.update(state=state, ended_at=now, **known) == 1


def may_go_on(generation: Generation, *, is_counted: bool, now: datetime) -> bool:
    """Whether a new attempt may follow: counted ones are few; what never reached fal is bounded by time."""
    attempts = Attempt.objects.filter(generation=generation)
    if is_counted:
        return attempts.filter(is_counted=True).count() < int(settings.FAL_MAX_ATTEMPTS)
    first = attempts.order_by("number").values_list("sent_at", flat=True).first()
    return first is None or now < first + timedelta(seconds=settings.PATIENCE_SECONDS)


def retry_seconds(generation: Generation) -> float:
    """How long to wait before the next attempt: twice as long after each one."""
    tries = min(Attempt.objects.filter(generation=generation).count(), 10)
    return float(min(settings.RETRY_SECONDS * 2 ** max(tries - 1, 0), LONGEST_RETRY_SECONDS))


def open_attempt(generation_id: uuid.UUID | str) -> Attempt | None:
    """The attempt a generation waits for, with its generation; None where there is none."""
    return Attempt.objects.open().select_related("generation").filter(generation_id=generation_id).first()


def _detail_text(error: fal.FalError) -> str:
    """fal's own words for staff. They may echo a prompt, so they are kept here and never logged."""
    try:
        text = error.detail if isinstance(error.detail, str) else json.dumps(error.detail, default=str)
    except (ValueError, RecursionError):
        text = ""
    return (str(error) if text in {"", "null"} else text).replace("\0", "")[:MOST_DETAIL_CHARS]


def of_ours(
    reason: str, message: str, *, is_retryable: bool = False, may_be_billed: bool = True
) -> fal.Outcome:
    """An outcome by our own judgement rather than fal's word."""
    return fal.Outcome(is_retryable, fal.Fault.FAL, reason, message, may_be_billed)


STOPPED = fal.Outcome(False, fal.Fault.OURS, CANCELED, "It was cancelled.", may_be_billed=False)
TIMED_OUT = of_ours(breaking.TIMED_OUT, "The engine took far longer than it ever should and was stopped.")
