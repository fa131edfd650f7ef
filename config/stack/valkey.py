"""The embedded Valkey: broker, cache and pub/sub behind one REDIS_URL, on a free loopback port with a password."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.stack import binaries, child, places
from config.stack.errors import PortTakenError, StackError

START_SECONDS = 30
STOP_SECONDS = 5
POLL_SECONDS = 0.02
DATABASES = 64


@dataclass(frozen=True, kw_only=True)
class Valkey:
    """A running server; `url` is the REDIS_URL."""

    url: str
    process: subprocess.Popen[bytes]
    data: Path

    def stop(self) -> None:
        """Write what is pending and exit."""
        child.stop(self.process, grace_seconds=STOP_SECONDS)


def start(directory: Path, *, is_durable: bool = True, port: int | None = None) -> Valkey:
    """Start the server of `directory`, on a free port unless told which; the caller holds the directory's lock.

    One left there by a killed parent is stopped first. Raises StackError with the end of the server's log.
    """
    binary, family = binaries.valkey_server()
    data = places.private_directory(directory / family)
    child.end_leftovers(child.living_in(data), with_signal=signal.SIGTERM, grace_seconds=STOP_SECONDS)
    password = places.secret(directory / "valkey.password")
    for _ in range(3):
        try:
            return _launch(binary, data=data, password=password, is_durable=is_durable, port=port)
        except PortTakenError:
            continue
    raise StackError("Valkey found no free port on 127.0.0.1 in three tries.")


def _launch(binary: Path, *, data: Path, password: str, is_durable: bool, port: int | None) -> Valkey:
    port = port or places.free_port()
    log = data.parent / "valkey.log"
    # A file and no arguments: the arguments of a process can be read by every user of the machine.
    configuration = data.parent / "valkey.conf"
    places.write_private(
        configuration, _configuration(data, port=port, password=password, is_durable=is_durable)
    )
    with log.open("wb") as output:
        process = child.spawn(
            [binary, configuration],
            death_signal=signal.SIGTERM,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            cwd=data,
            output=output,
        )
    try:
        _wait(process, port=port, password=password, log=log)
    except BaseException:
        child.stop(process, grace_seconds=STOP_SECONDS)
        raise
    return Valkey(url=f"redis://:{password}@{places.LOOPBACK}:{port}/0", process=process, data=data)


def _configuration(data: Path, *, port: int, password: str, is_durable: bool) -> str:
    lines = {
        "bind": places.LOOPBACK,
        "port": str(port),
        "requirepass": password,
        "dir": '"' + str(data).replace("\\", "\\\\").replace('"', '\\"') + '"',
        "databases": str(DATABASES),
        "appendonly": "yes" if is_durable else "no",
        "maxmemory-policy": "noeviction",
        "save": '""',
        "daemonize": "no",
        "loglevel": "warning",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def _wait(process: subprocess.Popen[bytes], *, port: int, password: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    client = redis.Redis(
        host=places.LOOPBACK, port=port, password=password, socket_timeout=2, retry=Retry(NoBackoff(), 0)
    )
    with client:
        while not _answers(client):
            if child.ends_within(process, POLL_SECONDS):
                raise _failure(log)
            if time.monotonic() > deadline:
                raise StackError(f"Valkey does not answer:\n{log.read_text(errors='replace')}")


def _answers(client: redis.Redis) -> bool:
    """Whether our own server is there: a stranger on the port does not know the password."""
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _failure(log: Path) -> StackError:
    text = log.read_text(errors="replace")
    if "Address already in use" in text:
        return PortTakenError(text)
    return StackError(f"Valkey did not start:\n{text[-2000:]}")
