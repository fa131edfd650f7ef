"""What Prometheus reads: the state of the whole installation, asked of PostgreSQL and Valkey at each scrape.

It only reads. Every figure is the same whichever web process answers, so one scrape of one of them is enough; the
costs are a dozen indexed statements. Times are seconds; what is not known (Valkey does not answer, nothing happened in
the last hour) is left out rather than shown as nought.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, Min, Sum
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts import clock
from accounts.models import Wallet
from generations import proving, pulse, queue, reconciliation, stuck
from generations.models import Attempt, Breaker, Delivery, DispatchPause, Generation
from generations.states import State

WINDOW = timedelta(hours=1)
BILLS_WINDOW = timedelta(days=30)


def exposition() -> bytes:
    """Everything, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Installation())
    return generate_latest(registry)


class Installation(Collector):
    """One scrape. Each part is a few statements and some families of figures."""

    def collect(self) -> Iterable[Metric]:
        now = clock.now()
        yield from _in_flight(now)
        yield from _loose_ends(now)
        yield from _breakers()
        yield from _credits()
        yield from _last_hour(now)
        yield from _latencies(now)
        yield from _estimates(now)
        yield from _bills(now)
        yield from _signs_of_life()
        yield from _books(now)


def _gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(f"clipledger_{name}", text, value=value)


def _age(moment: datetime | None, now: datetime) -> float:
    """Seconds since then; 0 where there is no such moment."""
    return max((now - moment).total_seconds(), 0.0) if moment else 0.0


def _in_flight(now: datetime) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "clipledger_generations_in_flight", "Unsettled generations.", labels=["state", "engine"]
    )
    rows = Generation.objects.all().unsettled().values("state", "engine")
    counted = rows.annotate(
        count=Count("pk"),
        oldest=Min("created_at"),
        due=Min("next_check_at", filter=stuck.overdue(now)),
    )
    found = list(counted.order_by("state", "engine"))
    for row in found:
        family.add_metric([row["state"], row["engine"]], row["count"])
    yield family
    waiting = [row["oldest"] for row in found if row["state"] == State.REQUESTED]
    due = [row["due"] for row in found if row["due"]]
    yield from _gauge(
        "queue_age_seconds", "Age of the oldest requested generation.", _age(min(waiting, default=None), now)
    )
    yield from _gauge(
        "overdue_seconds",
        "How long the most overdue row has been due with nobody busy with it.",
        _age(min(due, default=None), now),
    )


def _loose_ends(now: datetime) -> Iterator[Metric]:
    deliveries = Delivery.objects.filter(processed_at__isnull=True)
    waiting = deliveries.aggregate(count=Count("pk"), oldest=Min("received_at"))
    yield from _gauge("deliveries_unprocessed", "Webhook calls without effect so far.", waiting["count"])
    yield from _gauge(
        "delivery_age_seconds", "Age of the oldest unprocessed delivery.", _age(waiting["oldest"], now)
    )
    lost = Attempt.objects.lost().aggregate(count=Count("pk"), oldest=Min("sent_at"))
    yield from _gauge("attempts_lost", "Attempts of which nobody knows whether fal has them.", lost["count"])
    yield from _gauge(
        "attempt_lost_age_seconds", "Age of the oldest lost attempt.", _age(lost["oldest"], now)
    )
    pause = DispatchPause.current()
    yield from _gauge("dispatch_paused", "1 while fal refuses the account.", int(pause is not None))
    yield from _gauge(
        "dispatch_paused_seconds",
        "How long it has been paused.",
        _age(pause.since_at if pause else None, now),
    )
    yield from _gauge(
        "holds_without_work",
        "Open holds without an unsettled generation. Must be 0.",
        stuck.open_holds().count(),
    )


def _breakers() -> Iterator[Metric]:
    is_open = GaugeMetricFamily("clipledger_breaker_open", "1 while fal fails the engine.", labels=["engine"])
    failures = GaugeMetricFamily(
        "clipledger_breaker_failures", "The engine's failures in a row at fal.", labels=["engine"]
    )
    for breaker in Breaker.objects.order_by("engine"):
        is_open.add_metric([breaker.engine], int(breaker.is_open))
        failures.add_metric([breaker.engine], breaker.failures)
    yield from (is_open, failures)


def _credits() -> Iterator[Metric]:
    family = GaugeMetricFamily("clipledger_credits", "Credits of all wallets together.", labels=["bucket"])
    sums = Wallet.objects.aggregate(
        available=Sum("available"), held=Sum("held"), captured=Sum("captured"), expired=Sum("expired")
    )
    for bucket, amount in sums.items():
        family.add_metric([bucket], amount or 0)
    yield family
    yield from _gauge(
        "wallets_empty", "Wallets in which nothing is left.", Wallet.objects.filter(available=0).count()
    )


def _last_hour(now: datetime) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "clipledger_attempts_ended_last_hour",
        "Attempts that ended in the last hour.",
        labels=["state", "error_type"],
    )
    ended = Attempt.objects.filter(ended_at__gte=now - WINDOW).values("state", "error_type")
    for row in ended.annotate(count=Count("pk")).order_by("state", "error_type"):
        family.add_metric([row["state"], row["error_type"]], row["count"])
    yield family
    sent = Attempt.objects.filter(sent_at__gte=now - WINDOW)
    yield from _gauge("attempts_sent_last_hour", "Attempts sent in the last hour.", sent.count())
    states = GaugeMetricFamily(
        "clipledger_generations_settled_last_hour",
        "Generations settled in the last hour.",
        labels=["state", "failure_code"],
    )
    settled = Generation.objects.filter(settled_at__gte=now - WINDOW).values("state", "failure_code")
    for each in settled.annotate(count=Count("pk")).order_by("state", "failure_code"):
        states.add_metric([each["state"], each["failure_code"]], each["count"])
    yield states


