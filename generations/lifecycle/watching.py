"""What fal says of a request, written down where it changes something. Polling, streams and webhooks all end here."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from generations import fal, queue
from generations.lifecycle import attempts, moves
from generations.lifecycle.connection import fal_client, receipt_of
from generations.models import Attempt, Generation, LogLine
from generations.states import AT_FAL, AttemptState, State

MOST_LOG_LINES = 500


def observe(attempt_id: int, status: fal.Status) -> bool:
    """Write down what fal said of an attempt; whether anything changed. An attempt that is over changes nothing."""
    now = timezone.now()
    with transaction.atomic():
        attempt = Attempt.objects.get(pk=attempt_id)
        generation = moves.lock(attempt.generation_id)
        is_current = Attempt.objects.filter(pk=attempt_id, state=AttemptState.ACCEPTED).exists()
        if not is_current or generation.state not in AT_FAL:
            return False
        match status:
            case fal.InQueue():
                return _queued(generation, status, now=now)
            case fal.InProgress():
                return _running(generation, attempt, status, now=now)
            case fal.Completed():
                return _completed(generation, attempt, status, now=now)


def check(generation_id: uuid.UUID | str) -> bool:
    """Ask fal about one generation now, and observe the answer. Raises `fal.FalError` where fal gave none."""
    attempt = attempts.open_attempt(generation_id)
    if attempt is None or attempt.state != AttemptState.ACCEPTED or attempt.generation.state not in AT_FAL:
        return False
    try:
        status = fal_client().status(receipt_of(attempt).status_url, with_logs=True)
    except fal.RequestUnknown:
        if unknown(attempt.pk):
            return True
        raise
    return observe(attempt.pk, status)


def unknown(attempt_id: int) -> bool:
    """fal does not know the request (any more). Where it was asked to stop, that is how it says that it has."""
    attempt = Attempt.objects.select_related("generation").get(pk=attempt_id)
    if not (attempt.cancel_sent_at and attempt.generation.is_cancel_requested):
        return False
    return attempts.given_up(attempt.pk, attempts.STOPPED)


def _queued(generation: Generation, status: fal.InQueue, *, now: datetime) -> bool:
    if generation.state == State.RUNNING:
        # fal tries again on another machine under the same request: it waits once more.
        return moves.queued_again(generation, position=status.position, now=now)
    if generation.fal_queue_position == status.position:
        return False
    moves.touch(generation, now=now, fal_queue_position=status.position)
    return True


def _running(generation: Generation, attempt: Attempt, status: fal.InProgress, *, now: datetime) -> bool:
    has_moved = generation.state == State.SUBMITTED and moves.running(generation, now=now)
    has_lines = _keep_logs(attempt, status.logs)
    if has_lines and not has_moved:
        moves.touch(generation, now=now)
    return has_moved or has_lines


def _completed(generation: Generation, attempt: Attempt, status: fal.Completed, *, now: datetime) -> bool:
    _keep_logs(attempt, status.logs)
    if not moves.storing(generation, now=now):
        return False
    queue.enqueue(queue.INGEST, str(generation.pk))
    return True


def _keep_logs(attempt: Attempt, logs: Sequence[fal.LogLine]) -> bool:
    """Add the lines we do not have yet; fal sends all of them each time."""
    known = LogLine.objects.filter(attempt=attempt).count()
    fresh = list(enumerate(logs))[known:MOST_LOG_LINES]
    LogLine.objects.bulk_create(
        [
            LogLine(
                attempt=attempt,
                position=position,
                message=line.message.replace("\0", "")[:1000],
                level=line.level[:20],
                logged_at=line.timestamp.isoformat()[:40] if line.timestamp else "",
            )
            for position, line in fresh
        ],
        ignore_conflicts=True,
    )
    return bool(fresh)
