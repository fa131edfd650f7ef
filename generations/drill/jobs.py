"""What runs in a drill: the sandbox, and on every host a web, workers for bells and for clips, watchers and a beat."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from generations.drill.house import CONCURRENCY, House

PYTHON = sys.executable
NO_ROOT_WARNING = "ignore:You're running the worker with superuser privileges"
CELERY = (PYTHON, "-W", NO_ROOT_WARNING, "-m", "celery", "-A", "config", "--quiet")
QUIET = ("--without-gossip", "--without-mingle", "--loglevel=WARNING")
JOB_SECONDS = 0.8
CLIPS_AT_ONCE = 4  # as INGEST_CONCURRENCY says by default


@dataclass(frozen=True)
class Host:
    """A machine of its own, as far as its processes can tell: its own web, and what `env` says differs here.

    The nameless one is the only one and has the web of the house.
    """

    name: str = ""
    web_port: int = 0
    env: Mapping[str, str] = field(default_factory=dict)

    def called(self, process: str) -> str:
        return f"{self.name}-{process}" if self.name else process


@dataclass
class Running:
    """One process to keep up; it leads a session of its own, with its children in it."""

    name: str
    argv: list[str | Path]
    host: Host = field(default_factory=Host)
    process: subprocess.Popen[bytes] | None = None
    starts_at: float = 0.0
    is_frozen: bool = False
    is_down: bool = False

    @property
    def is_worker(self) -> bool:
        return "worker" in self.name.split("-")


def sandbox_of(house: House, *, job_seconds: float = JOB_SECONDS) -> Running:
    """fal, outside of every host."""
    where = [
        "--port",
        str(house.sandbox_port),
        "--data-dir",
        str(house.directory / "sandbox"),
        "--fast-clips",
    ]
    pace = ["--concurrency", str(CONCURRENCY), "--job-seconds", str(job_seconds), "--balance-usd", "1000000"]
    webhooks = ["--webhook-attempts", "5", "--webhook-retry-seconds", "0.5"]
    return Running("sandbox", [PYTHON, "manage.py", "fal_sandbox", *where, *pace, *webhooks])


def jobs_of(host: Host, house: House, *, workers: int, watchers: int) -> Iterator[Running]:
    """The processes of one host. A beat on each is what careless production has, and must be harmless."""
    yield _running(host, "web", _web(host.web_port or house.web_port))
    for number in range(1, workers + 1):
        yield _running(host, f"worker-{number}", _worker(host, f"worker-{number}", "bells", at_once=2))
    yield _running(host, "worker-clips", _worker(host, "worker-clips", "clips", at_once=CLIPS_AT_ONCE))
    for number in range(1, watchers + 1):
        yield _running(host, f"watcher-{number}", [PYTHON, "manage.py", "watch"])
    schedule = house.directory / host.called("beat-schedule")
    beat = ["beat", "--loglevel=WARNING", f"--schedule={schedule}", "--pidfile="]
    yield _running(host, "beat", [*CELERY, *beat])


def _running(host: Host, process: str, argv: list[str | Path]) -> Running:
    return Running(host.called(process), argv, host)


def _web(port: int) -> list[str | Path]:
    where = ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    limits = ["--workers", "1", "--respawn-failed-workers", "--workers-kill-timeout", "3s"]
    return [PYTHON, "-m", "granian", *where, *limits, "config.asgi:application"]


def _worker(host: Host, process: str, queue: str, *, at_once: int) -> list[str | Path]:
    pool = ["worker", "--pool=prefork", f"--concurrency={at_once}", f"--queues={queue}"]
    return [*CELERY, *pool, f"--hostname={host.called(process)}@drill", *QUIET]