# What fal signs at COMPLETED tells when it finished; where it could not call us, only the other steps are known.
_LATENCIES = """
SELECT step.name, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY step.seconds), count(*)
FROM generations_generation g
LEFT JOIN LATERAL (
    SELECT min(d.signed_at) AS at FROM generations_attempt a JOIN generations_delivery d ON d.attempt_id = a.id
    WHERE a.generation_id = g.id AND a.state = 'done'
) signed ON true
CROSS JOIN LATERAL (VALUES
    ('wait', extract(epoch FROM g.submitted_at - g.created_at)),
    ('run', extract(epoch FROM g.completed_at - g.started_at)),
    ('detect', greatest(extract(epoch FROM g.completed_at - signed.at), 0)),
    ('settle', extract(epoch FROM g.settled_at - g.completed_at)),
    ('whole', extract(epoch FROM g.settled_at - g.created_at))
) AS step (name, seconds)
WHERE g.settled_at >= %(since)s AND g.state = 'succeeded' AND step.seconds IS NOT NULL
  AND (step.name <> 'detect' OR signed.at IS NOT NULL)
GROUP BY step.name ORDER BY step.name
"""


def _latencies(now: datetime) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "clipledger_latency_seconds",
        "Clips stored in the last hour: wait (request to submit), run (at fal), detect (fal's signature to our "
        "knowing), settle (knowing to captured), whole (request to captured).",
        labels=["step", "quantile"],
    )
    with connection.cursor() as cursor:
        cursor.execute(_LATENCIES, {"since": now - WINDOW})
        for step, quantiles, _ in cursor.fetchall():
            for quantile, seconds in zip(("0.5", "0.95"), quantiles, strict=True):
                family.add_metric([step, quantile], seconds)
    yield family


_ESTIMATES = """
SELECT percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY abs(extract(epoch FROM settled_at - expected_at))),
       percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (
           ORDER BY extract(epoch FROM settled_at - created_at)
                    / greatest(extract(epoch FROM expected_at - created_at), 1))
FROM generations_generation
WHERE settled_at >= %(since)s AND state = 'succeeded' AND expected_at IS NOT NULL
"""


def _estimates(now: datetime) -> Iterator[Metric]:
    """What members were told as they asked, against what came; nothing where nothing was told in the last hour."""
    error = GaugeMetricFamily(
        "clipledger_estimate_error_seconds",
        "Clips stored in the last hour: how far the time told at the order was from the time it came, either way.",
        labels=["quantile"],
    )
    ratio = GaugeMetricFamily(
        "clipledger_estimate_ratio",
        "Clips stored in the last hour: how long each took, as a share of how long the order was told.",
        labels=["quantile"],
    )
    with connection.cursor() as cursor:
        cursor.execute(_ESTIMATES, {"since": now - WINDOW})
        found = cursor.fetchone()
    for family, values in zip((error, ratio), found, strict=True):
        for quantile, value in zip(("0.5", "0.9"), values or (), strict=False):
            family.add_metric([quantile], value)
        yield family


def _bills(now: datetime) -> Iterator[Metric]:
    """fal's bills of the last thirty days, as the last reconciliation found them; nothing before the first."""
    run = reconciliation.last_run()
    if run is None or run.finished_at is None:
        return
    found = reconciliation.summary(start=now - BILLS_WINDOW)
    yield from _gauge(
        "fal_unexplained_usd", "Of fal's bills, 30 days, either way.", float(found.unexplained_usd)
    )
    yield from _gauge(
        "reconciliation_age_seconds", "Time since a reconciliation came through.", _age(run.finished_at, now)
    )
    family = GaugeMetricFamily("clipledger_fal_bills", "Requests of 30 days, by class.", labels=["class"])
    for line in found.lines:
        family.add_metric([line.kind], line.count)
    yield family


def _signs_of_life() -> Iterator[Metric]:
    sweeps, watchers, workers = (pulse.ages(kind) for kind in (pulse.SWEEP, pulse.WATCHER, pulse.WORKER))
    yield from _gauge("valkey_up", "1 while Valkey answers.", int(sweeps is not None))
    yield from _gauge(
        "sweep_age_seconds", "Time since the last sweep.", min((sweeps or {}).values(), default=None)
    )
    for name, ages in (("watchers", watchers), ("workers", workers)):
        if ages is not None:
            alive = sum(age <= pulse.ALIVE_SECONDS for age in ages.values())
            yield from _gauge(
                f"{name}_alive", f"Live {name}, by a sign in the last {pulse.ALIVE_SECONDS} s.", alive
            )
    bells = queue.waiting()
    yield from _gauge("broker_up", "1 while the broker takes bells.", int(bells is not None))
    family = GaugeMetricFamily(
        "clipledger_broker_bells_waiting", "Bells that no worker has taken yet.", labels=["queue"]
    )
    for name, count in (bells or {}).items():
        family.add_metric([name], count)
    yield family


def _books(now: datetime) -> Iterator[Metric]:
    """Left out where no beat has had them checked, or nobody knows."""
    latest = proving.last_check()
    if latest is None:
        return
    at, breaches = latest
    yield from _gauge("book_checked_seconds", "Time since the daily check of the books.", _age(at, now))
    yield from _gauge("book_breaches", "Differences that check found. Must be 0.", breaches)
