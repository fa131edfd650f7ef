"""Processor time of whole generations, everything included, against a Celery task each that calls `fal_client`.

Ours: the form's POST, hold, submit, waiting, ingest with all its checks, capture, PostgreSQL, Valkey, web, workers,
watcher and beat. Theirs: the Celery worker and Valkey alone; nothing is recorded, checked or shown to anybody.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accounts.models import Team
from bench import naive
from bench.fal_process import LightFal, running_fal
from bench.house import light_environment, running_house
from bench.people import make_team
from bench.processes import cpu_seconds, pss_mib, running, server_pids
from bench.report import Measurement, machine
from bench.seeds import ENGINE
from bench.sizes import sized
from bench.visitors import Visitor
from generations.models import Generation
from generations.sandbox import clips
from tests.self_signed import certificate

COUNT = sized(100, 4)
RUN_SECONDS = sized(("20", "40"), ("2", "4"))
# Pool, how many at once, how many lives: eight at a time take long.
POOLS = sized((("prefork", 8, 16), ("gevent", 100, 100)), (("prefork", 2, 4), ("gevent", 4, 4)))
PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Lives:
    """What so many whole lives took: CPU seconds by part, memory in the middle of it, everything asked of fal."""

    count: int
    cpu: dict[str, float]
    mib: float
    questions: int

    @property
    def cpu_seconds_each(self) -> float:
        return sum(self.cpu.values()) / self.count

    @property
    def questions_each(self) -> float:
        return self.questions / self.count


def measure() -> list[Measurement]:
    team = make_team("lives", amount=10**9).team
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        clip = directory / "clip.mp4"
        clips.render(clips.Plan(6, 16 / 9, has_audio=False, prompt="A boat drifts out"), clip, picture=None)
        options = ("--clip", str(clip), "--run-seconds", *RUN_SECONDS, "--queue-seconds", "5")
        with running_fal(*options) as fal:
            fal.posts_whole_jobs()
            ours = _ours(team, fal, directory)
        others = {
            f"Celery {pool} {at_once}": _theirs(pool, at_once, count, directory, options)
            for pool, at_once, count in POOLS
        }
    print(ours, others, flush=True)
    return [each for versus, theirs in others.items() for each in _against(versus, ours, theirs)]


def _ours(team: Team, fal: LightFal, directory: Path) -> Lives:
    environment = {**light_environment(fal), "FAL_CONCURRENCY": str(COUNT)}
    with running_house(directory, environment) as house:
        visitor = Visitor(house.url, team.memberships.get().user)
        visitor.order("The first one, which warms every process up.")
        _until(lambda: _settled(team) == 1)
        before, asked = house.cpu_by_part(), fal.counts()
        for number in range(COUNT):
            visitor.order(f"A boat drifts out of the harbour, number {number}.")
        mib = house.mib()
        _until(lambda: _settled(team) == COUNT + 1)
        after = house.cpu_by_part()
    if Generation.objects.filter(team=team).exclude(state="succeeded").exists():
        raise SystemExit("not all generations of the bench succeeded")
    cpu = {name: round(after[name] - before[name], 2) for name in after}
    return Lives(COUNT, cpu, mib, _questions(asked, fal.counts()))


def _settled(team: Team) -> int:
    return Generation.objects.filter(team=team, settled_at__isnull=False).count()


def _theirs(pool: str, at_once: int, count: int, directory: Path, options: tuple[str, ...]) -> Lives:
    log = directory / f"{pool}.log"
    log.touch()
    with running_fal(*options, tls=certificate(directory)) as fal:
        fal.posts_whole_jobs()
        env = naive.worker_environment(log, BENCH_NAIVE_DOWNLOADS="1", **fal.environment())
        naive.forget_queue()
        command = [*naive.COMMAND, f"--pool={pool}", f"--concurrency={at_once}"]
        with running(command, env=env) as process:
            _fill(1, env)
            _until(lambda: len(naive.ended(log)) == 1)
            roots = {"Celery": process.pid, "Valkey": server_pids()["Valkey"]}
            before, asked = {name: cpu_seconds(pid) for name, pid in roots.items()}, fal.counts()
            _fill(count, env)
            _until(lambda: fal.counts()["posts"] > min(at_once, count) // 2)
            mib = pss_mib(*roots.values())
            _until(lambda: len(naive.ended(log)) == count + 1)
            cpu = {name: round(cpu_seconds(pid) - before[name], 2) for name, pid in roots.items()}
        return Lives(count, cpu, mib, _questions(asked, fal.counts()))


def _fill(count: int, env: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-m", "bench.naive", str(count), ENGINE], env=env, check=True)


def _questions(before: dict[str, int], after: dict[str, int]) -> int:
    """Everything that was sent to fal: submits, questions, streams, results; the download is the CDN's."""
    return sum(after.get(kind, 0) - before.get(kind, 0) for kind in ("posts", "asks", "streams", "results"))


def _until(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_done():
        if time.monotonic() > deadline:
            raise SystemExit(f"the generations of the bench did not end within {PATIENCE_SECONDS} s")
        time.sleep(0.5)


def _against(versus: str, ours: Lives, theirs: Lives) -> list[Measurement]:
    parts = ", ".join(f"{part} {1000 * spent / ours.count:.0f}" for part, spent in sorted(ours.cpu.items()))
    pairs = (
        ("CPU per generation, form to stored clip", "s", ours.cpu_seconds_each, theirs.cpu_seconds_each),
        (
            "requests to fal per generation, whole life",
            "requests",
            ours.questions_each,
            theirs.questions_each,
        ),
        ("memory of all processes and servers", "MiB PSS", ours.mib, theirs.mib),
    )
    return [
        Measurement(
            name=f"{name}, everything included, against {versus}",
            value=round(value, 4),
            unit=unit,
            versus=f"{versus} with fal_client.subscribe and a download, nothing recorded: {other:.4g} {unit}",
            ratio=round(value / other, 3),
            runs=1,
            conditions=f"{ours.count} generations (theirs {theirs.count}) after one that warmed up, jobs of "
            f"{'-'.join(RUN_SECONDS)} s after up to 5 s in fal's queue, clip of 6 s at 960 px; ours: web, 2 worker "
            f"processes, watcher, beat, PostgreSQL with fsync and Valkey (CPU in ms by part: {parts}); theirs: the "
            f"worker with its children and Valkey, the light fal over TLS; no page was open; {machine()}",
        )
        for name, unit, value, other in pairs
    ]
