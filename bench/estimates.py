"""How far what a member is told lies from what comes: months of orders replayed, and some through the real engine.

The replay runs the real rows, line, turns and estimator on PostgreSQL in a time of its own: engines whose run times are
lognormal and drift, members who order in bursts, a few places at fal. At every order three things are noted: what the
estimator says, the catalogue's typical time, and the running mean of what that engine's orders took so far.
"""

from __future__ import annotations

import math
import random
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from pathlib import Path
from unittest import mock

from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from accounts import clock
from accounts.models import Membership, User, Wallet
from bench import engine as real_engine
from bench.house import running_house, sandbox_environment
from bench.people import make_team
from bench.report import Measurement, compare
from generations import catalogue, estimates, lifecycle
from generations.lifecycle import line, moves
from generations.models import Generation
from generations.states import State
from tests.sandbox_server import running_sandbox

SEEDS = (1, 2, 3)
ORDERS, LEARNING = 260, 60
PLACES = 4
# Between bursts: the places are busy two thirds of the time at first, and nearly always at last.
PAUSE_SECONDS = 150
ENGINES = (
    "fal-ai/minimax/hailuo-2.3/pro/text-to-video",
    "fal-ai/minimax/hailuo-2.3/standard/text-to-video",
    "fal-ai/kling-video/v2.5-turbo/pro/text-to-video",
)
# What the runs truly take against the catalogue's word, and how widely they scatter; unknown to the estimator.
TRUTH = ((1.3, 0.15), (0.8, 0.25), (1.6, 0.35))
DRIFT, STEP = 1.3, 1.25
STORING_SECONDS = 3.0
REAL_LEARNING, REAL_ORDERS, REAL_MEDIAN_SECONDS = 20, 40, 5.0

Told = dict[str, float]


@dataclass
class Order:
    """One order: what was told of it in seconds, by whom, and what it took."""

    told: Told
    took_seconds: float = 0.0

    def error(self, teller: str) -> float:
        return abs(self.told[teller] - self.took_seconds)


@dataclass
class Replay:
    """A fal of `PLACES` places in a time of its own. `events` are completions and settlements, soonest first."""

    wallets: Sequence[Wallet]
    dice: random.Random
    now: datetime = field(default_factory=timezone.now)
    events: list[tuple[datetime, int, uuid.UUID, str]] = field(default_factory=list)
    orders: dict[uuid.UUID, Order] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    begun: float = 0.0

    def run(self) -> list[Order]:
        with mock.patch.object(clock, "now", self._now):
            for number, (pause, membership, chosen) in enumerate(self._arrivals()):
                self._until(self.now + timedelta(seconds=pause))
                self.begun = number / ORDERS
                self._order(membership, chosen)
                self._dispatch()
            self._until(None)
        return list(self.orders.values())[LEARNING:]

    def _now(self) -> datetime:
        return self.now

    def _arrivals(self) -> Iterator[tuple[float, Membership, int]]:
        """(seconds since the one before, who, engine): single orders, and bursts of one member."""
        people = [wallet.team.memberships.select_related("user", "team").get() for wallet in self.wallets]
        left = ORDERS
        while left:
            who, chosen = self.dice.choice(people), self.dice.randrange(len(ENGINES))
            burst = min(left, self.dice.choice([1, 1, 1, 1, 4, 9]))
            for nth in range(burst):
                yield (2.0 if nth else self.dice.expovariate(1 / PAUSE_SECONDS)), who, chosen
            left -= burst

    def _order(self, membership: Membership, chosen: int) -> None:
        endpoint = ENGINES[chosen]
        asked = {"user": membership.user, "team": membership.team, "engine": endpoint}
        params = {"prompt": "A boat drifts"}
        estimates.forget()
        estimate = estimates.of_new(**asked, params=params)  # type: ignore[arg-type]
        assert estimate is not None
        typical = statistics.mean(catalogue.get(endpoint).timing.typical_seconds or (0, 0))
        told = {
            "estimate": estimate.typical_seconds,
            "upper": estimate.upper_seconds,
            "catalogue": typical,
            "mean": statistics.mean(self.took[endpoint] or [typical]),
        }
        made = lifecycle.request(
            **asked,  # type: ignore[arg-type]
            params=params,
            form_token=uuid.uuid4(),
            expected_seconds=estimate.typical_seconds,
        )
        self.orders[made.pk] = Order(told)

    def _dispatch(self) -> None:
        while Generation.objects.at_fal().count() < PLACES:
            pk = line.next_in_turn(Generation.objects.filter(state=State.REQUESTED), self.now)
            if pk is None:
                return
            row = self._move(pk, moves.submitted, moves.running)
            ends_at = self.now + timedelta(seconds=self._run_seconds(row.engine))
            heappush(self.events, (ends_at, len(self.events), pk, "storing"))

    def _run_seconds(self, endpoint: str) -> float:
        factor, sigma = TRUTH[ENGINES.index(endpoint)]
        typical = statistics.mean(catalogue.get(endpoint).timing.typical_seconds or (0, 0))
        drift = (1 + (DRIFT - 1) * self.begun) * (STEP if self.begun > 0.6 else 1)
        return typical * factor * drift * math.exp(self.dice.gauss(0, sigma))

    def _until(self, moment: datetime | None) -> None:
        while self.events and (moment is None or self.events[0][0] <= moment):
            self.now, _, pk, what = heappop(self.events)
            if what == "storing":
                self._move(pk, moves.storing)
                stored_at = self.now + timedelta(seconds=self.dice.uniform(0.5, 1.5) * STORING_SECONDS)
                heappush(self.events, (stored_at, len(self.events), pk, "succeeded"))
                self._dispatch()
            else:
                row = self._move(pk, moves.succeeded)
                took = (self.now - row.created_at).total_seconds()
                self.orders[pk].took_seconds = took
                self.took[row.engine].append(took)
        self.now = moment or self.now

    def _move(self, pk: uuid.UUID, *steps: Callable[..., bool]) -> Generation:
        with transaction.atomic():
            row = moves.lock(pk)
            for step in steps:
                assert step(row, now=self.now)
        return row


