"""One watcher process with 10 to 10,000 in flight, and the other ways of waiting beside it, in one run.

Processor, memory, questions, and how late each notices. Our rows are put into the database as a dispatcher would have
left them and point at `bench.light_fal`; who completes is replaced, so the number in flight stands still. CPU is user +
system time of the processes, which neighbours on the machine disturb less than wall time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from accounts.models import Wallet
from bench import naive
from bench.fal_process import LightFal, running_fal
from bench.figures import Figures, at_share
from bench.people import forget_generations, make_team
from bench.processes import cpu_seconds, database_url, pss_mib, running, server_pids
from bench.report import Measurement, machine
from bench.seeds import ENGINE, Seeds
from bench.sizes import results, sized
from tests.self_signed import certificate

SIZES = sized((10, 100, 1_000, 10_000), (10, 50))
SUBSCRIBE_SIZES = sized((10, 100), (10,))
# Pool, how many at once, how many are queued for it, and the most seconds it is given to fill up.
NAIVE = sized(
    (("prefork", 8, 100, 60.0), ("gevent", 100, 1_000, 60.0), ("gevent", 1_000, 10_000, 75.0)),
    (("prefork", 2, 20, 60.0), ("gevent", 20, 100, 60.0)),
)
POLLS_PER_SECOND = 250
WINDOW_SECONDS = sized(20.0, 4.0)
UP_SECONDS = 60.0
TABLE = results("watcher.json")


def measure() -> list[Measurement]:
    wallet = make_team("watcher", amount=10**9)
    with tempfile.TemporaryDirectory() as directory:
        tls = certificate(Path(directory))
        with running_fal() as fal:
            base = watched(wallet, fal, 0)
            ours = [watched(wallet, fal, size) for size in SIZES]
            bare = [bare_loop(fal, size) for size in SIZES]
        stock = [stock_client(tls, size) for size in SUBSCRIBE_SIZES]
        tasks = [celery_tasks(Path(directory), tls, *each) for each in NAIVE]
    rows = [asdict(each) for each in (base, *ours, *bare, *stock, *tasks)]
    TABLE.write_text(json.dumps(rows, indent=2) + "\n")
    return [*_against_bare(ours, bare, base), *_against(ours, stock), *_against(ours, tasks)]


def _against_bare(ours: list[Figures], bare: list[Figures], base: Figures) -> list[Measurement]:
    found = []
    for mine, limit in zip(ours, bare, strict=True):
        size = f"{mine.in_flight:,} in flight"
        found += [
            _ratio(f"watcher, CPU cores, {size}", mine.cores, limit.cores, "cores", "bare aiohttp loop"),
            _ratio(f"watcher, memory, {size}", mine.mib, base.mib, "MiB PSS", "the same process with none"),
        ]
        if mine.delay_p50_seconds is not None and limit.delay_p50_seconds:
            name = f"watcher, COMPLETED to row p50, {size}"
            found.append(
                _ratio(name, mine.delay_p50_seconds, limit.delay_p50_seconds, "s", "bare aiohttp loop")
            )
    return found


def _against(ours: list[Figures], others: list[Figures]) -> list[Measurement]:
    """Each of them against our row that was given as many; our largest where there is none."""
    by_size = {each.wanted: each for each in ours}
    found = []
    for other in others:
        mine = by_size.get(other.wanted, ours[-1])
        where = f"{mine.in_flight:,} in flight (against {other.design}, {other.in_flight:,} in flight)"
        pairs = (
            ("in flight per core", "in flight", mine.per_core, other.per_core),
            ("in flight per GiB", "in flight", mine.per_gib, other.per_gib),
            ("questions to fal per generation", "requests", *_both(mine, other, "requests_per_generation")),
            ("CPU per generation", "s", *_both(mine, other, "cpu_seconds_per_generation")),
            ("COMPLETED to noticed p50", "s", mine.delay_p50_seconds, other.delay_p50_seconds),
            ("COMPLETED to noticed p99", "s", mine.delay_p99_seconds, other.delay_p99_seconds),
        )
        found += [
            _ratio(f"watcher, {name}, {where}", value, theirs, unit, other.design)
            for name, unit, value, theirs in pairs
            if value is not None and theirs is not None
        ]
    return found


def _both(mine: Figures, other: Figures, name: str) -> tuple[Any, Any]:
    return getattr(mine, name), getattr(other, name)


def _ratio(name: str, value: float, other: float, unit: str, versus: str) -> Measurement:
    return Measurement(
        name=name,
        value=round(value, 4),
        unit=unit,
        versus=f"{versus}: {other:.4g} {unit}",
        ratio=round(value / other, 3) if other else 0.0,
        runs=1,
        conditions=f"jobs of 60-240 s after up to 30 s in fal's queue, {WINDOW_SECONDS:g} s window in steady "
        f"state, no webhooks, budget of {POLLS_PER_SECOND} requests/s, {settings.FAL_STREAM_LIMIT} streams; CPU is "
        f"process time of the side itself, without servers; per generation by Little's law; {machine()}",
    )


def watched(wallet: Wallet, fal: LightFal, size: int) -> Figures:
    """The real `manage.py watch` with `size` generations at fal."""
    forget_generations()
    seeds = Seeds(wallet, fal.base_url)
    seeds.add(size, is_new=False)
    with running([sys.executable, "manage.py", "watch"], env=_our_env(fal, size)) as process:
        with seeds.kept_at(size):
            _warm_up(fal, size)
            taken = _taken(process.pid, fal)
        late = seeds.delays(since=taken.since, until=taken.until)
    return _figures("watcher", size, size, taken, late)


def bare_loop(fal: LightFal, size: int) -> Figures:
    command = [sys.executable, "-m", "bench.waiting", "bare", fal.base_url, str(size), str(POLLS_PER_SECOND)]
    return _other_side("bare aiohttp loop", command, dict(os.environ), fal, size)


def stock_client(tls: tuple[Path, Path], size: int) -> Figures:
    with running_fal(tls=tls) as fal:
        command = [sys.executable, "-m", "bench.waiting", "subscribe", ENGINE, str(size)]
        return _other_side("fal_client.subscribe", command, {**os.environ, **fal.environment()}, fal, size)


def _other_side(design: str, command: list[str], env: dict[str, str], fal: LightFal, size: int) -> Figures:
    with running(command, env=env, stdout=subprocess.PIPE) as process:
        heard: list[float] = []
        lines = process.stdout
        assert lines is not None
        threading.Thread(target=lambda: heard.extend(map(float, lines)), daemon=True).start()
        _warm_up(fal, size)
        fal.posts_whole_jobs()
        before = len(heard)
        taken = _taken(process.pid, fal)
        late = heard[before:]
    return _figures(design, size, size, taken, late)


def celery_tasks(
    directory: Path, tls: tuple[Path, Path], pool: str, at_once: int, queued: int, fill_seconds: float
) -> Figures:
    """A task per generation in one Celery worker; more are queued than it can hold."""
    design = f"Celery {pool} {at_once:,}"
    log = directory / f"{pool}-{at_once}.log"
    log.touch()
    with running_fal(tls=tls) as fal:
        env = naive.worker_environment(log, **fal.environment())
        naive.forget_queue()
        subprocess.run([sys.executable, "-m", "bench.naive", str(queued), ENGINE], env=env, check=True)
        command = [*naive.COMMAND, f"--pool={pool}", f"--concurrency={at_once}"]
        with running(command, env=env) as process:
            _wait(lambda: _held(fal, log) >= at_once, fill_seconds)
            fal.posts_whole_jobs()
            at_fal = _held(fal, log)
            taken = _taken(process.pid, fal)
            at_fal = round((at_fal + _held(fal, log)) / 2)
        naive.forget_queue()
    late = [delay for at, delay in naive.ended(log) if taken.since <= at <= taken.until]
    return _figures(design, queued, at_fal, taken, late)


def _held(fal: LightFal, log: Path) -> int:
    """Jobs that were submitted and whose task has not ended."""
    return fal.counts().get("posts", 0) - len(naive.ended(log))


def _warm_up(fal: LightFal, size: int) -> None:
    """From the first question, until everything was claimed and looked at once, and a little more."""
    before = _questions(fal.counts())
    if size:
        _wait(lambda: _questions(fal.counts()) > before, UP_SECONDS)
    time.sleep(4 + size / POLLS_PER_SECOND * 1.25)


def _wait(is_so: Callable[[], bool], most_seconds: float) -> None:
    deadline = time.monotonic() + most_seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.2)


def _questions(counts: Mapping[str, int]) -> int:
    return counts.get("asks", 0) + counts.get("streams", 0)


@dataclass(frozen=True)
class Taken:
    """What was read at both ends of a window."""

    since: float
    until: float
    cpu_seconds: float
    server_cpu_seconds: float
    mib: float
    requests: int
    fullest_second: int
    streams: int


def _taken(pid: int, fal: LightFal) -> Taken:
    servers = server_pids().values()
    clocks: tuple[Callable[[], float], ...] = (
        time.time,
        lambda: cpu_seconds(pid),
        lambda: cpu_seconds(*servers),
    )
    before, (since, cpu, server_cpu) = fal.counts(), (clock() for clock in clocks)
    time.sleep(WINDOW_SECONDS)
    (until, cpu_after, server_cpu_after), after = (clock() for clock in clocks), fal.counts()
    return Taken(
        since=since,
        until=until,
        cpu_seconds=cpu_after - cpu,
        server_cpu_seconds=server_cpu_after - server_cpu,
        mib=pss_mib(pid),
        requests=_questions(after) - _questions(before),
        fullest_second=after.get("fullest_second", 0),
        streams=after.get("streams_open", 0),
    )


def _figures(design: str, wanted: int, in_flight: int, taken: Taken, late: Sequence[float]) -> Figures:
    seconds = taken.until - taken.since
    figures = Figures(
        design=design,
        wanted=wanted,
        in_flight=in_flight,
        cores=round(taken.cpu_seconds / seconds, 4),
        server_cores=round(taken.server_cpu_seconds / seconds, 4),
        mib=round(taken.mib, 1),
        requests_per_second=round(taken.requests / seconds, 1),
        fullest_second=taken.fullest_second,
        streams=taken.streams,
        noticed=len(late),
        delay_p50_seconds=at_share(late, 0.5),
        delay_p99_seconds=at_share(late, 0.99),
    )
    print(figures, flush=True)
    return figures


def _our_env(fal: LightFal, size: int) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": database_url(),
        "FAL_KEY": "bench:key",
        "FAL_QUEUE_URL": fal.queue_url,
        "FAL_WEBHOOK_BASE_URL": "",
        "FAL_CONCURRENCY": str(max(size, 2)),
        "FAL_POLLS_PER_SECOND": str(POLLS_PER_SECOND),
        "LOG_LEVEL": "WARNING",
    }
