"""Find what is stuck and move it on. Every step is safe to run at any time, twice, and in several processes at once.

The broker is only a doorbell: whatever it forgot is rung again here. What needs no worker is done on the spot.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta

from django.conf import settings

from accounts import clock, ledger
from accounts.models import Hold
from generations import fal, media, pulse, queue, spend
from generations.lifecycle import (
    alarms,
    attempts,
    breaking,
    costs,
    dispatching,
    late,
    leases,
    lost,
    timeouts,
    watching,
)
from generations.models import Attempt, Delivery, Generation
from generations.states import AT_FAL, SETTLED, AttemptState, State

log = logging.getLogger(__name__)

BATCH = 200
LOOK_UPS = 20
# A watcher asks at least this often; a row that is overdue by more has none, and is asked about from here.
UNWATCHED_SECONDS = 45


def sweep() -> dict[str, int]:
    """One round; how many rows each step touched."""
    counted = {step.__name__.lstrip("_"): _counted(step) for step in STEPS}
    pulse.beat(pulse.SWEEP, pulse.here())
    return counted


def _counted(step: Callable[[], int]) -> int:
    try:
        return step()
    except Exception:
        log.exception("the sweep's step %s failed; the others go on", step.__name__)
        return 0


def _from_the_future() -> int:
    """Due times and leases that were written before the clock was put back would keep work waiting that long."""
    now = clock.now()
    longest_seconds = max(attempts.LONGEST_RETRY_SECONDS, settings.LOST_AFTER_SECONDS)
    rows = Generation.objects.all().unsettled()
    rows = rows.filter(next_check_at__gt=now + timedelta(seconds=2 * longest_seconds))
    found = rows.update(next_check_at=now)
    if found:
        log.warning("%d due times lay further ahead than any may; the clock was put back", found)
    return found


def _sent_by_the_dead() -> int:
    """*Sending* with a lapsed lease: whoever sent it is gone, and nobody knows how far it came."""
    stale = Attempt.objects.filter(
        leases.free(clock.now(), prefix="generation__"), state=AttemptState.SENDING
    ).values_list("pk", flat=True)
    return sum(attempts.lost(pk) for pk in stale[:BATCH])


def _lost() -> int:
    due = Generation.objects.filter(
        state=State.SUBMITTED, attempts__state=AttemptState.LOST, next_check_at__lte=clock.now()
    )
    return sum(lost.resolve(pk) for pk in due.values_list("pk", flat=True)[:LOOK_UPS])


def _unwatched() -> int:
    """What no watcher has looked at for long; with one alive this finds nothing."""
    now = clock.now()
    before = now - timedelta(seconds=UNWATCHED_SECONDS)
    rows = Generation.objects.filter(
        leases.free(now), state__in=AT_FAL, attempts__state=AttemptState.ACCEPTED, next_check_at__lt=before
    )
    ids = list(rows.order_by("next_check_at").values_list("pk", flat=True)[:LOOK_UPS])
    Generation.objects.filter(pk__in=ids, state__in=AT_FAL).update(next_check_at=now)
    return sum(_checked(generation) for generation in Generation.objects.filter(pk__in=ids))


def _checked(generation: Generation) -> bool:
    try:
        return watching.check(generation.pk)
    except fal.FalError as error:
        log.warning("fal could not be asked about generation %s: %s", generation.pk, error)
        return False


def _timed_out() -> int:
    """Young rows cannot be late, so only the old are looked at."""
    before = clock.now() - timedelta(seconds=timeouts.LEAST_SECONDS)
    rows = Attempt.objects.filter(
        state=AttemptState.ACCEPTED, generation__state__in=AT_FAL, sent_at__lt=before
    ).select_related("generation")
    return sum(timeouts.enforce(attempt) for attempt in rows[:BATCH])


def _to_cancel() -> int:
    asked = Attempt.objects.filter(
        state=AttemptState.ACCEPTED, generation__state__in=AT_FAL, cancel_sent_at__isnull=True
    )
    wished = asked.filter(generation__is_cancel_requested=True) | asked.filter(timed_out_at__isnull=False)
    return _ring(queue.CANCEL, wished.values_list("generation", flat=True)[:BATCH])


def _to_ingest() -> int:
    now = clock.now()
    rows = Generation.objects.filter(leases.free(now), state=State.STORING, next_check_at__lte=now)
    return _ring(queue.INGEST, rows.order_by("completed_at").values_list("pk", flat=True)[:BATCH])


def _deliveries() -> int:
    before = clock.now() - timedelta(seconds=settings.SWEEP_SECONDS)
    rows = Delivery.objects.filter(processed_at__isnull=True, received_at__lt=before)
    return _ring(queue.PROCESS_DELIVERY, rows.order_by("received_at").values_list("pk", flat=True)[:BATCH])


def ring_waiting() -> int:
    """Ring for dispatch if anything waits; a pause or a full house is for dispatch to see."""
    if not dispatching.is_anything_due(clock.now()):
        return 0
    queue.enqueue(queue.DISPATCH)
    return 1


def _ring(name: str, ids: Iterable[object]) -> int:
    """Ring for the first of these, unless as many bells wait already: a backlog is not rung for again and again.

    The queue of clips holds hardly anything but these; the other is shared, so there a batch may wait beside them.
    """
    found = list(ids)
    if not found:
        return 0
    kind = queue.queue_of(name)
    most = len(found) if kind == queue.CLIPS else BATCH
    waiting = (queue.waiting() or {}).get(kind, 0)
    for pk in found[: max(most - waiting, 0)]:
        queue.enqueue(name, str(pk))
    return len(found)


def _late() -> int:
    """Clips of requests that were given up, looked for while fal may still have them, and offers that are over."""
    return _ring(queue.LATE, late.due()) + late.withdraw()


def _held_back() -> int:
    return breaking.run_out_of_patience()


def _open_holds() -> int:
    """Must be none: a settled generation whose hold is open. It is reported and left for a person."""
    rows = Generation.objects.filter(state__in=SETTLED, hold__state=Hold.State.HELD).values_list(
        "pk", flat=True
    )
    for pk in rows[:BATCH]:
        log.critical("ALARM: generation %s is settled and its hold is still open", pk)
    return len(rows[:BATCH])


def _expired_credits() -> int:
    """The ledger settles expiry whenever it is in the way; this is for wallets that nobody touches."""
    return ledger.expire_due()


def _files_in_the_making() -> int:
    return media.sweep_scratch()


def _unpriced() -> int:
    return costs.record_costs()


def _rolled_up() -> int:
    """What reports would otherwise add up entry by entry."""
    return spend.roll_up_due()


def _alerts() -> int:
    return alarms.look()


STEPS: tuple[Callable[[], int], ...] = (
    _from_the_future,
    _sent_by_the_dead,
    _to_ingest,
    ring_waiting,
    _to_cancel,
    _deliveries,
    _lost,
    _unwatched,
    _timed_out,
    _held_back,
    _late,
    _open_holds,
    _expired_credits,
    _unpriced,
    _rolled_up,
    _alerts,
    _files_in_the_making,
)
