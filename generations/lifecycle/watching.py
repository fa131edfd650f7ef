"""What fal says of a request, written down where it changes something. Polling, streams and webhooks all end here."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Count

from accounts import clock
from generations import fal, queue, trace
from generations.lifecycle import attempts, moves
from generations.lifecycle.connection import fal_client, receipt_of
from generations.models import Attempt, Delivery, Generation, LogLine
from generations.states import AT_FAL, AttemptState, State

MOST_LOG_LINES = 500


@trace.of("attempt")
def observe(attempt_id: int, status: fal.Status) -> bool:
    """Write down what fal said of an attempt; whether anything changed. An attempt that is over changes nothing."""
    now = clock.now()
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


def observe_many(seen: Mapping[int, fal.Status]) -> set[int]:
    """`observe` for many attempts, in one transaction and a number of statements that does not grow with them.

    Returns the attempts for which anything changed.
    """
    now = clock.now()
    with transaction.atomic():
        locked = moves.lock_for(seen)
        current = Attempt.objects.filter(pk__in=seen, state=AttemptState.ACCEPTED, generation__in=locked)
        rows = {pk: locked[row] for pk, row in current.values_list("pk", "generation_id")}
        with_lines = _keep_all_logs(
            {pk: status.logs for pk in rows if not isinstance(status := seen[pk], fal.InQueue)}
        )
        moved = {row.pk for row in _move_all(rows, seen, now=now)}
        only_lines = [row for pk, row in rows.items() if pk in with_lines and row.pk not in moved]
        if only_lines:
            moves.touch_all(only_lines, now=now)
    return with_lines | {pk for pk, row in rows.items() if row.pk in moved}


def _move_all(
    rows: Mapping[int, Generation], seen: Mapping[int, fal.Status], *, now: datetime
) -> list[Generation]:
    """Every move and every new place in fal's queue; the generations concerned."""
    queued = [(rows[pk], status) for pk in rows if isinstance(status := seen[pk], fal.InQueue)]
    again = [row for row, status in queued if row.state == State.RUNNING and _queued(row, status, now=now)]
    places = [
        (row, status.position)
        for row, status in queued
        if row not in again and row.fal_queue_position != status.position
    ]
    moves.place_all(places, now=now)
    running = moves.all_running((rows[pk] for pk in rows if isinstance(seen[pk], fal.InProgress)), now=now)
    storing = moves.all_storing((rows[pk] for pk in rows if isinstance(seen[pk], fal.Completed)), now=now)
    for row in storing:
        queue.enqueue(queue.INGEST, str(row.pk))
    return [*again, *(row for row, _ in places), *running, *storing]


def called_about(attempt_ids: Sequence[int]) -> set[int]:
    """Those of the attempts for which a webhook of fal's has come."""
    rows = Delivery.objects.filter(attempt__in=attempt_ids)
    return {pk for pk in rows.values_list("attempt_id", flat=True) if pk is not None}


@trace.of("generation")
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
    return bool(_keep_all_logs({attempt.pk: logs}))


def _keep_all_logs(logs: Mapping[int, Sequence[fal.LogLine]]) -> set[int]:
    """Add the lines we do not have yet, by attempt; fal sends all of them each time. Who had any."""
    given = {pk: lines for pk, lines in logs.items() if lines}
    if not given:
        return set()
    rows = LogLine.objects.filter(attempt__in=given).values_list("attempt_id")
    known = Counter(dict(rows.annotate(lines=Count("pk"))))
    fresh = [
        _line(pk, position, line)
        for pk, lines in given.items()
        for position, line in list(enumerate(lines))[known[pk] : MOST_LOG_LINES]
    ]
    LogLine.objects.bulk_create(fresh, ignore_conflicts=True)
    return {line.attempt_id for line in fresh}


def _line(attempt_id: int, position: int, line: fal.LogLine) -> LogLine:
    return LogLine(
        attempt_id=attempt_id,
        position=position,
        message=_storable(line.message)[:1000],
        level=_storable(line.level)[:20],
        logged_at=line.timestamp.isoformat()[:40] if line.timestamp else "",
    )


def _storable(text: str) -> str:
    """JSON may hold characters that PostgreSQL's text may not: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
