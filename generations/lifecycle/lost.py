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
from django.db import transaction

from accounts import clock
from generations import fal, trace
from generations.lifecycle import attempts, moves
from generations.lifecycle.connection import fal_client
from generations.lifecycle.timeouts import peak_seconds
from generations.models import Attempt
from generations.states import AttemptState, State

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
