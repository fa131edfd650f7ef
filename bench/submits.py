"""Submits per second, sustained, from the studio's POST to fal's acceptance, and the ledger's share of it.

Real processes: web, two worker processes, watcher, beat, PostgreSQL, Valkey; the light fal accepts. Members order as
fast as they are let: never more than AHEAD are ordered and not yet at fal, so the rate is the slowest part's and no
queue hides it. Nothing completes meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from django.db import connection

from accounts.models import Wallet
from bench import ledger
from bench.fal_process import LightFal, running_fal
from bench.house import House, light_environment, running_house
from bench.people import make_team
from bench.report import Measurement, machine
from bench.seeds import ENGINE
from bench.sizes import sized
from bench.visitors import Visitor, add_member
from tests.self_signed import certificate

TEAMS, MEMBERS = 2, 4
WARM_UP_SECONDS, WINDOW_SECONDS = sized(8.0, 3.0), sized(20.0, 4.0)
AHEAD = 40
HTMX, PLAIN = "by the page's script", "without JavaScript"
RAW_HOLDS = sized(200, 20)
STOCK_SUBMITS = sized(300, 20)


@dataclass
class Pace:
    """How many were ordered, and how many of them fal has; threads share it."""

    fal: LightFal
    is_htmx: bool
    ordered: int = 0
    at_fal: int = 0
    is_over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def may_order(self) -> bool:
        with self.lock:
            if self.ordered - self.at_fal >= AHEAD:
                return False
            self.ordered += 1
            return True

    def follow(self) -> None:
        already = _posts(self.fal)
        while not self.is_over:
            self.at_fal = _posts(self.fal) - already
            time.sleep(0.05)

    def order(self, visitor: Visitor) -> None:
        while not self.is_over:
            if self.may_order():
                visitor.order("A boat drifts out of the harbour, fog, morning.", is_htmx=self.is_htmx)
            else:
                time.sleep(0.01)


@dataclass(frozen=True)
class Window:
    seconds: float
    submits: int
    cpu: dict[str, float]
    timings: dict[str, float]

    @property
    def cpu_seconds_each(self) -> float:
        return sum(self.cpu.values()) / self.submits


def measure() -> list[Measurement]:
    teams = [make_team(f"submits-{number}", amount=10**9) for number in range(TEAMS)]
    raw_ms = _raw_hold_milliseconds(teams[0])
    with tempfile.TemporaryDirectory() as name, running_fal("--run-seconds", "3600", "3600") as fal:
        fal.posts_whole_jobs()
        environment = {**light_environment(fal), "FAL_CONCURRENCY": "1000000"}
        with running_house(Path(name), environment, web="bench.timed_web:application") as house:
            visitors = _visitors(house, teams)
            windows = {name: _window(house, fal, visitors, is_htmx=name == HTMX) for name in (HTMX, PLAIN)}
    with tempfile.TemporaryDirectory() as name, running_fal(tls=certificate(Path(name))) as fal:
        stock = _stock_submits_per_second(fal)
    print(windows, flush=True)
    return [
        measurement
        for way, window in windows.items()
        for measurement in _measurements(way, window, stock=stock, raw_ms=raw_ms)
    ]


def _visitors(house: House, teams: list[Wallet]) -> list[Visitor]:
    return [
        Visitor(house.url, add_member(wallet.team, f"submits-{wallet.pk}-{number}"))
        for wallet in teams
        for number in range(MEMBERS)
    ]


def _window(house: House, fal: LightFal, visitors: list[Visitor], *, is_htmx: bool) -> Window:
    with _ordering(visitors, Pace(fal, is_htmx)):
        time.sleep(WARM_UP_SECONDS)
        before, since, cpu, posts = _timings(house), time.monotonic(), house.cpu_by_part(), _posts(fal)
        time.sleep(WINDOW_SECONDS)
        submits, seconds = _posts(fal) - posts, time.monotonic() - since
        after, cpu_after = _timings(house), house.cpu_by_part()
    if not submits:
        raise SystemExit("nothing was submitted in the window")
    return Window(
        seconds,
        submits,
        {name: round(cpu_after[name] - cpu[name], 2) for name in cpu},
        {name: after[name] - before.get(name, 0) for name in after},
    )


@contextmanager
def _ordering(visitors: list[Visitor], pace: Pace) -> Iterator[None]:
    """All of them ordering, until the end of the block."""
    threads = [threading.Thread(target=pace.order, args=(visitor,)) for visitor in visitors]
    threads.append(threading.Thread(target=pace.follow))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        pace.is_over = True
        for thread in threads:
            thread.join()


def _posts(fal: LightFal) -> int:
    return fal.counts().get("posts", 0)


def _timings(house: House) -> dict[str, float]:
    with urllib.request.urlopen(f"{house.url}/bench-timings", timeout=30) as reply:  # noqa: S310
        return dict(json.load(reply))


def _stock_submits_per_second(fal: LightFal) -> float:
    code = (
        "import sys, time, fal_client\n"
        "endpoint, count = sys.argv[1], int(sys.argv[2])\n"
        "submit = lambda: fal_client.submit(endpoint, arguments={'prompt': 'A boat drifts'})\n"
        "submit(); begun = time.perf_counter()\n"
        "for _ in range(count): submit()\n"
        "print(count / (time.perf_counter() - begun))"
    )
    command = [sys.executable, "-c", code, ENGINE, str(STOCK_SUBMITS)]
    env = {**os.environ, **fal.environment()}
    return float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)


def _raw_hold_milliseconds(wallet: Wallet) -> float:
    """The hold alone in hand-written SQL (bench/ledger), one client, nothing else going on."""
    connection.ensure_connection()
    raw: psycopg.Connection = connection.connection
    user, grant = wallet.team.memberships.get().user_id, wallet.grants.get().pk
    begun = time.perf_counter()
    for _ in range(RAW_HOLDS):
        ledger.raw_hold(raw, wallet.pk, user, grant)
    return (time.perf_counter() - begun) / RAW_HOLDS * 1000


def _measurements(way: str, window: Window, *, stock: float, raw_ms: float) -> list[Measurement]:
    timings, calls = window.timings, window.timings["hold_calls"]
    rate = window.submits / window.seconds
    hold_ms = timings["hold_wall"] / calls * 1000
    each = window.cpu_seconds_each
    parts = ", ".join(
        f"{name} {1000 * spent / window.submits:.1f}" for name, spent in sorted(window.cpu.items())
    )
    return [
        _one(way, "submits sustained, HTTP POST to fal's acceptance", rate, "submits/s",
             "fal_client.submit in a loop over TLS, nothing recorded", stock),
        _one(way, "CPU per submit, HTTP POST to fal's acceptance", each * 1000, "ms",
             f"the web process's part (ms by part: {parts})", window.cpu["web"] / window.submits * 1000),
        _one(way, "ledger.hold within POST /generate/, wall time", hold_ms, "ms",
             "the whole POST", timings["post_wall"] / timings["post_calls"] * 1000),
        _one(way, "ledger.hold within POST /generate/, CPU of its thread", timings["hold_cpu"] / calls * 1000, "ms",
             "the whole POST", timings["post_cpu"] / timings["post_calls"] * 1000),
        _one(way, "ledger.hold, share of all CPU from POST to acceptance", timings["hold_cpu"] / calls * 1000, "ms",
             "web, workers, watcher, beat, PostgreSQL and Valkey", each * 1000),
        _one(way, "ledger.hold under that load, wall time", hold_ms, "ms",
             "the hold in raw SQL, one client, quiet server", raw_ms),
    ]  # fmt: skip


def _one(way: str, name: str, value: float, unit: str, versus: str, other: float) -> Measurement:
    return Measurement(
        name=f"{name}, {way}",
        value=round(value, 4),
        unit=unit,
        versus=f"{versus}: {other:.4g} {unit}",
        ratio=round(value / other, 3) if other else 0.0,
        runs=1,
        conditions=f"{TEAMS * MEMBERS} members of {TEAMS} teams post the studio's form over kept connections, "
        f"at most {AHEAD} ordered and not yet at fal, {WINDOW_SECONDS:g} s window after {WARM_UP_SECONDS:g} s; web and "
        "2 worker processes, the clients and a light fal share the machine; PostgreSQL with fsync, its CPU is in the "
        f"sum and in no thread's CPU; nothing completes; {machine()}",
    )
