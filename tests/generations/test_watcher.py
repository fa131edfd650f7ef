"""The watcher: adaptive pace, a budget, streams with polling beneath, leases that outlive nobody."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import clock
from generations import fal, lifecycle
from generations.lifecycle import leases
from generations.models import Generation, LogLine
from generations.states import AT_FAL, State
from generations.watcher import Watcher, loop, pace
from generations.watcher.watched import Agenda, Watched
from generations.watcher.writer import Writer, Written
from tests.bad_days.story import Story

NUMBERS = itertools.count(1)
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
        assert intervals == [30, 8, 4, 1]

    def test_what_is_overdue_is_asked_about_at_a_twentieth_of_its_age(self) -> None:
        assert _interval(State.RUNNING, age=80, usual=100) == 4
        assert _interval(State.RUNNING, age=3600, usual=100) == 10

    def test_streams_and_webhooks_thin_the_questions_out(self) -> None:
        assert _interval(State.RUNNING, age=60, usual=60, is_streamed=True) == 60
        assert _interval(State.RUNNING, age=60, usual=60, has_webhook=True) == 30

    def test_who_is_far_back_in_fals_queue_is_asked_about_rarely(self) -> None:
        assert [_interval(State.SUBMITTED, age=20, position=place) for place in (0, 4, 40, 4000)] == [
            1,
            1,
            10,
            60,
        ]

    @pytest.mark.parametrize("per_second", [1, 10, 250])
    def test_the_budget_holds_over_any_second_and_saves_nothing_up(self, per_second: int) -> None:
        budget = pace.Budget(per_second)
        # A long rest first, then as fast as it goes.
        taken = [now for tick in range(5000) if budget.take(now=(now := 1000 + tick / 1000))]
        assert 0.9 * 5 * per_second <= len(taken) <= 5 * per_second + 1
        assert all(
            sum(begun <= at < begun + 1 for at in taken[n : n + per_second + 5]) <= per_second
            for n, begun in enumerate(taken)
        )

    def test_a_budget_below_one_a_second_is_one_in_several(self) -> None:
        budget = pace.Budget(0.5)
        assert [budget.take(now=now) for now in (10.0, 11.0, 12.0, 12.2)] == [True, False, False, True]

    def test_a_429_holds_everybody_for_as_long_as_fal_says_and_then_lets_one_try(self) -> None:
        brake = pace.Brake()
        for _ in range(5):  # what was on its way together is one refusal
            brake.refused(now=100, retry_after_seconds=7)
        assert [brake.may_ask(now=now) for now in (100, 106.9, 107)] == [False, False, True]
        assert brake.is_probing
        brake.refused(now=107, retry_after_seconds=None)
        assert [brake.may_ask(now=now) for now in (108.9, 109)] == [False, True]
        brake.answered()
        assert not brake.is_probing

    def test_a_row_of_questions_without_an_answer_holds_everybody_and_a_single_one_nobody(self) -> None:
        brake = pace.Brake()
        for _ in range(pace.MOST_FAILURES - 1):
            brake.unanswered(now=100)
        assert brake.may_ask(now=100)
        brake.unanswered(now=100)
        assert not brake.may_ask(now=100.5)
        for _ in range(20):
            brake.unanswered(now=100.5)
        assert brake.may_ask(now=101)

    def test_webhooks_are_believed_in_until_most_of_the_latest_stayed_away_and_again_when_they_come(
        self,
    ) -> None:
        webhooks = pace.Webhooks()
        said = []
        for has_come in [False] * 3 + [True] * 4:
            webhooks.record(has_come=has_come)
            said.append(webhooks.are_coming)
        assert said == [True, True, False, False, False, True, True]

    def test_failures_are_backed_off_from_up_to_a_minute(self) -> None:
        assert [pace.back_off_seconds(n) for n in (1, 3, 30)] == [2, 8, 60]


def _interval(
    state: State,
    *,
    age: float,
    usual: float = 0,
    is_streamed: bool = False,
    has_webhook: bool = False,
    position: int | None = None,
) -> float:
    return pace.interval_seconds(
        state=state,
        age_seconds=age,
        usual_seconds=usual,
        is_streamed=is_streamed,
        has_webhook=has_webhook,
        queue_position=position,
    )


class TestAgenda:
    def test_the_longest_overdue_comes_first_and_each_comes_once(self) -> None:
        agenda, rows = Agenda(), [_row() for _ in range(3)]
        for each, at in zip(rows, (3.0, 1.0, 2.0), strict=True):
            agenda.plan(each, at=at)
        assert [agenda.due(now=2.5) for _ in range(3)] == [rows[1], rows[2], None]
        assert agenda.due(now=3) is rows[0]

    def test_putting_off_and_bringing_forward(self) -> None:
        agenda, late, early, over = Agenda(), _row(), _row(), _row()
        for each in (late, early, over):
            agenda.plan(each, at=5)
        agenda.plan(late, at=9)
        agenda.plan(early, at=1)
        over.is_over = True
        assert agenda.due(now=1) is early
        assert agenda.due(now=8) is None
        assert agenda.due(now=9) is late
        assert agenda.due(now=99) is None

    def test_under_a_budget_too_small_nobody_waits_for_ever(self) -> None:
        agenda, rows, asked = Agenda(), [_row() for _ in range(20)], Counter[int]()
        for each in rows:
            agenda.plan(each, at=0)
        for now in range(100):
            each = agenda.due(now=now)
            assert each is not None
            asked[each.attempt_id] += 1
            agenda.plan(each, at=now + (1 if each is rows[0] else 10))
        assert len(asked) == 20
        assert max(asked.values()) <= min(asked.values()) * 2


def _row() -> Watched:
    return Watched(
        generation_id=uuid.uuid4(),
        attempt_id=next(NUMBERS),
        status_url="",
        state=State.RUNNING,
        since=timezone.now(),
        usual_seconds=0,
    )


@pytest.mark.django_db(transaction=True)
class TestWritingTogether:
    def test_many_statuses_take_as_many_statements_as_one(self, story: Begin) -> None:
        told = [story("stuck") for _ in range(4)]
        lifecycle.dispatch()
        logs = (fal.LogLine("half\0way \ud800"),)
        seen: list[fal.Status] = [
            fal.InQueue(7),
            fal.InProgress(logs),
            fal.Completed(logs),
            fal.InProgress(),
        ]
        with CaptureQueriesContext(connection) as one:
            assert lifecycle.observe_many({told[3].attempt.pk: seen[3]}) == {told[3].attempt.pk}
        pairs = {each.attempt.pk: status for each, status in zip(told[:3], seen[:3], strict=True)}
        with CaptureQueriesContext(connection) as many:
            assert lifecycle.observe_many(pairs) == set(pairs)
        assert len(many) <= len(one) + 6  # one per kind of change
        assert [state_of(each) for each in told] == [
            State.SUBMITTED,
            State.RUNNING,
            State.STORING,
            State.RUNNING,
        ]
        assert Generation.objects.get(pk=told[0].generation.pk).fal_queue_position == 7
        assert list(LogLine.objects.values_list("message", flat=True).distinct()) == ["halfway ?"]
        assert lifecycle.observe_many(pairs) == set(), "said twice changes nothing"

    def test_what_is_over_is_left_alone_and_what_runs_again_waits_again(self, story: Begin) -> None:
        over, again = story("stuck"), story("stuck")
        lifecycle.dispatch()
        lifecycle.observe_many({again.attempt.pk: fal.InProgress(), over.attempt.pk: fal.Completed()})
        changed = lifecycle.observe_many(
            {again.attempt.pk: fal.InQueue(2), over.attempt.pk: fal.InProgress()}
        )
        assert changed == {again.attempt.pk}
        assert (state_of(again), state_of(over)) == (State.SUBMITTED, State.STORING)

    def test_one_status_that_cannot_be_written_spoils_no_other(self, story: Begin) -> None:
        spoilt, fine = story("stuck"), story("stuck")
        lifecycle.dispatch()
        ended: list[tuple[int, bool]] = []
        pks = {told.generation.pk: told.attempt.pk for told in (spoilt, fine)}

        async def main() -> None:
            async def in_thread(work: Callable[[], Written]) -> Written:
                return await asyncio.to_thread(lambda: (work(), connections.close_all())[0])

            writer = Writer(in_thread, lambda each, is_ours: ended.append((each.attempt_id, is_ours)))
            for told, status in ((spoilt, fal.InQueue(2**40)), (fine, fal.Completed())):
                each = _row()
                each.attempt_id = pks[told.generation.pk]
                writer.add(each, status)
            assert await writer.flush()

        asyncio.run(main())
        assert ended == [(fine.attempt.pk, True)]
        assert (state_of(spoilt), state_of(fine)) == (State.SUBMITTED, State.STORING)


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


def test_the_leases_of_the_dead_lapse_early_enough_to_be_taken_over_within_30_seconds(
    settings: Settings,
) -> None:
    assert settings.LEASE_SECONDS + loop.CLAIM_SECONDS <= 25


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

    def test_two_watchers_share_the_rows_and_never_hold_one_together(self, story: Begin) -> None:
        told = [story("stuck") for _ in range(4)]
        lifecycle.dispatch()
        with watching() as one, watching() as other:
            wait_for(lambda: len(one.watched) + len(other.watched) == 4)
            assert not one.watched.keys() & other.watched.keys()
            for each in told:
                owner = Generation.objects.get(pk=each.generation.pk).lease_owner
                holder = one if each.generation.pk in one.watched else other
                assert owner == holder.owner

    def test_a_watcher_that_overslept_its_leases_leaves_what_another_took(self, story: Begin) -> None:
        told = story("stuck")
        lifecycle.dispatch()
        with watching() as watcher:
            wait_for(lambda: told.generation.pk in watcher.watched)
            until = timezone.now() + timedelta(minutes=1)
            Generation.objects.filter(pk=told.generation.pk).update(lease_owner="other", lease_until=until)
            wait_for(lambda: told.generation.pk not in watcher.watched)
        assert Generation.objects.get(pk=told.generation.pk).lease_owner == "other"

    def test_a_429_slows_the_questions_down_and_loses_nothing(self, story: Begin) -> None:
        told = story("status=429*2 stream=404 slow=0.5")
        lifecycle.dispatch()
        with watching():
            wait_for(lambda: state_of(told) == State.STORING)
        [job] = told.sandbox.jobs()
        assert job["counts"]["status"] <= 8

    def test_webhooks_that_stay_away_are_noticed_and_asking_takes_over(
        self, story: Begin, fal_settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fal_settings.FAL_WEBHOOK_BASE_URL = "http://127.0.0.1:9"
        monkeypatch.setattr(loop, "WEBHOOK_GRACE_SECONDS", 0.2)
        monkeypatch.setattr(loop, "WEBHOOK_CHECK_SECONDS", 0.1)
        told = [story("slow=0.3") for _ in range(3)]
        lifecycle.dispatch()
        with watching() as watcher:
            assert watcher.are_webhooks_coming
            wait_for(lambda: not watcher.are_webhooks_coming)
        assert {state_of(each) for each in told} == {State.STORING}
        assert lifecycle.called_about([told[0].attempt.pk]) == set()

    def test_without_any_watcher_the_sweep_asks_about_what_nobody_looked_at(self, story: Begin) -> None:
        told = story()
        lifecycle.dispatch()
        wait_for(lambda: told.sandbox.jobs("state=COMPLETED") != [])
        with mock.patch.object(clock, "now", return_value=clock.now() + timedelta(minutes=2)):
            lifecycle.sweep()
        assert state_of(told) == State.STORING
