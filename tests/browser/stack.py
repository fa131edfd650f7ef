"""The product as a person gets it: `config.stack run` with its own directory, database, broker, worker and sandbox."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.stack import child, environment, places
from tests.sandbox_server import RunningSandbox

UP_SECONDS = 180
STOP_SECONDS = 25
SLOTS = 16
# What this test session set for itself: the stack decides these anew.
OURS = (
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_",
    "SECRET_KEY",
    "CLIPLEDGER_",
    "DJANGO_SETTINGS_MODULE",
    "MEDIA_",
    "FAL_",
    "DEBUG",
)


@dataclass
class Stack:
    """A running Clipledger. `url` has no slash at its end; both demo people have `password`."""

    url: str
    password: str
    directory: Path
    process: subprocess.Popen[bytes]
    sandbox: RunningSandbox

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`manage.py ...` in another shell beside the run; its outputs are kept apart."""
        argv = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            argv,
            check=False,
            cwd=environment.CHECKOUT,
            env=_shell(self.directory),
            capture_output=True,
            text=True,
        )

    def said(self) -> str:
        """Everything the processes printed so far."""
        return _log(self.directory).read_text()


@contextmanager
def running_stack(**sandbox_settings: object) -> Iterator[Stack]:
    """Bring everything up in a fresh directory, give it to the caller, and leave nothing of it behind."""
    directory = _fresh_directory()
    process = _start(directory, port=places.free_port())
    try:
        stack = _greeted(directory, process)
        stack.sandbox.settings(**sandbox_settings)
        yield stack
    finally:
        _end(directory, process)


def _fresh_directory() -> Path:
    """The first place under var/test/browser-<worker> that no other session uses, emptied of what a killed one left."""
    root = environment.TEST_DIRECTORY / f"browser-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    for made in (root.parent.parent, root.parent, root):
        places.private_directory(made)
    for directory in (root / str(number) for number in range(SLOTS)):
        if not places.is_locked(directory / "lock"):
            shutil.rmtree(directory, ignore_errors=True)
            return places.private_directory(directory)
    raise AssertionError(f"all {SLOTS} directories under {root} are in use")


def _shell(directory: Path) -> dict[str, str]:
    """A shell that knows where the run lives, with less patience between two attempts than a person needs."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**clean, "CLIPLEDGER_RUN_DIRECTORY": str(directory), "RETRY_SECONDS": "1"}


def _log(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.log")


def _start(directory: Path, *, port: int) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "config.stack", "run", "--with-parent", "--port", str(port)]
    with _log(directory).open("wb") as output:
        return subprocess.Popen(
            argv,
            cwd=environment.CHECKOUT,
            env=_shell(directory),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _greeted(directory: Path, process: subprocess.Popen[bytes]) -> Stack:
    """Wait for the lines a person would read, and take the address and the password from them."""
    deadline = time.monotonic() + UP_SECONDS
    while "Ctrl-C stops it" not in (said := _log(directory).read_text()):
        assert process.poll() is None, f"the stack ended:\n{said}"
        assert time.monotonic() < deadline, f"the stack is not up after {UP_SECONDS} s:\n{said}"
        time.sleep(0.1)
    url, password = re.search(r"Clipledger is at (http://[\d.:]+)", said), re.search(r"password: (\S+)", said)
    assert url and password, said
    sandbox = environment.read(directory)["FAL_QUEUE_URL"].removesuffix("/queue")
    _wait_for_sandbox(directory, deadline)
    return Stack(
        url=url[1],
        password=password[1],
        directory=directory,
        process=process,
        sandbox=RunningSandbox(process, sandbox, directory / "sandbox"),  # type: ignore[arg-type]
    )


def _wait_for_sandbox(directory: Path, deadline: float) -> None:
    while "fal sandbox ready" not in _log(directory).read_text():
        assert time.monotonic() < deadline, "the sandbox of the stack is not up"
        time.sleep(0.05)


def _end(directory: Path, process: subprocess.Popen[bytes]) -> None:
    """SIGTERM as a person's Ctrl-C would, then whatever is left by force; the directory goes, the log stays."""
    child.stop(process, grace_seconds=STOP_SECONDS)
    left = set(child.marked("CLIPLEDGER_STACK", str(directory)))
    for place in (directory / "postgres" / "data", *directory.glob("valkey-*")):
        left |= set(child.living_in(place))
    left = {pid for pid in left if child.is_alive(pid)}
    child.end_leftovers(left, with_signal=signal.SIGKILL, grace_seconds=2)
    shutil.rmtree(directory, ignore_errors=True)
    assert not left, f"the stack left {len(left)} processes running when it was told to stop"
