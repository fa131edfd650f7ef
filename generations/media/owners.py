"""Whose is this file in the making? A name that says which process made it, and whether that one still lives.

The name holds a sum of the machine's (its host name, its boot and its namespace of process numbers, since containers
may share a directory), the process's number, and when it began, for numbers come round again. Where the kernel does not
tell (no /proc), a name says nothing and nobody is taken for dead.
"""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

PROC = Path("/proc")
UNKNOWN = "unknown"


def this_process() -> str:
    """`machine-pid-start`, the start in clock ticks since the boot; "unknown" where it cannot be told."""
    pid = os.getpid()
    began_at = _start_ticks(pid)
    return f"{_machine()}-{pid}-{began_at}" if _machine() and began_at else UNKNOWN


def is_gone(owner: str) -> bool:
    """Whether this was a process of this very machine that has ended."""
    machine, _, rest = owner.partition("-")
    pid, _, began_at = rest.partition("-")
    if not (machine and machine == _machine() and pid.isdecimal() and began_at.isdecimal()):
        return False
    return _start_ticks(int(pid)) != began_at


@cache
def _machine() -> str:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        numbers = (PROC / "self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{socket.gethostname()} {boot} {numbers}".encode()).hexdigest()[:12]


def _start_ticks(pid: int) -> str:
    """proc(5), stat, field 22; "" of a process that is not there, or is dead and only not yet reaped."""
    with suppress(OSError):
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        if fields[0] not in {"Z", "X"}:
            return fields[19]
    return ""
