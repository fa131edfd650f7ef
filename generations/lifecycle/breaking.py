"""The circuit breaker of each engine: when fal fails for everybody, nothing of that engine is sent but a probe.

Only what fal does to everybody counts: its 5xx, its time-outs. What it refuses (a picture, a prompt), what we stop,
what never reached it and what our own storage does is nobody's evidence against an engine. A result closes it again.

Breakers only ever hold work back, and what they hold back can be cancelled and runs out of patience like everything
else. The breaker's row is locked after those of the generation and the attempt, and before the ledger's.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max, OuterRef, Q, Subquery

from accounts import clock
from generations import fal, queue
from generations.lifecycle import evidence, leases, moves
from generations.models import Attempt, Breaker, Generation, GenerationQuerySet
from generations.models.breakers import UNTESTED
from generations.states import State

log = logging.getLogger(__name__)

# Of fal's retryable outcomes these say nothing about the engine: fal was full, was not reached, or we were at fault.
NO_EVIDENCE = frozenset({"busy", "not_sent", "never_arrived", "picture_unreadable"})
TIMED_OUT = "timed_out"
# Pages that are told at once when a breaker opens or closes; the others ask by themselves within half a minute.
MOST_TOLD = 500
BATCH = 200
UNAVAILABLE = "engine_unavailable"
TOO_LONG = "The engine did not work at fal for too long, so this was given up."


class Probing(StrEnum):
    """What becomes of a wish to test an engine at once."""

    NOT_BROKEN = "not_broken"
    DUE = "due"
    NEXT_ORDER = "next_order"


@dataclass(frozen=True)
class Probe:
    """The waiting generation that is to test an engine."""

    generation_id: uuid.UUID
    breaker: Breaker


def is_evidence(outcome: fal.Outcome) -> bool:
    """Whether this end of an attempt speaks against its engine."""
    is_fals = outcome.fault is fal.Fault.FAL and outcome.is_retryable and outcome.reason not in NO_EVIDENCE
    return is_fals or outcome.reason == TIMED_OUT


def concerns_endpoint(error: fal.FalError) -> bool:
    """A 403 or 404 at the POST without a word about the account: this endpoint, until another gets the same."""
    is_access = isinstance(error, fal.AccountMisconfigured) and error.http_status == 403
    return is_access or (isinstance(error, fal.Refused) and error.http_status == 404)


def failed(generation: Generation, outcome: fal.Outcome, *, status: object, now: datetime) -> bool:
    """Count the failure of a locked generation's attempt, in the transaction that ends it.

    Returns whether the engine's breaker is open: then the failure is the engine's and uses up no attempt.
    """
    breaker = _locked(generation.engine)
    latest = evidence.Failure(str(generation.pk), generation.user_id, now)
    window = timedelta(seconds=settings.BREAKER_WINDOW_SECONDS)
    found = evidence.remembered(map(evidence.Failure.read, breaker.evidence), latest, window=window)
    breaker.evidence = [failure.written for failure in found]
    breaker.reason = f"HTTP {status} {outcome.reason}" if status else outcome.reason
    if breaker.is_open:
        breaker.failures += 1
    else:
        breaker.failures, breaker.failing_since_at = len(found), found[0].at
        if _is_everybodys(found, generation):
            _open(breaker, Breaker.Code.FAILING, now=now)
    _save(breaker, now=now)
    return breaker.is_open


def refused(generation: Generation, error: fal.FalError, *, now: datetime) -> None:
    """fal takes no request for this engine at all: its breaker opens at once."""
    breaker = _locked(generation.engine)
    code = Breaker.Code.GONE if error.http_status == 404 else Breaker.Code.NO_ACCESS
    breaker.reason, breaker.failures = str(error)[:300], breaker.failures + 1
    breaker.failing_since_at = breaker.failing_since_at or now
    if breaker.is_open:
        breaker.code = code
    else:
        _open(breaker, code, now=now)
    _save(breaker, now=now)


def is_whole_account(engine: str, error: fal.FalError) -> bool:
    """Whether a second engine is refused in the same way, with nothing taken since: then it is the account."""
    others = Breaker.objects.open().filter(code=Breaker.Code.NO_ACCESS).exclude(engine=engine)
    since = others.aggregate(at=Max("opened_at"))["at"]
    if error.http_status != 403 or since is None:
        return False
    return not Attempt.objects.filter(sent_at__gte=since, answered_at__isnull=False).exists()


def forgive(code: Breaker.Code) -> None:
    """Close what was opened for this reason: it has another name now."""
    with transaction.atomic():
        rows = Breaker.objects.open().filter(code=code).order_by("engine")
        for breaker in rows.select_for_update():
            _close(breaker, now=clock.now())


def worked(attempt: Attempt) -> None:
    """fal has handed over a result. What was sent before the breaker opened only lets the next probe go at once."""
    engine = attempt.generation.engine
    if not Breaker.objects.filter(engine=engine, failures__gt=0).exists():
        return
    with transaction.atomic():
        breaker, now = _locked(engine), clock.now()
        if breaker.opened_at is not None and attempt.sent_at < breaker.opened_at:
            breaker.probe_at = min(breaker.probe_at or now, now)
            _save(breaker, now=now)
            queue.enqueue(queue.DISPATCH)
        else:
            _close(breaker, now=now)


def sendable() -> Q:
    """Generations that no open breaker holds back."""
    return ~Q(engine__in=Breaker.objects.open().values("engine"))


def next_probe(now: datetime) -> Probe | None:
    """The generation that tests an engine now, if one is due and anything waits for it."""
    for breaker in Breaker.objects.open().filter(probe_at__lte=now).order_by("probe_at", "pk"):
        pk = _candidates(breaker, now).values_list("pk", flat=True).first()
        if pk is not None:
            return Probe(pk, breaker)
    return None


def probed(probe: Probe, *, now: datetime) -> None:
    """It goes out, leased by the one dispatcher that may choose just now: the next one is later."""
    breaker = probe.breaker
    wait = evidence.probe_wait(breaker.probes + 1, first=_first_wait())
    rows = Breaker.objects.open().filter(pk=breaker.pk)
    if rows.update(probe_at=now + wait, probes=F("probes") + 1, changed_at=now):
        log.info("generation %s tests engine %s", probe.generation_id, breaker.engine)


def probe_now(engine: str, *, now: datetime) -> Probing:
    """Let the next probe go at once: what waits for the engine, or else the next order for it."""
    has_waiting = Generation.objects.filter(engine=engine, state=State.REQUESTED).exists()
    due_at = now if has_waiting else now - UNTESTED
    if not Breaker.objects.open().filter(engine=engine).update(probe_at=due_at, changed_at=now):
        return Probing.NOT_BROKEN
    queue.enqueue(queue.DISPATCH)
    return Probing.DUE if has_waiting else Probing.NEXT_ORDER


def run_out_of_patience() -> int:
    """Release what an open breaker holds back and was asked for too long ago; how many they were."""
    now = clock.now()
    before = now - timedelta(seconds=settings.PATIENCE_SECONDS)
    rows = Generation.objects.filter(
        leases.free(now), ~sendable(), state=State.REQUESTED, created_at__lt=before
    )
    return sum(_run_out(pk, now=now) for pk in rows.values_list("pk", flat=True)[:BATCH])


def _run_out(pk: uuid.UUID, *, now: datetime) -> bool:
    with transaction.atomic():
        generation = moves.lock(pk)
        # Whoever has just leased it is sending it, as the probe or because the breaker has closed.
        is_sent = not Generation.objects.filter(leases.free(now), ~sendable(), pk=pk).exists()
        if generation.state != State.REQUESTED or is_sent:
            return False
        return moves.failed(generation, code=UNAVAILABLE, message=TOO_LONG, now=now)


def _candidates(breaker: Breaker, now: datetime) -> GenerationQuerySet:
    """What waits for the engine: first the members, then their generations, that have not tried it for longest.

    So one whose own input breaks the engine does not test it again and again in everybody's place.
    """
    tests = Generation.objects.filter(engine=breaker.engine, submitted_at__gte=breaker.opened_at)
    of_member = tests.filter(user=OuterRef("user")).order_by("-submitted_at")
    waiting = Generation.objects.filter(
        leases.free(now), engine=breaker.engine, state=State.REQUESTED, next_check_at__lte=now
    )
    return waiting.annotate(member_tested_at=Subquery(of_member.values("submitted_at")[:1])).order_by(
        F("member_tested_at").asc(nulls_first=True),
        F("submitted_at").asc(nulls_first=True),
        "queued_at",
        "pk",
    )


def _is_everybodys(found: list[evidence.Failure], generation: Generation) -> bool:
    least = settings.BREAKER_FAILURES
    if not evidence.is_everybodys(found, least=least, has_others=False):
        return False
    others = Generation.objects.all().unsettled().filter(engine=generation.engine)
    has_others = others.exclude(user__in=[failure.user for failure in found]).exists()
    return evidence.is_everybodys(found, least=least, has_others=has_others)


def _locked(engine: str) -> Breaker:
    """The engine's row, made where there is none, and locked until the transaction ends."""
    rows = Breaker.objects.select_for_update().filter(engine=engine)
    found = rows.first()
    if found is None:
        Breaker.objects.bulk_create([Breaker(engine=engine)], ignore_conflicts=True)
        found = rows.get()
    return found


