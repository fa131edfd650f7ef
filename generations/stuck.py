"""What does not go on by itself, and why, in words for the person on duty. It only reads; `lifecycle` has the verbs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Prefetch, Q, QuerySet

from accounts import clock
from accounts.models import Hold
from generations.lifecycle import leases
from generations.lifecycle.dispatching import places_taken
from generations.models import Attempt, Delivery, DispatchPause, Generation, GenerationQuerySet
from generations.states import AT_FAL, SETTLED, AttemptState, State

MOST_ROWS = 100
# The sweep comes by every 15 s; what is overdue for several rounds has been passed over.
OVERDUE = timedelta(seconds=60)


@dataclass(frozen=True)
class Case:
    """One generation that is stuck: why, since when, and whether a person may give it up."""

    generation: Generation
    attempt: Attempt | None
    why: str
    since: datetime

    @property
    def is_lost(self) -> bool:
        return self.attempt is not None and self.attempt.state == AttemptState.LOST


@dataclass(frozen=True)
class Report:
    """Everything on the operations page. `more` counts the rows beyond the first MOST_ROWS."""

    cases: list[Case]
    more: int
    pause: DispatchPause | None
    waiting: int
    deliveries: list[Delivery]
    holds: list[Hold]

    @property
    def is_quiet(self) -> bool:
        return not (self.cases or self.pause or self.deliveries or self.holds)


def report() -> Report:
    """A number of queries that does not grow with what is stuck."""
    now = clock.now()
    pause = DispatchPause.current()
    has_room = pause is None and places_taken(now) < settings.FAL_CONCURRENCY + settings.FAL_LEAD
    rows = _stuck(now, has_room=has_room)
    found = list(_with_attempts(rows)[: MOST_ROWS + 1])
    return Report(
        cases=[_case(generation, now) for generation in found[:MOST_ROWS]],
        more=rows.count() - MOST_ROWS if len(found) > MOST_ROWS else 0,
        pause=pause,
        waiting=Generation.objects.filter(state=State.REQUESTED).count(),
        deliveries=list(_deliveries(now)[:MOST_ROWS]),
        holds=list(open_holds().select_related("wallet__team")[:MOST_ROWS]),
    )


def open_holds() -> QuerySet[Hold]:
    """Holds that keep credits although their work is over, or never was: there must be none."""
    over = Q(generation__state__in=SETTLED) | Q(generation__isnull=True)
    return Hold.objects.filter(over, state=Hold.State.HELD).order_by("created_at")


def _stuck(now: datetime, *, has_room: bool) -> GenerationQuerySet:
    """Overdue with nobody busy with it, or in trouble of another kind. Waiting for a place at fal is no trouble."""
    overdue = leases.free(now) & Q(next_check_at__lt=now - OVERDUE)
    if not has_room:
        overdue &= ~Q(state=State.REQUESTED)
    troubled = Attempt.objects.open().filter(
        Q(state=AttemptState.LOST) | Q(timed_out_at__isnull=False) | Q(fetch_failures__gt=0)
    )
    return Generation.objects.unsettled().filter(overdue | Q(pk__in=troubled.values("generation")))


def _with_attempts(rows: GenerationQuerySet) -> GenerationQuerySet:
    attempts = Prefetch("attempts", Attempt.objects.open(), to_attr="open_attempts")
    return rows.select_related("team", "user", "hold").prefetch_related(attempts).order_by("created_at")


def _deliveries(now: datetime) -> QuerySet[Delivery]:
    before = now - timedelta(seconds=2 * settings.SWEEP_SECONDS)
    rows = Delivery.objects.filter(processed_at__isnull=True, received_at__lt=before)
    return rows.defer("body").select_related("attempt").order_by("received_at")


def _case(generation: Generation, now: datetime) -> Case:
    attempts: list[Attempt] = generation.open_attempts  # type: ignore[attr-defined]
    attempt = attempts[0] if attempts else None
    why, since = _reason(generation, attempt)
    return Case(generation, attempt, why, since or generation.next_check_at or now)


def _reason(generation: Generation, attempt: Attempt | None) -> tuple[str, datetime | None]:
    """Why it stands still, and since when where that is not simply when it was due."""
    if generation.state == State.REQUESTED:
        return "It waits although fal has room: no worker takes the bells, or none is running.", None
    if attempt is None:
        return "Nobody is having it done, though its state says so. Look at its attempts.", None
    if attempt.state == AttemptState.LOST:
        return _LOST, attempt.sent_at
    if attempt.state == AttemptState.SENDING:
        return "Whoever was sending it is gone. The next sweep lists the attempt as lost.", attempt.sent_at
    if generation.state in AT_FAL and attempt.timed_out_at:
        return "It takes far longer than it should. fal has been asked to stop it.", attempt.timed_out_at
    if generation.state in AT_FAL:
        return "No watcher looks at it: is one running?", None
    if attempt.fetch_failures:
        times = f"{attempt.fetch_failures} time{'s' if attempt.fetch_failures > 1 else ''}"
        return f"fal has finished; bringing the clip home failed {times}.", generation.completed_at
    return "fal has finished, and no worker has fetched the clip.", generation.completed_at


_LOST = (
    "No answer came when it was sent, so fal may or may not have it. It is never sent again by itself; "
    "fal's webhook, its history or you decide."
)
