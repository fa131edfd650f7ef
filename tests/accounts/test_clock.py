"""The clock that decides follows PostgreSQL, whatever somebody does to this machine's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
import time_machine
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from accounts import clock

HOUR = timedelta(hours=1)
CLOSE = timedelta(seconds=2)


@pytest.fixture(autouse=True)
def _unknown() -> Iterator[None]:
    clock.forget()
    yield
    clock.forget()


def postgresqls() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


@pytest.mark.django_db
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_wall_clock_that_jumps_changes_nothing(jump: timedelta) -> None:
    before = clock.now()
    with time_machine.travel(datetime.now(UTC) + jump):
        assert abs(timezone.now() - before) > HOUR - CLOSE, "the jump is there to be seen"
        assert abs(clock.now() - postgresqls()) < CLOSE, "carried on"
        clock.forget()
        assert abs(clock.now() - postgresqls()) < CLOSE, "looked at anew"


@pytest.mark.django_db
def test_it_asks_once_and_is_carried_on_by_the_steady_clock() -> None:
    first = clock.now()
    with mock.patch.object(clock, "steady_seconds", return_value=clock.steady_seconds() + 20):
        assert abs(clock.now() - first - timedelta(seconds=20)) < CLOSE
    with mock.patch.object(clock, "_look") as look:
        clock.now()
        look.assert_not_called()
        with mock.patch.object(clock, "steady_seconds", return_value=clock.steady_seconds() + 31):
            clock.now()
        look.assert_called_once()


def test_without_postgresql_it_is_the_machines_own(caplog: pytest.LogCaptureFixture) -> None:
    with mock.patch.object(connection, "cursor", side_effect=OperationalError("down")) as asked:
        assert abs(clock.now() - timezone.now()) < CLOSE
        clock.now()
    assert asked.call_count == 1, "not every caller waits for a database that is down"
    assert "could not be read" in caplog.text


@pytest.mark.django_db
def test_what_was_known_outlives_an_outage() -> None:
    clock.now()
    late = clock.steady_seconds() + 40
    with (
        time_machine.travel(datetime.now(UTC) + HOUR),
        mock.patch.object(connection, "cursor", side_effect=OperationalError("down")),
        mock.patch.object(clock, "steady_seconds", return_value=late),
    ):
        assert clock.now() < timezone.now() - HOUR / 2


@pytest.mark.django_db
def test_a_broken_transaction_is_not_asked() -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        assert abs(clock.now() - timezone.now()) < CLOSE


def test_an_event_loop_is_not_held_up() -> None:
    async def inside() -> datetime:
        return clock.now()

    with mock.patch.object(clock, "_look") as look:
        asyncio.run(inside())
    look.assert_not_called()


@pytest.mark.django_db
def test_a_machine_whose_clock_is_wrong_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with time_machine.travel(datetime.now(UTC) + HOUR):
        clock.now()
        clock._look()
    assert [record.message for record in caplog.records] == [
        "this clock is +3600 s off PostgreSQL's, which is the one that counts"
    ]