def _open(breaker: Breaker, code: Breaker.Code, *, now: datetime) -> None:
    breaker.code, breaker.opened_at, breaker.probes = code, now, 0
    breaker.probe_at = now + evidence.probe_wait(0, first=_first_wait())
    log.error("BREAKER OPEN: engine %s %s at fal: %s", breaker.engine, code.label, breaker.reason)
    _tell(breaker.engine)


def _close(breaker: Breaker, *, now: datetime) -> None:
    was_open = breaker.is_open
    breaker.opened_at = breaker.probe_at = breaker.failing_since_at = None
    breaker.failures = breaker.probes = 0
    breaker.evidence, breaker.code, breaker.reason = [], "", ""
    _save(breaker, now=now)
    if was_open:
        log.info("breaker closed: engine %s works at fal again", breaker.engine)
        queue.enqueue(queue.DISPATCH)
        _tell(breaker.engine)


def _save(breaker: Breaker, *, now: datetime) -> None:
    breaker.changed_at = now
    breaker.save()


def _tell(engine: str) -> None:
    """Call the open pages that show what waits for the engine."""
    rows = Generation.objects.filter(state=State.REQUESTED, engine=engine).order_by("created_at")
    queue.announce_all((team, str(pk)) for team, pk in rows.values_list("team", "pk")[:MOST_TOLD])


def _first_wait() -> timedelta:
    return timedelta(seconds=settings.BREAKER_PROBE_SECONDS)
