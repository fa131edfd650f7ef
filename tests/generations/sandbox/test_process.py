"""The process: what outlives a restart, how it ends, what a thousand jobs do to it."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.generations.sandbox.conftest import Caller, Receiver, caller_for
from tests.sandbox_server import READY, ROOT, running_sandbox

JOBS = 1000
JOB_SECONDS = 2.0


def test_jobs_outlive_a_kill(tmp_path: Path, receiver: Receiver) -> None:
    with running_sandbox(tmp_path, job_seconds=1.0) as first, caller_for(first).http as http:
        caller = Caller(first, http)
        done = caller.accepted("[[sandbox: seconds=0]] A fox that was quick")
        caller.completed(done)
        result = caller.result(done).json()
        running = caller.accepted("A fox on its way", query={"fal_webhook": receiver.url})
        while caller.status(running).json()["status"] != "IN_PROGRESS":
            time.sleep(0.01)
        queued = caller.accepted("[[sandbox: stuck=queue]]")
        jwks = http.get(first.jwks_url).json()
        first.process.kill()
        first.process.wait()
        with running_sandbox(tmp_path, job_seconds=1.0, port=first.base_url.rpartition(":")[2]):
            assert caller.result(done).json() == result
            assert http.get(result["video"]["url"]).status_code == 200
            caller.completed(running)
            assert caller.result(running).status_code == 200
            assert caller.status(queued).json()["status"] == "IN_QUEUE"
            assert http.get(first.jwks_url).json() == jwks
            receiver.wait(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_in_the_middle_of_work(tmp_path: Path, number: signal.Signals) -> None:
    with (
        running_sandbox(tmp_path, job_seconds=0.1, fast_clips=False) as sandbox,
        caller_for(sandbox).http as http,
        ThreadPoolExecutor(1) as pool,
    ):
        caller = Caller(sandbox, http)
        caller.outcome("A fox")
        job = caller.accepted("[[sandbox: stuck]]")
        stream = pool.submit(lambda: http.get(f"{job['status_url']}/stream", timeout=20))
        time.sleep(0.2)
        sandbox.process.send_signal(number)
        assert sandbox.process.wait(5) == 0
        stream.exception(5)


def test_it_ends_with_its_parent_when_told_to(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        assert sandbox.process.stdin is not None
        sandbox.process.stdin.close()
        assert sandbox.process.wait(5) == 0


def test_a_book_of_another_version_is_set_aside(tmp_path: Path) -> None:
    book = tmp_path / "sandbox" / "sandbox.sqlite3"
    book.parent.mkdir()
    with closing(sqlite3.connect(book)) as db:
        db.executescript("CREATE TABLE jobs (old TEXT); PRAGMA user_version = 99;")
    with running_sandbox(tmp_path) as sandbox, caller_for(sandbox).http as http:
        assert Caller(sandbox, http).outcome("A fox").status_code == 200
    assert book.with_name("sandbox.sqlite3.version99").exists()


def test_the_command_announces_its_address_and_needs_no_database(tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "fal_sandbox", "--port=0", f"--data-dir={tmp_path / 'data'}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line.startswith(READY)
            assert (
                httpx.get(line.removeprefix(READY).strip() + "/control").json()["settings"]["job_seconds"]
                == 10
            )
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0


def test_a_thousand_jobs_in_flight_do_not_melt_it(tmp_path: Path) -> None:
    with (
        running_sandbox(tmp_path, job_seconds=JOB_SECONDS, concurrency=JOBS) as sandbox,
        caller_for(sandbox).http as http,
    ):
        caller = Caller(sandbox, http)
        with ThreadPoolExecutor(8) as pool:
            jobs = list(pool.map(lambda number: caller.accepted(f"Fox {number}"), range(JOBS)))
        slowest = 0.0
        until = time.monotonic() + 20
        while (states := sandbox.control()["jobs"]) != {"COMPLETED": JOBS} and time.monotonic() < until:
            started = time.monotonic()
            assert caller.status(jobs[-1]).status_code in {200, 202}
            slowest = max(slowest, time.monotonic() - started)
            time.sleep(0.05)
        assert states == {"COMPLETED": JOBS}
        assert slowest < 1.0
        late = [row["completed_at"] - row["created_at"] - JOB_SECONDS for row in sandbox.jobs()]
        assert max(late) < 2.0
