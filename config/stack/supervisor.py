"""Runs the processes of `make run` side by side: prefixes what they say, brings back what falls, ends all of it.

A process that ends by itself is started again, after a pause that doubles; one that will not stay up ends the run with
its exit code. On SIGINT, SIGTERM or SIGHUP all are asked to stop, those that others lean on last, and after a grace
killed with everything they started. A second signal skips the grace.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from config.stack import child

GRACE_SECONDS = 7.0
STEADY_SECONDS = 20.0
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 15.0
MAX_FAILURES = 6
TICK_SECONDS = 0.1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLOURS = (36, 33, 32, 35, 34, 31)


@dataclass(kw_only=True)
class Job:
    """One process to keep up. `is_backing` stops after the others; its death signal reaches it when we are killed."""

    name: str
    argv: Sequence[str | Path]
    death_signal: signal.Signals = signal.SIGKILL
    is_backing: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    starts_at: float = field(default=0.0, init=False)
    failures: int = field(default=0, init=False)
    unfinished: bytes = field(default=b"", init=False)


class Supervisor:
    """Keeps jobs running until a signal, or until one of them will not stay up; `run` returns the exit code."""

    def __init__(self, jobs: Sequence[Job], *, env: Mapping[str, str], cwd: Path) -> None:
        self.jobs = jobs
        self.env = env
        self.cwd = cwd
        self.signals = 0
        self.exit_code: int | None = None
        self.selector = selectors.DefaultSelector()
        self.width = max(len(job.name) for job in jobs)

    def run(self, *, watch: Callable[[], bool]) -> int:
        """Start all and stay. `watch` is called at every tick until it answers True: the place to greet from."""
        previous = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        is_watched = False
        try:
            while self.exit_code is None and not self.signals:
                self._tend()
                is_watched = is_watched or watch()
                self._relay(TICK_SECONDS)
            return self.exit_code or 0
        finally:
            self._stop_all()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def say(self, text: str) -> None:
        """Print lines of our own between those of the jobs."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.signals += 1

    def _tend(self) -> None:
        """Start what is due and notice what has ended."""
        now = time.monotonic()
        for job in self.jobs:
            if job.process is None and now >= job.starts_at:
                self._start(job)
            elif job.process is not None and job.process.poll() is not None:
                self._bury(job)

    def _start(self, job: Job) -> None:
        job.process = child.spawn(
            job.argv, death_signal=job.death_signal, env=self.env, cwd=self.cwd, output=subprocess.PIPE
        )
        job.started_at = time.monotonic()
        assert job.process.stdout is not None
        os.set_blocking(job.process.stdout.fileno(), False)
        self.selector.register(job.process.stdout, selectors.EVENT_READ, job)

    def _bury(self, job: Job) -> None:
        """Clear away what is left of a job that ended, and decide when, and whether, it comes back."""
        assert job.process is not None
        child.kill_group(job.process)
        code = job.process.returncode
        self._close(job)
        is_steady = time.monotonic() - job.started_at > STEADY_SECONDS
        job.failures = 1 if is_steady else job.failures + 1
        if job.failures >= MAX_FAILURES:
            self._print(job, f"ended {job.failures} times in a row, last with code {code}: giving up")
            self.exit_code = code if code > 0 else 1
            return
        pause_seconds = min(FIRST_PAUSE_SECONDS * 2 ** (job.failures - 1), MAX_PAUSE_SECONDS)
        job.starts_at = time.monotonic() + pause_seconds
        self._print(job, f"ended with code {code}; starting it again in {pause_seconds:g} s")

    def _relay(self, wait_seconds: float) -> None:
        for key, _ in self.selector.select(wait_seconds):
            self._read(key.data)

    def _read(self, job: Job) -> bool:
        """Pass on the whole lines that have come; False when there is nothing more to read now."""
        assert job.process is not None and job.process.stdout is not None
        try:
            chunk = os.read(job.process.stdout.fileno(), 65_536)
        except BlockingIOError:
            return False
        if not chunk:
            self.selector.unregister(job.process.stdout)
            return False
        *lines, job.unfinished = (job.unfinished + chunk).split(b"\n")
        for line in lines:
            self._print(job, line.decode(errors="replace"))
        return True

    def _close(self, job: Job) -> None:
        """Pass on the last words of a job that has ended and forget its pipe."""
        assert job.process is not None and job.process.stdout is not None
        pipe = job.process.stdout
        while pipe in self.selector.get_map() and self._read(job):
            pass
        if pipe in self.selector.get_map():
            self.selector.unregister(pipe)
        pipe.close()
        if job.unfinished:
            self._print(job, job.unfinished.decode(errors="replace"))
        job.process, job.unfinished = None, b""

    def _print(self, job: Job, line: str) -> None:
        prefix = f"{job.name:<{self.width}} |"
        if sys.stdout.isatty():
            prefix = f"\033[{COLOURS[list(self.jobs).index(job) % len(COLOURS)]}m{prefix}\033[0m"
        self.say(f"{prefix} {line}")

    def _stop_all(self) -> None:
        for is_backing in (False, True):
            self._stop([job for job in self.jobs if job.process and job.is_backing == is_backing])
        self.selector.close()

    def _stop(self, jobs: list[Job]) -> None:
        """Ask these to stop, pass on what they say meanwhile, and kill what is still there after the grace."""
        asked = self.signals
        for job in jobs:
            if job.process is not None and job.process.poll() is None:
                job.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while any(job.process and job.process.poll() is None for job in jobs):
            if time.monotonic() > deadline or self.signals > max(asked, 1):
                break
            self._relay(TICK_SECONDS)
        for job in jobs:
            if job.process is not None:
                child.kill_group(job.process)
                self._close(job)
