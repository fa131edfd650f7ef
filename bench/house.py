"""Our own processes on the bench's database and broker, against a fal that stands in: web, worker, watcher, beat."""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.fal_process import LightFal
from bench.processes import cpu_seconds, database_url, pss_mib, running, server_pids
from config.stack import places
from tests.sandbox_server import RunningSandbox

UP_SECONDS = 120
WEB = "config.asgi:application"
ALL = ("web", "worker", "watcher", "beat")
WORKER_PROCESSES = 2


@dataclass(frozen=True)
class House:
    """Where the web process listens (no slash at the end), and the first process of each part, servers included."""

    url: str
    pids: Mapping[str, int]

    def cpu_by_part(self) -> dict[str, float]:
        """Seconds of user and system time so far, each part with everything it started."""
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def mib(self) -> float:
        return pss_mib(*self.pids.values())


def sandbox_environment(sandbox: RunningSandbox) -> dict[str, str]:
    return {
        "FAL_KEY": "bench:key",
        "FAL_QUEUE_URL": sandbox.queue_url,
        "FAL_REST_URL": sandbox.rest_url,
        "FAL_CDN_URL": sandbox.cdn_url,
        "FAL_PLATFORM_URL": sandbox.platform_url,
        "FAL_JWKS_URL": sandbox.jwks_url,
    }


def light_environment(fal: LightFal) -> dict[str, str]:
    return {"FAL_KEY": "bench:key", "FAL_QUEUE_URL": fal.queue_url, "FAL_CDN_URL": fal.base_url}


@contextmanager
def running_house(
    directory: Path,
    environment: Mapping[str, str],
    *,
    parts: Sequence[str] = ALL,
    web: str = WEB,
    has_webhooks: bool = False,
    workers: int = WORKER_PROCESSES,
) -> Iterator[House]:
    """`environment` points to a fal and may say more; `workers` are Celery's processes. All are ended with theirs."""
    port = places.free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "MEDIA_ROOT": str(directory / "media"),
        "LOG_LEVEL": "WARNING",
        "FAL_WEBHOOK_BASE_URL": url if has_webhooks else "",
        **environment,
    }
    commands = _commands(port, web=web, workers=workers, schedule=directory / "beat-schedule")
    with ExitStack() as stack:
        pids = {name: stack.enter_context(running(commands[name], env=env)).pid for name in parts}
        if "web" in parts:
            _wait_for(url)
        yield House(url, pids | server_pids())


def _commands(port: int, *, web: str, workers: int, schedule: Path) -> dict[str, list[str]]:
    celery = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "config", "--quiet"]
    pool = ["--pool=prefork", f"--concurrency={workers}", "--without-gossip", "--without-mingle"]
    where = ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    limits = ["--workers", "1", "--workers-kill-timeout", "3s"]
    return {
        "web": [sys.executable, "-m", "granian", *where, *limits, web],
        "worker": [*celery, "worker", *pool, "--loglevel=WARNING"],
        "watcher": [sys.executable, "manage.py", "watch"],
        "beat": [*celery, "beat", "--loglevel=WARNING", f"--schedule={schedule}", "--pidfile="],
    }


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):  # noqa: S310
                return
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"the web process did not answer within {UP_SECONDS} s") from None
            time.sleep(0.1)
