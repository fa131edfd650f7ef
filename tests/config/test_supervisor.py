"""The supervisor alone, over jobs of one line."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from config.stack import child, supervisor
from config.stack.supervisor import Job, Supervisor
from tests.config.conftest import wait_until


def job(name: str, code: str, **more: bool) -> Job:
    return Job(name=name, argv=[sys.executable, "-u", "-c", f"import os, signal, sys, time\n{code}"], **more)


def run(jobs: list[Job], path: Path, *, until: Callable[[], bool], seconds: float = 20) -> int:
    """Run the jobs and interrupt ourselves as soon as `until` holds."""
    deadline = time.monotonic() + seconds

    def watch() -> bool:
        assert time.monotonic() < deadline, "not in time"
        if until():
            os.kill(os.getpid(), signal.SIGINT)
            return True
        return False

    return Supervisor(jobs, env=dict(os.environ), cwd=path).run(watch=watch)


def test_each_line_carries_the_name_of_its_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        job("web", "print('one')\nprint('two')\nopen('up', 'w')\ntime.sleep(60)"),
        job("watcher", "sys.stderr.write('no newline')\nopen('also', 'w')\ntime.sleep(60)"),
    ]
    assert run(jobs, tmp_path, until=lambda: (tmp_path / "up").exists() and (tmp_path / "also").exists()) == 0
    assert set(capsys.readouterr().out.splitlines()) == {
        "web     | one",
        "web     | two",
        "watcher | no newline",
    }


def test_a_fallen_process_is_started_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "if os.path.exists('second'): open('third', 'w'); time.sleep(60)\nopen('second', 'w')\nsys.exit(3)"
    assert run([job("beat", code)], tmp_path, until=(tmp_path / "third").exists) == 0
    assert "beat | ended with code 3; starting it again in 0.5 s" in capsys.readouterr().out


def test_one_that_will_not_stay_up_ends_the_run_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    other = job("web", "open('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)")
    code = run([other, job("beat", "time.sleep(0.1)\nsys.exit(3)")], tmp_path, until=lambda: False)
    assert code == 3
    assert "ended 6 times in a row, last with code 3: giving up" in capsys.readouterr().out
    assert not child.is_alive(int((tmp_path / "pid").read_text()))


def test_what_ignores_the_request_to_stop_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.3)
    code = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nchild = os.fork()\n"
        "open('parent' if child else 'child', 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    files = [tmp_path / "parent", tmp_path / "child"]
    assert (
        run([job("worker", code)], tmp_path, until=lambda: all(f.exists() and f.read_text() for f in files))
        == 0
    )
    wait_until(lambda: not any(child.is_alive(int(file.read_text())) for file in files), seconds=5)


def test_what_others_lean_on_stops_last(tmp_path: Path) -> None:
    last_words = (
        "def bye(*a):\n    open(NAME, 'w').write(str(time.monotonic())); sys.exit()\n"
        "signal.signal(signal.SIGTERM, bye)\nopen(NAME + '.up', 'w')\ntime.sleep(60)"
    )
    jobs = [
        job("sandbox", f"NAME = 'sandbox'\n{last_words}", is_backing=True),
        job("worker", f"NAME = 'worker'\n{last_words}"),
    ]
    run(jobs, tmp_path, until=lambda: len(list(tmp_path.glob("*.up"))) == 2)
    assert float((tmp_path / "worker").read_text()) < float((tmp_path / "sandbox").read_text())
