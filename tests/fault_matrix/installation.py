"""One whole installation for all tests of this package: real processes on a house of the drill's, with S3 for media.

`wait` keeps the fleet up while it waits. The ORM of the test's process reads the installation's own PostgreSQL (see
`pointed_at`): outcomes are what stands there, in S3, and in the sandbox's books.
"""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from django.core.management import call_command
from django.db import DatabaseError, connections
from django.db.backends.postgresql.base import DatabaseWrapper

from config.stack import child, places, valkey
from generations.drill import house
from generations.drill.fal_books import FalBooks
from generations.drill.fleet import Fleet
from tests.fault_matrix.arming import Arming, Blow, Struck
from tests.fault_matrix.s3_server import S3Server

T = TypeVar("T")
TICK_SECONDS = 0.1
UP_SECONDS = 120
PATIENCE_SECONDS = 60
CONCURRENCY = 24
# Of each worker: what waits for a slow link must not keep the other orders waiting.
SLOTS = 5
# Beside the drill's hurry. Watchers alone keep the lease that production has: the matrix says how fast one is replaced.
HURRY = {
    # What each fault means for one generation is looked at here; that many together open a breaker has tests elsewhere.
    "BREAKER_FAILURES": "1000000",
    "FAL_CONCURRENCY": str(CONCURRENCY),
    "FAL_WEBHOOK_USER_ID": "sandbox",
    "LEASE_SECONDS": "3",
    "LOST_DEADLINE_SECONDS": "75",
    "LOG_LEVEL": "INFO",
}
WATCHERS_LEASE_SECONDS = 20


@dataclass
class Installation:
    """Everything that runs, and the handles to strike it."""

    house: house.House
    env: dict[str, str]
    fleet: Fleet
    books: FalBooks
    s3: S3Server
    arming: Arming

    @classmethod
    def prepared(cls) -> Installation:
        """A house of its own, and the fleet that will live there; nothing is started yet."""
        place = house.fresh()
        arming = Arming(place.directory / "armed")
        s3 = S3Server(places.free_port(), place.logs / "s3.log")
        scratch = places.private_directory(place.directory / "tmp")
        env = place.environment() | HURRY | s3.environment() | arming.environment()
        env["TMPDIR"] = str(scratch)
        fleet = Fleet(place, env)
        for each in fleet.all.values():
            own = Arming.of_process(each.name)
            if each.name.startswith("watcher"):
                own["LEASE_SECONDS"] = str(WATCHERS_LEASE_SECONDS)
            argv = [f"--concurrency={SLOTS}" if part == "--concurrency=2" else part for part in each.argv]
            each.argv = ["/usr/bin/env", *(f"{name}={value}" for name, value in own.items()), *argv]
        return cls(place, env, fleet, FalBooks(place.sandbox_url), s3, arming)

    def start(self) -> None:
        """Return once web and sandbox answer; the ORM must be pointed at our database."""
        self.s3.start()
        self.fleet.start_servers()
        call_command("migrate", interactive=False, verbosity=0)
        self.s3.wait()
        self.fleet.tend()
        self.wait(self.is_up, seconds=UP_SECONDS, what="web and sandbox answer")
        self.books.settings(concurrency=CONCURRENCY)

    def is_up(self) -> bool:
        try:
            answers = [
                httpx.get(f"{self.house.sandbox_url}/control", timeout=5),
                httpx.get(f"{self.house.web_url}/healthz", timeout=5),
            ]
        except httpx.HTTPError:
            return False
        return all(answer.status_code == 200 for answer in answers)

    def stop(self) -> None:
        """Whatever the tests wanted to know of an orderly end they have asked by now."""
        self.arming.disarm()
        for name in self.fleet.all:
            self.fleet.kill(name)
        self.fleet.stop()
        self.s3.kill()

    def wait(
        self, found: Callable[[], T], *, what: str, seconds: float = PATIENCE_SECONDS, is_tended: bool = True
    ) -> T:
        """What `found` finds once it is true; the fleet is kept up meanwhile unless told otherwise."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            if is_tended:
                self.fleet.tend()
            try:
                value = found()
            except DatabaseError:
                connections["default"].close()
            else:
                if value:
                    return value
            time.sleep(TICK_SECONDS)
        raise AssertionError(f"after {seconds:g} s still not: {what}")

    def wait_for(self, blow: Blow, *, is_death: bool = True) -> Struck:
        """The armed blow fell, and who took it is dead (where it kills): the very process, not only its name."""
        struck = self.wait(blow.struck, what=f"somebody comes by {blow.name}")
        if is_death:
            self.wait(lambda: not child.is_alive(struck.pid), what=f"{struck} is dead")
        return struck

    def pid(self, name: str) -> int:
        """Of the process that carries the name now."""
        process = self.wait(lambda: self.fleet.all[name].process, what=f"{name} runs")
        return process.pid

    def kill(self, name: str, *, down_seconds: float = 0) -> int:
        """SIGKILL it and its children, and let nothing take its place for so long; the id it had."""
        pid = self.pid(name)
        assert self.fleet.kill(name)
        each = self.fleet.all[name]
        self.wait(lambda: each.process is None or each.process.pid != pid, what=f"{name} is dead")
        each.starts_at = max(each.starts_at, time.monotonic() + down_seconds)
        return pid

    def bring_up(self, name: str) -> None:
        self.fleet.all[name].starts_at = 0.0
        self.fleet.tend()

    def terminate(self, name: str) -> subprocess.Popen[bytes]:
        """SIGTERM to the process alone, as a deploy does; its children are its own affair."""
        process = self.fleet.all[name].process
        assert process is not None
        os.kill(process.pid, signal.SIGTERM)
        return process

    def names(self, kind: str) -> list[str]:
        """`worker` and every name in the fleet that begins so."""
        return [name for name in self.fleet.all if name.startswith(kind)]

    def stop_broker(self) -> None:
        assert self.fleet.broker is not None
        self.fleet.broker.stop()

    def start_broker(self) -> None:
        self.fleet.broker = valkey.start(self.house.directory, port=self.house.broker_port)

    def log(self, name: str) -> str:
        with suppress(FileNotFoundError):
            return (self.house.logs / f"{name}.log").read_text(errors="replace")
        return ""


@contextmanager
def pointed_at(database_url: str) -> Iterator[None]:
    """Django's connection of this thread is one to that database, for as long as the block lasts."""
    mine, url = connections["default"], urlsplit(database_url)
    there = copy.deepcopy(mine.settings_dict) | {
        "NAME": url.path.lstrip("/"),
        "USER": url.username,
        "PASSWORD": url.password,
        "HOST": url.hostname,
        "PORT": url.port,
    }
    connections["default"] = DatabaseWrapper(there, "default")
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = mine
