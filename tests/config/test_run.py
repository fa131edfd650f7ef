"""`make run` from outside: started, greeted, killed and started again, as a person or a bad day would."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request

import psycopg
import pytest

from config.stack import child, environment, places
from tests.config.conftest import Checkout, wait_until

pytestmark = pytest.mark.slow


def greeted(checkout: Checkout, port: int, **more: str) -> "subprocess.Popen[bytes]":
    process = checkout.start(port, **more)
    wait_until(lambda: "Ctrl-C stops it" in checkout.said() or process.poll() is not None)
    assert process.poll() is None, checkout.said()
    return process


def show(checkout: Checkout, *names: str, **more: str) -> dict[str, str]:
    argv = [sys.executable, "manage.py", "show", *names]
    answer = subprocess.check_output(argv, cwd=checkout.root, env=checkout.environment(**more), text=True)
    return dict(re.findall(r"'(\w+)': '([^']*)'", answer))


def count_runs(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM runs").fetchone()
    assert row is not None
    return int(row[0])


def test_it_comes_up_says_how_to_sign_in_and_ends_on_ctrl_c_leaving_nothing(checkout: Checkout) -> None:
    port = places.free_port()
    process = greeted(checkout, port)
    assert f"http://127.0.0.1:{port}/" in checkout.said()
    assert "demo@example.com; password: hunter2" in checkout.said()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        assert answer.read() == b"hello"
    wait_until(lambda: "watch is up" in checkout.said())
    wait_until(lambda: "fal_sandbox is up --port" in checkout.said())
    assert len(checkout.living()) > 8
    asked_at = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert time.monotonic() - asked_at < 10
    assert checkout.living() == set()
    assert not (checkout.run_directory / "env").exists()
    assert places.is_free("127.0.0.1", port)


def test_another_shell_finds_it_and_a_second_run_is_told_where_it_is(checkout: Checkout) -> None:
    port = places.free_port()
    greeted(checkout, port)
    secrets = [
        checkout.run_directory / name for name in ("env", "secret", "postgres.password", "valkey.password")
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    found = show(
        checkout,
        "DATABASE_URL",
        "REDIS_URL",
        "CLIPLEDGER_ENV",
        "SECRET_KEY",
        "FAL_IS_SANDBOX",
        "FAL_QUEUE_URL",
    )
    assert count_runs(found["DATABASE_URL"]) == 1
    assert found["CLIPLEDGER_ENV"] == "development"
    assert len(found["SECRET_KEY"]) == 64
    assert found["FAL_IS_SANDBOX"] == "1"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/queue", found["FAL_QUEUE_URL"])
    assert show(checkout, "SECRET_KEY", SECRET_KEY="mine") == {"SECRET_KEY": "mine"}
    assert show(checkout, "SECRET_KEY", DATABASE_URL="postgres://elsewhere/x") == {"SECRET_KEY": ""}
    assert show(checkout, "DATABASE_URL", CLIPLEDGER_ENV="production") == {"DATABASE_URL": ""}
    second = checkout.start(places.free_port(), name="second.log")
    assert second.wait(20) == 1
    assert checkout.said(name="second.log").startswith("Clipledger already runs in this checkout at")
    assert f"http://127.0.0.1:{port}" in checkout.said(name="second.log")


def test_two_checkouts_run_at_once(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Checkout(
        tmp_path_factory.mktemp("second") / "a much deeper place" / ("with spaces " * 10).strip()
    )
    try:
        greeted(checkout, places.free_port())
        greeted(other, places.free_port())
        urls = {show(place, "DATABASE_URL")["DATABASE_URL"] for place in (checkout, other)}
        assert len(urls) == 2
        assert [count_runs(url) for url in urls] == [1, 1]
    finally:
        other.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_nothing_outlives_a_run_that_is_killed(checkout: Checkout) -> None:
    process = greeted(checkout, places.free_port())
    process.kill()
    process.wait()
    wait_until(lambda: not checkout.living(), seconds=15)
    assert show(checkout, "DATABASE_URL") == {"DATABASE_URL": ""}


def test_after_a_sigkill_of_everything_it_comes_up_with_its_data(checkout: Checkout) -> None:
    port = places.free_port()
    first = greeted(checkout, port)
    sandbox = show(checkout, "FAL_QUEUE_URL", "SECRET_KEY")
    child.end_leftovers([first.pid, *checkout.living()], with_signal=signal.SIGKILL, grace_seconds=5)
    first.wait()
    pid_file = checkout.run_directory / "postgres" / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    greeted(checkout, port)
    found = show(checkout, "DATABASE_URL", "FAL_QUEUE_URL", "SECRET_KEY")
    assert count_runs(found.pop("DATABASE_URL")) == 2
    assert found == sandbox


def test_a_taken_port_is_named_with_the_way_out(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = checkout.start(port)
        assert process.wait(20) == 1
    assert f"Port {port} on 127.0.0.1 is taken" in checkout.said()
    assert "make run PORT=" in checkout.said()
    assert "Traceback" not in checkout.said()


def test_with_servers_and_a_key_of_our_own_nothing_is_started_for_them(checkout: Checkout) -> None:
    own = {"DATABASE_URL": os.environ["DATABASE_URL"], "REDIS_URL": os.environ["REDIS_URL"], "FAL_KEY": "a:b"}
    greeted(checkout, places.free_port(), **own)
    assert not list(checkout.run_directory.glob("postgres*"))
    assert not list(checkout.run_directory.glob("valkey*"))
    assert "fal_sandbox" not in checkout.said()
    assert show(checkout, "FAL_KEY", "DATABASE_URL") == {"FAL_KEY": "", "DATABASE_URL": own["DATABASE_URL"]}


def test_an_environment_file_without_a_run_counts_for_nothing(checkout: Checkout) -> None:
    places.private_directory(checkout.root / "var")
    environment.write(places.private_directory(checkout.run_directory), {"DATABASE_URL": "postgres://stale"})
    (checkout.run_directory / "lock").touch()
    assert show(checkout, "DATABASE_URL", "CLIPLEDGER_ENV") == {
        "DATABASE_URL": "",
        "CLIPLEDGER_ENV": "development",
    }
