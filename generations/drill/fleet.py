"""Every process of the drill: started, kept up whatever happens to it, struck, and ended without a trace.

All of them are started from the thread that lives until the end: on Linux a child's death signal is tied to the thread
that made it, and not only to the process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from config.stack import child, environment, postgres, valkey
from generations.drill.house import House
from generations.drill.jobs import Host, Running, jobs_of, sandbox_of

RESTART_SECONDS = 0.3
STOP_SECONDS = 6
ANSWER_SECONDS = 5
TICK_SECONDS = 0.05
# Its sitecustomize.py makes a process follow the clock that `set_clock` writes.
JUMPS = Path(__file__).parent / "jumps"


@dataclass
class Fleet:
    """`tend` brings back what has fallen; call it often. `ends` counts how often each fell."""

    house: House
    env: dict[str, str]
    workers: int = 2
    watchers: int = 2
    # One host unless told otherwise; `workers` and `watchers` are then for each of them.
    hosts: Sequence[Host] = (Host(),)
    ends: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        found = [sandbox_of(self.house)]
        for host in self.hosts:
            found += jobs_of(host, self.house, workers=self.workers, watchers=self.watchers)
        self.all = {each.name: each for each in found}
        self.database: postgres.Postgres | None = None
        self.broker: valkey.Valkey | None = None

    def start_servers(self) -> None:
        self.start_database()
        self.broker = valkey.start(self.house.directory, port=self.house.broker_port)

    def start_database(self) -> None:
        """Durable: what PostgreSQL has confirmed must outlive its own crash, or nothing here would mean anything."""
        place = self.house
        self.database = postgres.start(
            place.directory, checkout=environment.CHECKOUT, port=place.database_port
        )

    def stop_database(self, *, is_crash: bool) -> None:
        """A fast shutdown, or an immediate one, which is a crash with recovery at the next start."""
        assert self.database is not None
        if is_crash:
            child.stop(self.database.process, with_signal=signal.SIGQUIT, grace_seconds=STOP_SECONDS)
        self.database.stop()

    def tend(self) -> None:
        now = time.monotonic()
        for each in self.all.values():
            if each.process is not None and each.process.poll() is not None:
                self._bury(each, now)
            if each.process is None and now >= each.starts_at and not each.is_down:
                self._start(each)

    def tend_until_answered(self, urls: Iterable[str], *, seconds: float) -> None:
        """Keep everything up until each of these has answered, whatever it says, or the time is over."""
        waiting, ends_at = list(urls), time.monotonic() + seconds
        while waiting and time.monotonic() < ends_at:
            self.tend()
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(waiting[0], timeout=ANSWER_SECONDS)
                waiting.pop(0)
            time.sleep(TICK_SECONDS)

    def _bury(self, each: Running, now: float) -> None:
        assert each.process is not None
        child.kill_group(each.process)
        self.ends[each.name] += 1
        each.process, each.starts_at, each.is_frozen = None, now + RESTART_SECONDS, False

    def _start(self, each: Running) -> None:
        with (self.house.logs / f"{each.name}.log").open("ab") as log:
            clock = {"CLIPLEDGER_DRILL_CLOCK": str(self._clock(each.name)), "PYTHONPATH": str(JUMPS)}
            env = self.env | dict(each.host.env) | clock
            each.process = child.spawn(
                each.argv, death_signal=signal.SIGKILL, env=env, cwd=environment.CHECKOUT, output=log
            )

    def _clock(self, name: str) -> Path:
        return self.house.directory / f"{name}.clock"

    def set_clock(self, names: Iterable[str], off_seconds: float) -> bool:
        """Put the wall clocks of these processes wrong by so many seconds, or right again with 0."""
        for name in names:
            self._clock(name).write_text(str(off_seconds))
        return True

    def kill(self, name: str) -> bool:
        """SIGKILL the process with all its children; False where there is none just now."""
        return self._signal(name, signal.SIGKILL)

    def kill_host(self, name: str) -> None:
        """SIGKILL everything that runs on a host, at once, and leave it down."""
        for each in self.all.values():
            if each.host.name == name:
                each.is_down = True
                self._signal(each.name, signal.SIGKILL)

    def kill_child(self, name: str, choice: int) -> bool:
        """SIGKILL one of its children and leave the parent to notice."""
        found = self.all[name].process
        children = sorted(set(_session(found)) - {found.pid}) if found else []
        if not children:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(children[choice % len(children)], signal.SIGKILL)
        return True

    def freeze(self, name: str) -> bool:
        self.all[name].is_frozen = self._signal(name, signal.SIGSTOP)
        return self.all[name].is_frozen

    def thaw(self, name: str) -> None:
        if self.all[name].is_frozen:
            self._signal(name, signal.SIGCONT)
        self.all[name].is_frozen = False

    def _signal(self, name: str, number: signal.Signals) -> bool:
        process = self.all[name].process
        if process is None or process.poll() is not None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        return True

    def limit_files(self, limit: int) -> bool:
        """Let no worker write a file beyond so many bytes (Python gets EFBIG); `RLIM_INFINITY` lets them again."""
        pids = [pid for each in self.all.values() if each.is_worker for pid in _session(each.process)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))
        return bool(pids)

    def pid_of_broker(self) -> int:
        assert self.broker is not None
        return self.broker.process.pid

    def stop(self) -> None:
        """End all of it; a frozen process is woken for it."""
        for each in self.all.values():
            if each.process is not None:
                self._signal(each.name, signal.SIGCONT)
                self._signal(each.name, signal.SIGTERM)
        ends_at = time.monotonic() + STOP_SECONDS
        for each in self.all.values():
            if each.process is not None:
                child.ends_within(each.process, max(ends_at - time.monotonic(), 0))
                child.kill_group(each.process)
        if self.broker:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.broker.process.pid, signal.SIGCONT)
            self.broker.stop()
        if self.database:
            self.database.stop()


def _session(process: subprocess.Popen[bytes] | None) -> list[int]:
    """The process and everything that lives in its session."""
    return [pid for pid in _pids() if process is not None and _session_of(pid) == process.pid]


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in child.PROC.iterdir() if entry.name.isdigit())


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
