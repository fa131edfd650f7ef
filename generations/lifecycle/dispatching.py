"""Who goes to fal next, and the one POST that takes them there.

The order makes a SIGKILL between any two steps harmless: take a lease on a waiting row (a killed one lapses, the next
dispatcher starts over), upload its pictures (repeatable, never billed), commit the attempt as *sending*, POST once, and
record the answer. A *sending* row whose lease has lapsed cannot be told from one that was sent, so it becomes *lost*.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Q

from accounts import clock
from generations import fal, queue, trace
from generations.lifecycle import attempts, breaking, leases, line, moves, pictures
from generations.lifecycle.connection import fal_client, tags_of, webhook_url
from generations.models import Attempt, Breaker, DispatchPause, Generation
from generations.states import AttemptState, State

log = logging.getLogger(__name__)

CLAIM_LOCK = 0x636C6970  # one dispatcher counts and claims at a time, over all hosts
# Each may take as long as a submit's read timeout, and all of them have to fit into one task.
MOST_PER_CALL = 6
PICTURE_UNREADABLE = attempts.of_ours(
    "picture_unreadable",
    "The picture could not be read from our storage.",
    is_retryable=True,
    may_be_billed=False,
)


@dataclass(frozen=True)
class Claim:
    """One waiting generation, leased to one dispatcher."""

    generation_id: uuid.UUID
    owner: str


def dispatch() -> int:
    """Send what may go now, one after the other; how many were tried. Safe to run many times at once."""
    for done in range(MOST_PER_CALL):
        claim = _claim_next()
        if claim is None:
            return done
        lease = leases.renewed(claim.generation_id, owner=claim.owner)
        with trace.bound(generation=claim.generation_id), lease:
            try:
                _send(claim)
            finally:
                leases.give_back([claim.generation_id], owner=claim.owner)
    queue.enqueue(queue.DISPATCH)
    return MOST_PER_CALL


def _claim_next() -> Claim | None:
    """The lease on the next generation in turn, if fal has a place free and nothing pauses the sending."""
    now = clock.now()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CLAIM_LOCK])
        if not _may_send(now):
            return None
        probe = breaking.next_probe(now)
        waiting = Generation.objects.filter(_waiting(now))
        chosen = probe.generation_id if probe else line.next_in_turn(waiting, now)
        if chosen is None:
            return None
        claim = Claim(chosen, leases.new_owner("dispatch"))
        leases.take(claim.generation_id, owner=claim.owner, states={State.REQUESTED})
        if probe:
            breaking.probed(probe, now=now)
    return claim


def _may_send(now: datetime) -> bool:
    """Places first; then the pause, whose probe lets a single one through each time it is due."""
    if line.holding_places(now).count() >= line.places():
        return False
    pause = DispatchPause.current()
    if pause is None:
        return True
    if not pause.is_probe_due(now) or not is_anything_due(now):
        return False
    DispatchPause.objects.filter(pk=pause.pk).update(
        probe_at=now + timedelta(seconds=settings.PAUSE_PROBE_SECONDS)
    )
    return True


def is_anything_due(now: datetime) -> bool:
    """Whether a dispatcher would find something to send, had fal a place for it."""
    return Generation.objects.filter(_waiting(now)).exists() or breaking.next_probe(now) is not None


def _waiting(now: datetime) -> Q:
    """Which rows may go now: the one place that says so."""
    return leases.free(now) & Q(state=State.REQUESTED, next_check_at__lte=now) & breaking.sendable()


def _send(claim: Claim) -> None:
    """Pictures, then the attempt, then the POST. A failed upload is an attempt too: tries and reasons are kept."""
    generation = Generation.objects.get(pk=claim.generation_id)
    problem: Exception | None = None
    body: dict[str, Any] = {}
    try:
        body = generation.inputs | pictures.uploaded(generation)
    except Exception as error:  # noqa: BLE001 - ours or fal's, nothing has been ordered yet
        problem = error
    attempt = _record_attempt(claim, body)
    if attempt is None:
        return
    if problem is None:
        _post(attempt, body)
    else:
        _upload_failed(attempt, problem)


def _upload_failed(attempt: Attempt, problem: Exception) -> None:
    if isinstance(problem, fal.FalError):
        _explain(attempt, problem)
        return
    log.error("the pictures of attempt %s could not be prepared", attempt.pk, exc_info=problem)
    attempts.given_up(attempt.pk, PICTURE_UNREADABLE)


def _record_attempt(claim: Claim, body: dict[str, Any]) -> Attempt | None:
    """Commit the attempt as *sending*. None where the member cancelled, or the lease went to another, meanwhile."""
    now = clock.now()
    with transaction.atomic():
        generation = moves.lock(claim.generation_id)
        if generation.lease_owner != claim.owner or not moves.submitted(generation, now=now):
            return None
        last = Attempt.objects.filter(generation=generation).aggregate(last=Max("number"))["last"] or 0
        return Attempt.objects.create(
            generation=generation, number=last + 1, sent_inputs=body, sent_at=now, state=AttemptState.SENDING
        )


def _post(attempt: Attempt, body: dict[str, Any]) -> None:
    """The one POST, outside of any transaction."""
    generation = attempt.generation
    try:
        receipt = fal_client().submit(
            generation.engine,
            body,
            webhook_url=webhook_url(attempt),
            tags=tags_of(generation, attempt),
            start_timeout_seconds=settings.FAL_START_TIMEOUT_SECONDS,
            output_expiration_seconds=settings.FAL_OUTPUT_SECONDS,
        )
    except fal.FalError as error:
        if breaking.concerns_endpoint(error):
            _engine_refused(attempt, error)
        else:
            _explain(attempt, error)
    except Exception:
        log.exception("the submit of attempt %s ended in a way nobody foresaw", attempt.pk)
        attempts.lost(attempt.pk)
    else:
        attempts.accepted(attempt, receipt)


def _engine_refused(attempt: Attempt, error: fal.FalError) -> None:
    """Nothing can be ordered of this engine; once a second one is refused as well, it is the account.

    What fal does not offer any more will not come back by waiting: that order ends, and what stands behind it waits.
    """
    if error.http_status == 404:
        attempts.ended(attempt.pk, error, breaks_engine=True)
        return
    if breaking.is_whole_account(attempt.generation.engine, error):
        breaking.forgive(Breaker.Code.NO_ACCESS)
        _explain(attempt, error)
        return
    attempts.put_back(attempt.pk, reason=error.outcome.reason, delay_seconds=0, breaks_with=error)


def _explain(attempt: Attempt, error: fal.FalError) -> None:
    """What the failure of an upload or a submit means for the attempt."""
    if isinstance(error, fal.SubmitLost):
        attempts.lost(attempt.pk)
        if error.request_id:
            attempts.accepted(attempt, fal_client().locate(attempt.generation.engine, error.request_id))
    elif isinstance(error, fal.AccountLocked | fal.AccountMisconfigured):
        pause(error)
        attempts.put_back(attempt.pk, reason=error.outcome.reason, delay_seconds=0)
    elif error.is_final:
        # A 5xx of fal's own ends the submit, and may still have left a request behind that runs and is billed.
        attempts.ended(attempt.pk, error, is_listed=(error.http_status or 0) >= 500)
    else:
        log.warning("attempt %s did not reach fal: %s", attempt.pk, error)
        attempts.ended(attempt.pk, _again(error), is_counted=False)


def _again(error: fal.FalError) -> fal.FalError:
    """No answer to an upload, a 429, no connection: nothing was ordered, whatever a submit's table would say."""
    return fal.NotSent(
        str(error),
        http_status=error.http_status,
        error_type=error.error_type,
        detail=error.detail,
        retry_after_seconds=error.retry_after_seconds,
    )


def pause(error: fal.FalError) -> None:
    """Stop sending for everybody: fal refuses the account. Nothing fails; a single probe goes now and then."""
    outcome, now = error.outcome, clock.now()
    probe_at = now + timedelta(seconds=settings.PAUSE_PROBE_SECONDS)
    _, is_new = DispatchPause.objects.get_or_create(
        pk=1, defaults={"reason": str(error)[:300], "code": outcome.reason[:40], "probe_at": probe_at}
    )
    if is_new:
        log.error("DISPATCH PAUSED (%s): fal refuses this account: %s", outcome.reason, error)
