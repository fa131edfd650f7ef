"""The watcher: adaptive pace, a budget, streams with polling beneath, leases that outlive nobody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django.fixtures import Settings

from generations import lifecycle
from generations.lifecycle import leases
from generations.models import Generation, LogLine
from generations.states import AT_FAL, State
from generations.watcher import Watcher, pace
from tests.bad_days.story import Story

Begin = Callable[..., Story]


class TestPace:
    def test_a_queued_request_is_asked_about_every_second_at_first_and_never_less_than_every_five(
        self,
    ) -> None:
        assert _interval(State.SUBMITTED, age=0) == 1
        assert _interval(State.SUBMITTED, age=60) == 3
        assert _interval(State.SUBMITTED, age=7200) == 5

    def test_what_cannot_be_done_yet_is_asked_about_rarely_and_then_ever_more_often(self) -> None:
        intervals = [_interval(State.RUNNING, age=age, usual=100) for age in (0, 44, 52, 58)]
        assert intervals == [10, 8, 4, 1]

    def test_what_is_overdue_is_asked_about_at_a_twentieth_of_its_age(self) -> None:
        assert _interval(State.RUNNING, age=80, usual=100) == 4
        assert _interval(State.RUNNING, age=3600, usual=100) == 10

    def test_streams_and_webhooks_thin_the_questions_out(self) -> None:
        assert _interval(State.RUNNING, age=60, usual=60, is_streamed=True) == 30
        assert _interval(State.RUNNING, age=60, usual=60, has_webhook=True) == 15

    def test_the_budget_holds_over_any_second(self) -> None:
        budget = pace.Budget(per_second=10)
        asked = sum(budget.take(now=100 + tick / 100) for tick in range(500))
        assert 50 <= asked <= 60

    def test_failures_are_backed_off_from_up_to_a_minute(self) -> None:
        assert [pace.back_off_seconds(n) for n in (1, 3, 30)] == [2, 8, 60]


def _interval(
    state: State, *, age: float, usual: float = 0, is_streamed: bool = False, has_webhook: bool = False
) -> float:
    return pace.interval_seconds(
        state=state, age_seconds=age, usual_seconds=usual, is_streamed=is_streamed, has_webhook=has_webhook
    )


@contextmanager
def watching() -> Iterator[Watcher]:
    """A watcher in a thread of its own, stopped at the end as SIGTERM would stop it."""
    started = threading.Event()
    box: dict[str, Any] = {}

    async def main() -> None:
        box["watcher"], box["loop"] = Watcher(), asyncio.get_running_loop()
        started.set()
        await box["watcher"].run()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert started.wait(10)
        yield box["watcher"]
    finally:
        with suppress(RuntimeError):  # it has ended by itself, and that is reported below
            box["loop"].call_soon_threadsafe(box["watcher"].stop)
        thread.join(15)
        assert not thread.is_alive()
        connections.close_all()


def wait_for(condition: Callable[[], bool], *, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.03)


def state_of(told: Story) -> str:
    return str(Generation.objects.values_list("state", flat=True).get(pk=told.generation.pk))


@pytest.mark.django_db(transaction=True)
class TestWatching:
    @pytest.fixture(autouse=True)
    def _no_tasks(self, fal_settings: Settings) -> None:
        fal_settings.LEASE_SECONDS = 3

    def test_it_notices_queue_running_and_completed_and_rings_ingest(self, story: Begin) -> None:
        told = story("slow=0.6")
        lifecycle.dispatch()
        with watching():
            wait_for(lambda: state_of(told) == State.RUNNING)
            wait_for(lambda: state_of(told) == State.STORING)
        row = Generation.objects.get(pk=told.generation.pk)
        assert row.lease_owner == ""
        assert row.started_at is not None
        assert LogLine.objects.filter(attempt=told.attempt).exists()
        told.drive().assert_charged()

    def test_a_stream_spares_the_questions(self, story: Begin) -> None:
        told = story("slow=2.5")
        lifecycle.dispatch()
        with watching():
            wait_for(lambda: state_of(told) == State.STORING)
        [job] = told.sandbox.jobs()
        assert job["counts"]["stream"] == 1
        assert job["counts"]["status"] <= 4

    def test_webhooks_keep_nobody_from_seeing_the_queue_and_the_run(
        self, story: Begin, fal_settings: Settings
    ) -> None:
        fal_settings.FAL_WEBHOOK_BASE_URL = "http://127.0.0.1:9"  # nobody listens: only the watcher can tell
        told = story("position=3 slow=2")
        lifecycle.dispatch()
        with watching():
            wait_for(lambda: state_of(told) == State.RUNNING)
            wait_for(lambda: state_of(told) == State.STORING)
        [job] = told.sandbox.jobs()
        assert job["counts"]["stream"] == 1
        assert job["counts"]["status"] <= 2

    @pytest.mark.parametrize("fault", ["stream=404", "stream=drop"])
    def test_where_there_is_no_stream_it_polls(self, story: Begin, fault: str) -> None:
        told = story(fault)
        lifecycle.dispatch()
        with watching():
            wait_for(lambda: state_of(told) == State.STORING)
        told.drive().assert_charged()

    def test_stopping_gives_the_leases_back(self, story: Begin) -> None:
        told = story("stuck")
        lifecycle.dispatch()
        with watching() as watcher:
            wait_for(lambda: Generation.objects.get(pk=told.generation.pk).lease_owner == watcher.owner)
        assert Generation.objects.get(pk=told.generation.pk).lease_owner == ""

    def test_the_leases_of_a_dead_watcher_lapse_and_another_takes_over(self, story: Begin) -> None:
        told = story()
        lifecycle.dispatch()
        dead = leases.new_owner("watch")
        assert leases.claim_due(owner=dead, states=AT_FAL, limit=5) == [told.generation.pk]
        assert leases.claim_due(owner="other", states=AT_FAL, limit=5) == []
        with watching():
            wait_for(lambda: state_of(told) == State.STORING)

    def test_without_any_watcher_the_sweep_asks_about_what_nobody_looked_at(self, story: Begin) -> None:
        told = story()
        lifecycle.dispatch()
        wait_for(lambda: told.sandbox.jobs("state=COMPLETED") != [])
        with mock.patch.object(timezone, "now", return_value=timezone.now() + timedelta(minutes=2)):
            lifecycle.sweep()
        assert state_of(told) == State.STORING
