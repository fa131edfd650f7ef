"""Where a drill lives: a directory, ports and secrets of its own under var/drill, and the environment that says so.

It never takes the servers of the environment it was called in: FLUSHALL is one of its tools.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from config.stack import child, environment, places
from config.stack.errors import AlreadyRunningError, StackError

MARK = "CLIPLEDGER_DRILL_DIRECTORY"
ROOT = environment.CHECKOUT / "var" / "drill"
SLOTS = 32
LEFTOVER_SECONDS = 5
CONCURRENCY = 12
PORTS = range(20_000, 32_000)
# What the caller's environment says about our own processes counts for nothing here.
OURS = (
    *(
        "DATABASE_URL",
        "REDIS_URL",
        "CELERY_",
        "CLIPLEDGER_",
        "DJANGO_SETTINGS_MODULE",
        "MEDIA_",
        "AWS_",
        "FAL_",
    ),
    *("SECRET_KEY", "DEBUG", "LOST_", "RETRY_", "PATIENCE_", "PAUSE_", "LEASE_", "SWEEP_", "SUBMIT_", "MAX_"),
    *(
        "BREAKER_",
        "DEAF_",
        "ALLOWED_HOSTS",
        "SITE_URL",
        "BEHIND_PROXY",
        "SECURE_",
        "CREDITS_PER_USD",
        "LOG_LEVEL",
    ),
)
# Waiting times of minutes and hours become seconds, so that whatever has to end by rule ends while we look.
HURRY = {
    "FAL_CONCURRENCY": str(CONCURRENCY),
    "RETRY_SECONDS": "0.3",
    "LOST_AFTER_SECONDS": "2",
    "LOST_DEADLINE_SECONDS": "15",
    "PAUSE_PROBE_SECONDS": "1",
    "BREAKER_PROBE_SECONDS": "0.5",
    "DEAF_SECONDS": "15",
    # What only ever fails is not counted while its engine's breaker is open; this is what ends it.
    "PATIENCE_SECONDS": "60",
    "LEASE_SECONDS": "5",
    "SWEEP_SECONDS": "2",
    "SUBMIT_READ_TIMEOUT_SECONDS": "3",
    "MAX_CLIP_BYTES": "3000000",
    "LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class House:
    """The directory of one drill, and the ports that stay when what listens there is killed."""

    directory: Path
    database_port: int
    broker_port: int
    sandbox_port: int
    web_port: int

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def sandbox_url(self) -> str:
        return f"http://{places.LOOPBACK}:{self.sandbox_port}"

    @property
    def web_url(self) -> str:
        return f"http://{places.LOOPBACK}:{self.web_port}"

    def environment(self) -> dict[str, str]:
        """The whole environment of the drill and of everything it starts."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        at, secret = places.LOOPBACK, places.secret
        password = secret(self.directory / "postgres.password")
        ours = {
            MARK: str(self.directory),
            "CLIPLEDGER_ENV": "test",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": secret(self.directory / "secret"),
            "DATABASE_URL": f"postgres://clipledger:{password}@{at}:{self.database_port}/clipledger",
            "REDIS_URL": f"redis://:{secret(self.directory / 'valkey.password')}@{at}:{self.broker_port}/0",
            "MEDIA_ROOT": str(self.directory / "media"),
            "PYTHONUNBUFFERED": "1",
        }
        return clean | ours | self._fal() | HURRY

    def _fal(self) -> dict[str, str]:
        base = self.sandbox_url
        return {
            "FAL_KEY": "sandbox",
            "FAL_ADMIN_KEY": "sandbox",
            "FAL_QUEUE_URL": f"{base}/queue",
            "FAL_REST_URL": f"{base}/rest",
            "FAL_CDN_URL": f"{base}/cdn",
            "FAL_PLATFORM_URL": f"{base}/platform/v1",
            "FAL_JWKS_URL": f"{base}/.well-known/jwks.json",
            "FAL_WEBHOOK_BASE_URL": self.web_url,
            "FAL_IS_SANDBOX": "1",
        }


def fresh() -> House:
    """The first directory no other drill holds, emptied of what a killed one left there, and four free ports.

    The lock is this process's until it ends, also when it becomes another program by `exec`.
    """
    places.private_directory(ROOT)
    for directory in (places.private_directory(ROOT / str(number)) for number in range(SLOTS)):
        try:
            held = places.lock(directory / "lock")
        except AlreadyRunningError:
            continue
        with held:
            os.set_inheritable(os.dup(held.fileno()), True)
        _empty(directory)
        places.private_directory(directory / "logs")
        return House(directory, *(_ports(4)))
    raise StackError(f"All {SLOTS} directories under {ROOT} are in use.")


def _ports(count: int) -> list[int]:
    """Below those the system hands to clients: while a server of ours is down, a client could be given its port."""
    candidates = random.sample(PORTS, len(PORTS))
    return list(islice((port for port in candidates if places.is_free(places.LOOPBACK, port)), count))


def _empty(directory: Path) -> None:
    left = set(child.marked(MARK, str(directory)))
    for place in (directory / "postgres" / "data", *directory.glob("valkey-*"), directory / "valkey"):
        left |= set(child.living_in(place))
    child.end_leftovers(left, with_signal=signal.SIGKILL, grace_seconds=LEFTOVER_SECONDS)
    for entry in directory.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def ours() -> House | None:
    """The house of the drill this process is, by its environment; None in any other process."""
    directory = os.environ.get(MARK)
    if not directory:
        return None
    ports = (
        os.environ[name] for name in ("DATABASE_URL", "REDIS_URL", "FAL_JWKS_URL", "FAL_WEBHOOK_BASE_URL")
    )
    return House(Path(directory), *(_port(url) for url in ports))


def _port(url: str) -> int:
    return int(url.split("/")[2].rpartition(":")[2])
