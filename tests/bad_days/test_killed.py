"""SIGKILL between any two steps. The step runs in a forked process that stops where told to, and is killed there."""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import pytest
from django.db import connections

from generations import lifecycle
from generations.models import Output
from generations.states import AttemptState, State
from tests.bad_days.story import Story

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.concurrency]
Begin = Callable[..., Story]
FORK = multiprocessing.get_context("fork")


def kill_at(target: str, work: Callable[[], object], *, is_after: bool = False) -> None:
    """Run `work` in a process of its own and SIGKILL it as it enters (or, `is_after`, leaves) `target`."""
    connections.close_all()
    here, there = FORK.Pipe()
    child = FORK.Process(target=_run_until, args=(there, target, work, is_after))
    child.start()
    assert child.pid is not None
    try:
        assert here.poll(10), f"{target} was never reached"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.join()


def _run_until(there: Connection, target: str, work: Callable[[], object], is_after: bool) -> None:
    real = pkgutil.resolve_name(target)

    def stop(*args: Any, **kwargs: Any) -> None:
        if is_after:
            real(*args, **kwargs)
        there.send("here")
        time.sleep(60)

    with mock.patch(target, stop):
        work()
    os._exit(1)


DISPATCH = "generations.lifecycle.dispatching"
INGEST = "generations.lifecycle.ingesting"


@pytest.mark.parametrize("place", [f"{DISPATCH}.pictures.uploaded", f"{DISPATCH}._record_attempt"])
def test_killed_before_anything_could_be_sent_another_starts_over(story: Begin, place: str) -> None:
    told = story()
    kill_at(place, lifecycle.dispatch)
    told.assert_held()
    assert lifecycle.dispatch() == 0, "its lease still stands"
    told.let_leases_lapse()
    told.drive().assert_charged()
    assert len(told.posts) == told.attempts == 1


def test_killed_just_before_the_post_it_is_lost_and_only_the_history_allows_another(story: Begin) -> None:
    told = story()
    kill_at("generations.fal.FalClient.submit", lifecycle.dispatch)
    assert told.attempt.state == AttemptState.SENDING
    told.let_leases_lapse()
    lifecycle.dispatch()
    lifecycle.sweep()
    assert told.attempt.state == AttemptState.LOST
    assert told.posts == []
    told.assert_held()
    told.backdate(3600)
    told.drive().assert_charged()
    assert told.attempts == 2
    assert len(told.posts) == 1


def test_killed_after_the_post_before_its_answer_was_written_the_request_is_adopted(story: Begin) -> None:
    told = story()
    kill_at("generations.fal.FalClient.submit", lifecycle.dispatch, is_after=True)
    assert len(told.posts) == 1
    told.let_leases_lapse()
    lifecycle.sweep()
    assert told.attempt.state == AttemptState.LOST
    told.drive().assert_charged()
    assert len(told.posts) == told.attempts == 1


@pytest.mark.parametrize(
    ("place", "is_after"),
    [
        (f"{INGEST}._fetch_result", True),
        ("generations.media.downloads._Transfer._write", True),
        (f"{INGEST}.media.store_clip", False),
        (f"{INGEST}._succeed", False),
        ("generations.lifecycle.moves.ledger.capture", True),
    ],
)
def test_killed_while_the_clip_comes_home_it_comes_home_once(
    story: Begin, place: str, is_after: bool
) -> None:
    told = story().drive(until=State.STORING)
    kill_at(place, lambda: lifecycle.ingest(told.generation.pk), is_after=is_after)
    told.assert_held()
    assert not lifecycle.ingest(told.generation.pk), "its lease still stands"
    told.let_leases_lapse()
    told.drive().assert_charged()
    assert Output.objects.filter(generation=told.generation).count() == 1
    assert told.attempts == 1


def test_killed_between_the_commit_and_the_bell_the_sweep_rings(story: Begin) -> None:
    told = story()
    with mock.patch("generations.lifecycle.sweeping.queue.enqueue") as bell:
        lifecycle.sweep()
    bell.assert_any_call("generations.dispatch")
    told.assert_held()
