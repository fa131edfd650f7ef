"""Private directories, locks, secrets and ports: what two checkouts, or two users, must not share."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from pathlib import Path
from typing import IO

from config.stack.errors import AlreadyRunningError

LOOPBACK = "127.0.0.1"


def private_directory(path: Path) -> Path:
    """The directory, made for its owner alone when it was missing."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; nobody but the owner can ever read it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    draft.replace(path)


def secret(path: Path) -> str:
    """The secret kept in this file; made on first use, 64 characters that need no quoting anywhere."""
    if not path.exists() or not path.read_text().strip():
        write_private(path, secrets.token_hex(32))
    return path.read_text().strip()


def lock(path: Path) -> IO[str]:
    """Hold `path` until the returned file is closed or the process ends, however it ends.

    Raises AlreadyRunningError when another process holds it.
    """
    stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as held:
        stream.close()
        raise AlreadyRunningError(f"{path} is held by another process.") from held
    return stream


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock now."""
    try:
        with path.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now (a port that merely lingers in TIME_WAIT counts as free)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """A loopback port: the preferred one when nobody has it, else any."""
    if preferred and is_free(LOOPBACK, preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def kept_port(path: Path) -> int:
    """A free port that stays the same from run to run for as long as nobody else takes it."""
    text = path.read_text().strip() if path.exists() else ""
    port = free_port(int(text) if text.isdigit() else None)
    write_private(path, str(port))
    return port
