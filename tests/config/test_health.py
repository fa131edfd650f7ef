"""A load balancer hears the truth within about a second, and nothing else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from config import health


@pytest.fixture(autouse=True)
def media(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(health, "_storage_written_at", float("-inf"))
    monkeypatch.setattr(health, "_pending", {})
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word, like a frozen server."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_alive_asks_nothing_of_anybody(client: Client) -> None:
    # Without the db fixture any query would fail the test.
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert "no-store" in answer["Cache-Control"]
    assert not answer.cookies


@pytest.mark.django_db(transaction=True)
def test_ready_with_everything_in_place(client: Client, media: Path) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert {name for name, check in answer.json()["checks"].items() if check["ok"]} == set(health.CHECKS)
    assert not [path for path in media.rglob("*") if path.is_file()]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_another_host_name_is_refused(client: Client, path: str) -> None:
    assert client.get(path, headers={"host": "elsewhere.example.com"}).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_a_missing_migration_is_not_ready(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'generations' RETURNING app, name, applied")
        rows = cursor.fetchall()
    try:
        answer = client.get("/readyz")
    finally:
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", rows)
    assert answer.status_code == 503
    assert "1 not applied" in answer.json()["checks"]["migrations"]["problem"]
    assert answer.json()["checks"]["postgresql"]["ok"] is True


@pytest.mark.django_db(transaction=True)
def test_a_valkey_that_is_gone_is_not_ready_and_its_address_stays_secret(
    client: Client, settings: Settings
) -> None:
    settings.REDIS_URL = "redis://:hush@127.0.0.1:1/0"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["valkey"] == {"ok": False, "problem": "unreachable"}
    assert b"hush" not in answer.content and b"127.0.0.1" not in answer.content


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_gone_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    move_database(monkeypatch, port=1)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    for name in ("postgresql", "migrations"):
        assert answer.json()["checks"][name] == {"ok": False, "problem": "unreachable"}


@pytest.mark.django_db(transaction=True)
def test_a_frozen_database_costs_a_second_and_piles_up_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch, silent_server: int
) -> None:
    move_database(monkeypatch, port=silent_server)
    began_at, threads = time.monotonic(), threading.active_count()
    answers = [client.get("/readyz") for _ in range(3)]
    assert time.monotonic() - began_at < 3 * (health.MOST_SECONDS + 0.5)
    assert threading.active_count() <= threads + 2
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json()["checks"]["postgresql"]["ok"] is False
    assert answers[1].json()["checks"]["postgresql"]["problem"] == "too slow"


def move_database(monkeypatch: pytest.MonkeyPatch, *, port: int) -> None:
    """Whoever opens a connection from now on goes there; the one that is open stays."""
    connection.ensure_connection()
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", str(port))


@pytest.mark.django_db(transaction=True)
def test_a_storage_that_cannot_be_written_is_not_ready(
    client: Client, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    settings.MEDIA_ROOT = tmp_path / "file"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["storage"] == {"ok": False, "problem": "unreachable"}
