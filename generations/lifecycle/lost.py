"""Attempts whose answer never came. They are never sent again: a webhook, fal's own history, or time decides.

fal offers no idempotency key, so a second POST may be a second bill. Its history by endpoint is documented by requests
that have ended; "not there" therefore only counts once the engine's longest usual time has passed as well.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts import clock
from generations import fal, trace
from generations.lifecycle import attempts, late, moves
from generations.lifecycle.connection import fal_client
from generations.lifecycle.timeouts import peak_seconds
from generations.models import Attempt, Generation
from generations.states import OPEN_ATTEMPTS, AttemptState, State

log = logging.getLogger(__name__)

CLOCK_SKEW = timedelta(seconds=120)
NEVER_ARRIVED = attempts.of_ours(
    "never_arrived", "The request never reached fal.", is_retryable=True, may_be_billed=False
)
UNRESOLVED = attempts.of_ours(
    "submit_lost", "fal's answer was lost, and nobody could find out what became of the request."
)


@trace.of("generation")
def resolve(generation_id: uuid.UUID | str) -> bool:
    """Look a lost attempt up in fal's history; whether that settled what became of it."""
    attempt = attempts.open_attempt(generation_id)
    if attempt is None or attempt.state != AttemptState.LOST:
        return False
    now = clock.now()
    try:
        history = _unclaimed(_history(attempt, now))
    except fal.FalError as error:
        log.warning("fal's history could not be searched for attempt %s: %s", attempt.pk, error)
        return _too_late(attempt, now) or _look_again(attempt, now)
    found = next((past for past in history if past.inputs == attempt.sent_inputs), None)
    if found is not None:
        log.warning("attempt %s was found in fal's history as request %s", attempt.pk, found.request_id)
        return attempts.accepted(attempt, fal_client().locate(attempt.generation.engine, found.request_id))
    if _is_absence_proof(attempt, history, now):
        return attempts.given_up(attempt.pk, NEVER_ARRIVED)
    return _too_late(attempt, now) or _look_again(attempt, now)


def _history(attempt: Attempt, now: datetime) -> tuple[fal.PastRequest, ...]:
    return fal_client().find_requests(attempt.generation.engine, start=attempt.sent_at - CLOCK_SKEW, end=now)


def _unclaimed(history: Iterable[fal.PastRequest]) -> list[fal.PastRequest]:
    """Requests that no attempt of ours has an answer for."""
    rows = list(history)
    known = set(
        Attempt.objects.filter(request_id__in=[past.request_id for past in rows]).values_list(
            "request_id", flat=True
        )
    )
    return [past for past in rows if past.request_id not in known]


def _is_absence_proof(attempt: Attempt, history: Iterable[fal.PastRequest], now: datetime) -> bool:
    """Long enough ago for the history to have it, and nothing in it that could be it with its inputs hidden."""
    wait = settings.LOST_AFTER_SECONDS + peak_seconds(attempt.generation)
    return now >= attempt.sent_at + timedelta(seconds=wait) and all(
        past.inputs is not None for past in history
    )


def _too_late(attempt: Attempt, now: datetime) -> bool:
    """Past the deadline the member's credits are let go; the attempt stays listed as one fal may have billed."""
    if now < attempt.sent_at + timedelta(seconds=settings.LOST_DEADLINE_SECONDS):
        return False
    log.error("attempt %s stays lost; its generation is released and listed for reconciliation", attempt.pk)
    return attempts.given_up(attempt.pk, UNRESOLVED)


def _look_again(attempt: Attempt, now: datetime) -> bool:
    with transaction.atomic():
        generation = moves.lock(attempt.generation_id)
        if generation.state == State.SUBMITTED:
            at = now + timedelta(seconds=max(settings.LOST_AFTER_SECONDS / 3, 1))
            moves.touch(generation, now=now, next_check_at=at)
    return False


def resolve_all() -> int:
    """Look every lost attempt up, due or not; how many that settled."""
    rows = Generation.objects.filter(state=State.SUBMITTED, attempts__state=AttemptState.LOST)
    return sum(resolve(pk) for pk in rows.values_list("pk", flat=True))


@trace.of("attempt")
def adopt_given_up(attempt_id: int, request_id: str) -> bool:
    """fal had, and billed, an attempt that was given up without an answer. False where it has a request by now.

    Nothing is charged: the hold went back. The clip, if fal still has it, is brought home and offered (see `late`).
    """
    attempt = Attempt.objects.select_related("generation").get(pk=attempt_id)
    receipt = fal_client().locate(attempt.generation.engine, request_id)
    rows = Attempt.objects.filter(pk=attempt_id, request_id="").exclude(state__in=OPEN_ATTEMPTS)
    try:
        with transaction.atomic():
            changed = rows.update(
                request_id=receipt.request_id,
                status_url=receipt.status_url,
                response_url=receipt.response_url,
                cancel_url=receipt.cancel_url,
                is_maybe_billed=True,
            )
            if changed:
                late.expect(attempt_id)
    except IntegrityError:
        log.warning("request %s is another attempt's by now", request_id)
        return False
    return changed == 1