def measure() -> list[Measurement]:
    with override_settings(FAL_CONCURRENCY=PLACES, FAL_LEAD=0, FAL_IS_SANDBOX=False):
        replays = []
        for seed in SEEDS:
            wallets = [make_team(f"replay-{seed}-{number}", amount=10**7) for number in range(5)]
            replays.append(Replay(wallets, random.Random(seed)).run())
            Generation.objects.all().update(is_simulated=True)  # the next seed learns nothing from this one
    conditions = (
        f"replay of {ORDERS} orders by 5 members of {len(ENGINES)} engines on {PLACES} places, the first {LEARNING} "
        f"not counted; lognormal run times that drift by {DRIFT:g} and step by {STEP:g}"
    )
    return [*_replayed(replays, conditions), _real()]


def _replayed(replays: list[list[Order]], conditions: str) -> list[Measurement]:
    found = []
    for name, unit, figure in (
        ("median error of the time told at the order", "s", _median_error),
        ("mean error of the time told at the order, as a share of it", "%", _mean_share),
    ):
        ours = [figure(orders, "estimate") for orders in replays]
        for teller, versus in (("catalogue", "catalogue's typical time"), ("mean", "engine's running mean")):
            theirs = [figure(orders, teller) for orders in replays]
            full = f"{name}, against the {versus}"
            found.append(compare(full, ours, theirs, unit=unit, versus=versus, conditions=conditions))
    kept = [100 * statistics.mean(it.took_seconds <= it.told["upper"] for it in orders) for orders in replays]
    bound = "orders that came within the upper bound"
    promise = [90.0] * len(kept)
    return [*found, compare(bound, kept, promise, unit="%", versus="what it says", conditions=conditions)]


def _median_error(orders: Sequence[Order], teller: str) -> float:
    return statistics.median(order.error(teller) for order in orders)


def _mean_share(orders: Sequence[Order], teller: str) -> float:
    return 100 * statistics.mean(order.error(teller) / order.took_seconds for order in orders)


def _real() -> Measurement:
    """Orders through worker, watcher and sandbox, some at once: `expected_at` against `settled_at`."""
    dice = random.Random(7)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places = real_engine.IN_FLIGHT
        sandbox = stack.enter_context(
            running_sandbox(directory / "fal", job_seconds=REAL_MEDIAN_SECONDS, concurrency=places)
        )
        stack.enter_context(
            running_house(
                directory,
                {**sandbox_environment(sandbox), "FAL_CONCURRENCY": str(places)},
                parts=("worker", "watcher"),
            )
        )
        wallet = make_team("estimates", amount=10**6)
        user = wallet.team.memberships.get().user
        real_engine.wait_for([_order(user, wallet, dice)])  # worker and watcher are up
        stack.enter_context(_learning_anew(places))
        real_engine.wait_for([_order(user, wallet, dice) for _ in range(REAL_LEARNING)])
        estimates.forget()
        made = []
        for number in range(REAL_ORDERS):
            made.append(_order(user, wallet, dice))
            time.sleep(0.2 if number % 20 else 2 * REAL_MEDIAN_SECONDS)
        rows = real_engine.wait_for(made)
    return _real_measurement(rows)


@contextmanager
def _learning_anew(places: int) -> Iterator[None]:
    """Nothing of the replay counts, and the bench knows how many places the worker has."""
    Generation.objects.all().update(is_simulated=True)
    estimates.forget()
    with override_settings(FAL_CONCURRENCY=places):
        yield


def _order(user: User, wallet: Wallet, dice: random.Random) -> uuid.UUID:
    seconds = REAL_MEDIAN_SECONDS * math.exp(dice.gauss(0, 0.3))
    params = {"prompt": f"[[sandbox: seconds={seconds:.2f}]] A boat drifts, {uuid.uuid4()}"}
    asked = {"user": user, "team": wallet.team, "engine": real_engine.ENGINE, "params": params}
    told = estimates.expected_seconds(**asked)  # type: ignore[arg-type]
    return lifecycle.request(**asked, form_token=uuid.uuid4(), expected_seconds=told).pk  # type: ignore[arg-type]


def _real_measurement(rows: Sequence[Generation]) -> Measurement:
    def seconds(until: str) -> list[float]:
        return [(getattr(row, until) - row.created_at).total_seconds() for row in rows]

    told, took = seconds("expected_at"), seconds("settled_at")
    mean = statistics.mean(took)
    return compare(
        "error of expected_at, orders through worker, watcher and sandbox",
        [statistics.median(abs(a - b) for a, b in zip(told, took, strict=True))],
        [statistics.median(abs(mean - each) for each in took)],
        unit="s",
        versus="the mean of these very orders, known only afterwards",
        conditions=f"{len(rows)} orders in bursts of 20 on {real_engine.IN_FLIGHT} places, runs of about "
        f"{REAL_MEDIAN_SECONDS:g} s (lognormal, 0.3), whole time {statistics.median(took):.1f} s, no webhooks",
    )
