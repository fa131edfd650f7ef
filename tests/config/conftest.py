"""A checkout of its own for each test: the real config.stack around an application small enough to watch."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.stack import child, environment

MANAGE = """
import os, signal, sys, time
command = sys.argv[1]
if command == "migrate":
    import psycopg
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS runs (id serial)")
        connection.execute("INSERT INTO runs DEFAULT VALUES")
elif command == "seed_demo":
    print("Sign in as demo@example.com; password: hunter2")
elif command == "show":
    from config.stack import environment
    environment.adopt()
    print({name: os.environ.get(name, "") for name in sys.argv[2:]})
else:
    print(command, "is up", *sys.argv[2:], flush=True)
    time.sleep(600)
"""
ASGI = """
async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
"""
CELERY = """
import os
from celery import Celery
app = Celery("small", broker=os.environ.get("REDIS_URL"))
"""


class Checkout:
    """A directory with the stack in it, and the processes a test started there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run_directory = root / "var" / "run"
        self.started: list[subprocess.Popen[bytes]] = []
        shutil.copytree(environment.CHECKOUT / "config" / "stack", root / "config" / "stack")
        for name, text in {"__init__": "", "asgi": ASGI, "celery": CELERY}.items():
            (root / "config" / f"{name}.py").write_text(text)
        (root / "manage.py").write_text(MANAGE)

    def environment(self, **more: str) -> dict[str, str]:
        """A shell that knows nothing of the servers this test session runs on."""
        ours = (
            "DATABASE_URL",
            "REDIS_URL",
            "SECRET_KEY",
            "CLIPLEDGER_ENV",
            "CLIPLEDGER_RUN_DIRECTORY",
            "DJANGO_SETTINGS_MODULE",
            "COV_",
            "FAL_",
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**clean, "PYTHONPATH": "", "CLIPLEDGER_STACK": "", **more}

    def start(self, port: int, *, name: str = "run.log", **more: str) -> subprocess.Popen[bytes]:
        """`python -m config.stack run`, its output in a file beside the checkout."""
        with (self.root / name).open("wb") as output:
            argv = [sys.executable, "-m", "config.stack", "run", "--port", str(port)]
            process = subprocess.Popen(
                argv,
                cwd=self.root,
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def said(self, *, name: str = "run.log") -> str:
        return (self.root / name).read_text()

    def living(self) -> set[int]:
        """Every process of the run that is alive: the marked ones and the servers."""
        found = set(child.marked("CLIPLEDGER_STACK", str(self.run_directory)))
        for directory in (self.run_directory / "postgres" / "data", *self.run_directory.glob("valkey-*")):
            found |= set(child.living_in(directory))
        return {pid for pid in found if child.is_alive(pid)}

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            child.stop(process, grace_seconds=15)
        child.end_leftovers(self.living(), with_signal=signal.SIGKILL, grace_seconds=2)


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    """Wait for something that other processes bring about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(tmp_path / "checkout")
    yield made
    made.close()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory every user of the machine can walk into, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="clipledger-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)
