"""How long anything may take: several times an engine's worst usual time, and never less than twenty minutes."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts import clock
from generations import catalogue, queue
from generations.lifecycle import attempts, late, moves
from generations.models import Attempt, Generation
from generations.states import AttemptState

log = logging.getLogger(__name__)

LEAST_SECONDS = 20 * 60
TIMES_PEAK = 4
UNKNOWN_PEAK_SECONDS = 10 * 60
# What fal may take to stop a request before we let the member's credits go without it.
GRACE_SECONDS = 10 * 60


def peak_seconds(generation: Generation) -> float:
    """The engine's longest usual time, from the catalogue."""
    try:
        timing = catalogue.get(generation.engine).timing
    except catalogue.UnknownEngine:
        return UNKNOWN_PEAK_SECONDS
    usual = timing.peak_seconds or timing.typical_seconds
    return usual[1] if usual else UNKNOWN_PEAK_SECONDS


def deadline(generation: Generation) -> datetime:
    """When to stop waiting for fal: after its start, or, unstarted, after the start deadline we gave fal besides."""
    allowed = max(LEAST_SECONDS, TIMES_PEAK * peak_seconds(generation))
    if generation.started_at:
        return generation.started_at + timedelta(seconds=allowed)
    begun = generation.submitted_at or generation.created_at
    return begun + timedelta(seconds=settings.FAL_START_TIMEOUT_SECONDS + allowed)


def enforce(attempt: Attempt) -> bool:
    """Past its deadline: ask fal to stop it first, and once fal has had time for that, let it go. Whether it acted."""
    now = clock.now()
    if attempt.timed_out_at is None:
        return now >= deadline(attempt.generation) and _ask_to_stop(attempt, now)
    if now < attempt.timed_out_at + timedelta(seconds=GRACE_SECONDS):
        return False
    log.error("attempt %s never ended at fal; its generation is released and listed", attempt.pk)
    is_over = attempts.given_up(attempt.pk, attempts.TIMED_OUT)
    late.expect(attempt.pk)
    return is_over


def _ask_to_stop(attempt: Attempt, now: datetime) -> bool:
    with transaction.atomic():
        generation = moves.lock(attempt.generation_id)
        rows = Attempt.objects.filter(pk=attempt.pk, state=AttemptState.ACCEPTED, timed_out_at__isnull=True)
        if not rows.update(timed_out_at=now):
            return False
        moves.touch(generation, now=now, next_check_at=now)
        queue.enqueue(queue.CANCEL, str(generation.pk))
    return True
