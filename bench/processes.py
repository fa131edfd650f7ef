"""Processes of a measurement: started and ended, and what they and everything they started cost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis
from django.conf import settings
from django.db import connection

from config.stack import child

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 20


@contextmanager
def running(
    command: list[str], *, env: Mapping[str, str], stdout: int | None = None, stderr: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own; at the end it is asked to stop, and then everything in its group is killed.

    When this one is killed, the kernel asks it to stop.
    """
    process = subprocess.Popen(
        command,
        env=dict(env),
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
        preexec_fn=child.end_with_parent,  # noqa: PLW1509 - one system call; a bench that is killed leaves nothing
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def tree(*roots: int) -> list[int]:
    """These processes and all their descendants that live now."""
    children: dict[int, list[int]] = {}
    for pid, fields in _stats():
        children.setdefault(int(fields[1]), []).append(pid)
    found, ahead = [], list(dict.fromkeys(roots))
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += children.get(pid, [])
    return found


def cpu_seconds(*roots: int) -> float:
    """User and system time of the whole trees, with the children that have ended and were waited for."""
    wanted = set(tree(*roots))
    return sum(sum(map(int, fields[11:15])) for pid, fields in _stats() if pid in wanted) / TICKS


def pss_mib(*roots: int) -> float:
    """Memory of the whole trees: of what is shared, every process counts its part (PSS)."""
    return sum(map(_pss_mib, tree(*roots)))


def _pss_mib(pid: int) -> float:
    with suppress(FileNotFoundError, ProcessLookupError):
        return _kib_line(PROC / str(pid) / "smaps_rollup", "Pss:") / 1024
    return 0.0


def resident_mib(pid: int, *, is_peak: bool = False) -> float:
    """Memory of one process now, or the most since `forget_peak`."""
    return _kib_line(PROC / str(pid) / "status", "VmHWM:" if is_peak else "VmRSS:") / 1024


def forget_peak(pid: int) -> None:
    """Let the kernel count the peak anew (proc(5), clear_refs)."""
    (PROC / str(pid) / "clear_refs").write_text("5")


def _kib_line(file: Path, name: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise SystemExit(f"{file} does not tell {name}")


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Every process with the fields of its `stat` that follow the name: state, parent, ..."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()


def server_pids() -> dict[str, int]:
    """PostgreSQL's and Valkey's first processes, where they run on this machine as they do in the bench."""
    with connection.cursor() as cursor:
        backend = cursor.execute("SELECT pg_backend_pid()").fetchone()[0]
    broker = redis.Redis.from_url(settings.REDIS_URL)
    known = {"PostgreSQL": _parent(backend), "Valkey": int(broker.info("server")["process_id"])}
    broker.close()
    names = {"PostgreSQL": ("postgres",), "Valkey": ("valkey", "redis")}
    return {name: pid for name, pid in known.items() if pid and _is_called(pid, names[name])}


def _parent(pid: int) -> int:
    with suppress(FileNotFoundError):
        return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _is_called(pid: int, names: Iterable[str]) -> bool:
    with suppress(FileNotFoundError):
        called = (PROC / str(pid) / "comm").read_text()
        return any(name in called for name in names)
    return False


def database_url() -> str:
    """Where this bench's own database is, for a process that is started beside it."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path="/" + settings.DATABASES["default"]["NAME"]))
