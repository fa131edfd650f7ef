"""A clock jumps by an hour: the wall clock of the host that works, or PostgreSQL's, which all hosts follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
import time_machine
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts import clock, ledger
from accounts.errors import BudgetExceeded
from accounts.models import Grant, Membership
from generations import lifecycle
from generations.lifecycle import leases
from generations.models import Delivery, Generation, Picture
from generations.states import AttemptState, State
from tests.bad_days.story import PRICE, Story, order
from tests.bad_days.test_webhooks_go_wrong import Post
from tests.bad_days.test_webhooks_go_wrong import post as post  # noqa: PLC0414 - a fixture is taken by its name
from tests.factories import UserFactory, fill

pytestmark = pytest.mark.django_db
Begin = Callable[..., Story]
HOUR = timedelta(hours=1)
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forwards", "back"])


@contextmanager
def wall_clock(jump: timedelta) -> Iterator[None]:
    """This host's clock is wrong; a clock that nobody looked at yet finds PostgreSQL's all the same."""
    with time_machine.travel(datetime.now(UTC) + jump):
        clock.forget()
        yield
    clock.forget()


@contextmanager
def postgresqls_clock(jump: timedelta) -> Iterator[None]:
    """A standby with another clock has taken over: every host follows it."""
    real = clock.now
    with mock.patch.object(clock, "now", side_effect=lambda: real() + jump):
        yield


@JUMPS
def test_a_generation_lives_its_whole_life_on_a_host_whose_clock_is_wrong(
    story: Begin, jump: timedelta
) -> None:
    with wall_clock(jump):
        told = story().drive()
        told.assert_charged()
    assert abs(told.generation.settled_at - timezone.now()) < HOUR / 2


@JUMPS
def test_what_is_in_flight_does_not_end_early(story: Begin, jump: timedelta) -> None:
    running, lost = story("stuck").drive(until=State.RUNNING), story("drop=after")
    lifecycle.dispatch()
    assert lost.attempt.state == AttemptState.LOST
    with wall_clock(jump):
        lifecycle.sweep()
    running.assert_held()
    assert running.generation.state == State.RUNNING
    assert running.attempt.timed_out_at is None
    lost.assert_held()


@JUMPS
def test_nobody_elses_lease_is_taken(story: Begin, jump: timedelta) -> None:
    told = story()
    assert leases.take(told.generation.pk, owner="another host", states={State.REQUESTED})
    with wall_clock(jump):
        assert lifecycle.dispatch() == 0
        assert not leases.take(told.generation.pk, owner="this host", states={State.REQUESTED})
    assert told.posts == []


def test_credits_do_not_expire_early(member: Membership) -> None:
    ends_at = clock.now() + HOUR / 2
    fill(member.team.wallet, 10, expires_at=ends_at)
    with wall_clock(HOUR):
        lifecycle.sweep()
    assert Grant.objects.get(expires_at=ends_at).expired == 0


def test_a_spent_budget_is_not_reset_by_a_clock_that_is_a_day_ahead(
    member: Membership, picture: Picture
) -> None:
    ledger.set_budget(
        member.team.wallet,
        user=member.user,
        period="day",
        limit_credits=PRICE,
        actor=UserFactory(),
        reason="One a day",
    )
    order(member, picture, prompt="waves")
    with wall_clock(timedelta(days=1)), pytest.raises(BudgetExceeded):
        order(member, picture, prompt="more waves")


@JUMPS
def test_a_true_webhook_is_believed_by_a_host_whose_clock_is_wrong(
    story: Begin, post: Post, jump: timedelta
) -> None:
    told = story()
    lifecycle.dispatch()
    with wall_clock(jump):
        # Signed just now at fal, whose clock is right.
        assert post(told.attempt, age_seconds=jump.total_seconds()) == 200
    assert Delivery.objects.count() == 1


def test_leases_of_a_time_that_was_put_back_hold_nobody_up(story: Begin) -> None:
    told = story()
    with postgresqls_clock(HOUR):
        assert leases.take(told.generation.pk, owner="a dead host", states={State.REQUESTED})
    told.drive().assert_charged()


def test_due_times_of_a_time_that_was_put_back_hold_nobody_up(story: Begin, fal_settings: Settings) -> None:
    fal_settings.RETRY_SECONDS = 5
    told = story("submit=500*1")
    with postgresqls_clock(HOUR):
        lifecycle.dispatch()
    row = Generation.objects.get(pk=told.generation.pk)
    assert row.state == State.REQUESTED
    assert row.next_check_at is not None
    assert row.next_check_at > clock.now() + HOUR / 2
    lifecycle.sweep()
    told.drive().assert_charged()


def test_a_due_time_that_may_be_is_left_alone(story: Begin) -> None:
    told = story()
    at = clock.now() + timedelta(minutes=5)
    Generation.objects.filter(pk=told.generation.pk).update(next_check_at=at)
    lifecycle.sweep()
    assert Generation.objects.get(pk=told.generation.pk).next_check_at == at
