"""Who goes to fal next, and the one POST that takes them there.

The order makes a SIGKILL between any two steps harmless: take a lease on a waiting row (a killed one lapses, the next
dispatcher starts over), upload its pictures (repeatable, never billed), commit the attempt as *sending*, POST once, and
record the answer. A *sending* row whose lease has lapsed cannot be told from one that was sent, so it becomes *lost*.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Q

from accounts import clock
from generations import fal, queue, trace
from generations.lifecycle import attempts, leases, moves, pictures
from generations.lifecycle.connection import fal_client, tags_of, webhook_url
from generations.models import Attempt, DispatchPause, Generation
from generations.states import AT_FAL, AttemptState, State

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


class Positions(dict[uuid.UUID, int]):
    """How many are ahead of each waiting generation; what has just stopped waiting has nobody ahead."""

    def __missing__(self, pk: uuid.UUID) -> int:
        return 0


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
        chosen = _next_in_turn(now)
        if chosen is None:
            return None
        claim = Claim(chosen, leases.new_owner("dispatch"))
        leases.take(claim.generation_id, owner=claim.owner, states={State.REQUESTED})
    return claim


def _may_send(now: datetime) -> bool:
    """Places first; then the pause, whose probe lets a single one through each time it is due."""
    if places_taken(now) >= settings.FAL_CONCURRENCY + settings.FAL_LEAD:
        return False
    pause = DispatchPause.current()
    if pause is None:
        return True
    if not pause.is_probe_due(now) or not Generation.objects.filter(_waiting(now)).exists():
        return False
    DispatchPause.objects.filter(pk=pause.pk).update(
        probe_at=now + timedelta(seconds=settings.PAUSE_PROBE_SECONDS)
    )
    return True


def places_taken(now: datetime) -> int:
    """What fal has of ours, and what is on its way there.

    A lost attempt keeps its place only for a while: fal queues what is too many, and a broken line must not stop
    everybody for hours. One statement, because between two a row may move from the second set to the first unseen.
    """
    long_lost = Attempt.objects.lost().filter(
        sent_at__lt=now - timedelta(seconds=settings.LOST_AFTER_SECONDS)
    )
    at_fal = Q(state__in=AT_FAL) & ~Q(pk__in=long_lost.values("generation"))
    on_the_way = Q(state=State.REQUESTED, lease_until__gte=now)
    return Generation.objects.filter(at_fal | on_the_way).count()


def _waiting(now: datetime) -> Q:
    return leases.free(now) & Q(state=State.REQUESTED, next_check_at__lte=now)


def _next_in_turn(now: datetime) -> uuid.UUID | None:
    """The oldest waiting generation of the member whose turn it is: whoever was served longest ago."""
    waiting = Generation.objects.filter(_waiting(now))
    turn = _turns(waiting.values_list("user", flat=True).distinct(), now)
    if not turn:
        return None
    return waiting.filter(user=turn[0]).order_by("created_at", "pk").values_list("pk", flat=True).first()


def _turns(users: Iterable[int], now: datetime) -> list[int]:
    """Members by when they were last served; somebody being served this moment is last."""
    served: dict[int, datetime | None] = dict.fromkeys(users)
    rows = Generation.objects.filter(user__in=list(served))
    last = rows.filter(submitted_at__isnull=False).values("user").annotate(at=Max("submitted_at"))
    served |= {row["user"]: row["at"] for row in last}
    busy = rows.filter(state=State.REQUESTED, lease_until__gte=now).values_list("user", flat=True)
    served |= dict.fromkeys(busy, now)
    never = datetime.min.replace(tzinfo=now.tzinfo)
    return sorted(served, key=lambda user: (served[user] or never, user))


def waiting_position(generation: Generation) -> int | None:
    """How many are ahead of it, in our queue and in fal's together; None once it runs or is settled."""
    if generation.state == State.SUBMITTED:
        return generation.fal_queue_position
    if generation.state != State.REQUESTED:
        return None
    return waiting_positions()[generation.pk]


def waiting_positions() -> Positions:
    """The same for everything that waits with us, by id, in a number of queries that does not grow with the queue."""
    waiting = list(
        Generation.objects.filter(state=State.REQUESTED)
        .order_by("created_at", "pk")
        .values_list("pk", "user")
    )
    queued_at_fal = Generation.objects.filter(state=State.SUBMITTED).count()
    counts = Counter(user for _, user in waiting)
    turns = {user: turn for turn, user in enumerate(_turns(counts, clock.now()))}
    own: Counter[int] = Counter()
    found = Positions()
    for pk, user in waiting:
        # Round-robin: every other member is served about as often as its own member before it.
        others = (min(n, own[user] + (turns[it] < turns[user])) for it, n in counts.items() if it != user)
        found[pk] = queued_at_fal + own[user] + sum(others)
        own[user] += 1
    return found


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
        _explain(attempt, error)
    except Exception:
        log.exception("the submit of attempt %s ended in a way nobody foresaw", attempt.pk)
        attempts.lost(attempt.pk)
    else:
        attempts.accepted(attempt, receipt)


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
        attempts.ended(attempt.pk, error)
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
