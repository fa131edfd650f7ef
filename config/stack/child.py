"""Child processes that never outlive us: each in a group of its own, each told to die when its parent does.

On Linux the kernel sends the death signal (prctl PR_SET_PDEATHSIG) even after a SIGKILL of the parent. What may still
be left, because everything was killed at once or because there is no prctl, is found again by its working directory
or by a mark in its environment: see `living_in` and `marked`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

IS_LINUX = sys.platform == "linux"
PROC = Path("/proc")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if IS_LINUX else None


def spawn(
    argv: Sequence[str | Path],
    *,
    death_signal: signal.Signals,
    env: Mapping[str, str],
    cwd: Path,
    output: int | IO[bytes],
    uid: int | None = None,
    gid: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a new session, its two outputs joined; Ctrl-C in the terminal does not reach it."""
    parent = os.getpid()

    def tie_to_parent() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=tie_to_parent,  # noqa: PLW1509 - it runs three system calls and takes no lock
        user=uid,
        group=gid,
        extra_groups=None if uid is None else [],
    )


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when the one that started it ends; Linux only."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


def stop(
    process: subprocess.Popen[bytes], *, with_signal: signal.Signals = signal.SIGTERM, grace_seconds: float
) -> None:
    """Ask politely, wait, then kill what is left of the group; returns when the process itself is gone."""
    if process.poll() is None:
        process.send_signal(with_signal)
        ends_within(process, grace_seconds)
    kill_group(process)


def ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait at most so long for a child of ours to end, and say whether it has."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL whatever is left of the group that `process` leads, and reap it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def living_in(directory: Path) -> list[int]:
    """Ids of the processes whose working directory is `directory`: a database server's is its data directory."""
    here = str(directory.resolve())
    return [pid for pid in _pids() if _read_link(PROC / str(pid) / "cwd") == here]


def marked(name: str, value: str) -> list[int]:
    """Ids of the other processes that were started with NAME=value in their environment."""
    mark = f"{name}={value}".encode()
    return [pid for pid in _pids() if mark in _read_bytes(PROC / str(pid) / "environ").split(b"\0")]


def end_leftovers(pids: Iterable[int], *, with_signal: signal.Signals, grace_seconds: float) -> None:
    """Stop processes that are not our children: politely first, then with SIGKILL."""
    waiting = set(pids)
    for pid in waiting:
        _send(pid, with_signal)
    deadline = time.monotonic() + grace_seconds
    while waiting := {pid for pid in waiting if is_alive(pid)}:
        if time.monotonic() > deadline:
            for pid in waiting:
                _send(pid, signal.SIGKILL)
            deadline = time.monotonic() + 2
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process still runs; one that is dead but not yet reaped by its parent does not."""
    stat = _read_bytes(PROC / str(pid) / "stat")
    return bool(stat) and stat.rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"])


def _pids() -> Iterator[int]:
    if not IS_LINUX:
        return
    for entry in PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)


def _read_link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
