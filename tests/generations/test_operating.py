"""What a person on duty may do: ask fal, look up what is lost, and no more than that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from django.db import connection

from accounts.models import Entry, User
from generations import fal, lifecycle
from generations.models import Attempt
from tests.bad_days.story import Story, assert_books_are_whole

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def actor(db: None) -> User:
    return User.objects.create_superuser("root@example.com", "correct horse battery")


def test_looking_asks_fal_and_writes_down_what_it_says(story: Callable[..., Story], actor: User) -> None:
    told = story("stuck")
    lifecycle.dispatch()
    deadline = time.monotonic() + 10
    while told.generation.state != "running" and time.monotonic() < deadline:
        lifecycle.look_now(told.generation, actor=actor)
        told.generation.refresh_from_db()
    assert told.generation.state == "running"


def test_looking_finds_a_lost_request_in_fals_history(story: Callable[..., Story], actor: User) -> None:
    told = story("drop=after")
    lifecycle.dispatch()
    told.generation.refresh_from_db()
    assert told.attempt.state == "lost"
    deadline = time.monotonic() + 10
    while told.attempt.state == "lost" and time.monotonic() < deadline:
        lifecycle.look_now(told.generation, actor=actor)
    assert told.attempt.state == "accepted"
    told.drive().assert_charged()


def test_two_people_give_up_once(story: Callable[..., Story], actor: User) -> None:
    told = story()
    lifecycle.dispatch()
    Attempt.objects.filter(generation=told.generation).update(state="lost", request_id="")
    answers: list[bool] = []

    def press() -> None:
        try:
            answers.append(lifecycle.give_up(told.generation, actor=actor, reason="fal says so"))
        finally:
            connection.close()

    people = [threading.Thread(target=press) for _ in range(4)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(answers) == [False, False, False, True]
    assert Entry.objects.filter(hold=told.generation.hold_id, kind="release").count() == 1
    assert_books_are_whole()


def test_fal_that_cannot_be_asked_is_an_error_and_changes_nothing(
    story: Callable[..., Story], actor: User
) -> None:
    told = story()
    lifecycle.dispatch()
    Attempt.objects.update(status_url="http://127.0.0.1:1/status")
    told.generation.refresh_from_db()
    with pytest.raises(fal.FalError):
        lifecycle.look_now(told.generation, actor=actor)
    told.generation.refresh_from_db()
    assert told.generation.state == "submitted"
