"""Two of everything at the same moment: clicks, tabs, dispatchers, and a cancel against a completion."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from accounts.errors import InsufficientCredits
from accounts.models import Membership
from generations import fal, lifecycle
from generations.models import Generation, Picture
from generations.states import State
from tests.bad_days.story import PRICE, Story, assert_books_are_whole, order
from tests.concurrency.together import together
from tests.factories import MembershipFactory, fill

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.concurrency]
Begin = Callable[..., Story]


def at_once(*works: Callable[[], object]) -> list[Any]:
    """What each returned or raised, all of them started together."""
    return together(works)


def test_a_double_click_makes_one_generation_and_one_hold(member: Membership, picture: Picture) -> None:
    token = uuid.uuid4()
    ends = at_once(*[lambda: order(member, picture, prompt="waves", form_token=token)] * 8)
    assert len({end.pk for end in ends if isinstance(end, Generation)}) == 1, ends
    assert Generation.objects.count() == 1
    assert member.team.wallet.holds.count() == 1
    assert_books_are_whole()


def test_a_double_click_on_the_last_credits_shows_the_first_and_not_a_refusal(
    member: Membership, picture: Picture
) -> None:
    for _ in range(3):
        order(member, picture, prompt="waves")
    token = uuid.uuid4()
    ends = at_once(*[lambda: order(member, picture, prompt="the last", form_token=token)] * 4)
    assert all(isinstance(end, Generation) for end in ends), ends


def test_many_tabs_racing_for_the_last_credits_get_exactly_what_is_there(
    member: Membership, picture: Picture
) -> None:
    ends = at_once(*[lambda: order(member, picture, prompt="waves")] * 10)
    refused = [end for end in ends if isinstance(end, InsufficientCredits)]
    assert len(refused) == 6
    assert {end.available for end in refused} == {200 - 4 * PRICE}
    assert Generation.objects.count() == 4
    assert_books_are_whole()


def test_two_dispatchers_never_exceed_the_places_at_fal_and_never_send_twice(
    story: Begin, fal_settings: Settings
) -> None:
    fal_settings.FAL_CONCURRENCY, fal_settings.FAL_LEAD = 1, 1
    told = [story("stuck") for _ in range(4)]
    at_once(*[lifecycle.dispatch] * 4)
    assert Generation.objects.at_fal().count() == 2
    assert sum(len(each.posts) for each in told) == 2
    for each in told:
        each.assert_held()


def test_members_take_turns_however_much_one_of_them_orders(
    story: Begin, member: Membership, fal_settings: Settings
) -> None:
    fal_settings.FAL_CONCURRENCY, fal_settings.FAL_LEAD = 1, 0
    fill(member.team.wallet, 1000)
    batch = [story() for _ in range(3)]
    other = _colleague_of(member)
    single = Generation.objects.get(pk=_ordered_by(other, batch[0]).pk)
    assert lifecycle.waiting_position(single) in {0, 1}
    served = _serve_all([*[each.generation for each in batch], single])
    assert served.index(single.pk) <= 1, "not behind the whole batch"


def _colleague_of(member: Membership) -> Membership:
    return MembershipFactory.create(team=member.team)


def _ordered_by(member: Membership, like: Story) -> Generation:
    link = like.generation.picture_links.select_related("picture").get()
    return order(member, link.picture, prompt="me too")


def _serve_all(generations: Sequence[Generation]) -> list[uuid.UUID]:
    """Dispatch one place at a time; who was sent in which order."""
    served: list[uuid.UUID] = []
    for _ in generations:
        lifecycle.dispatch()
        sent = Generation.objects.at_fal().exclude(pk__in=served).get()
        served.append(sent.pk)
        story = Story(sent, sandbox=None)  # type: ignore[arg-type]
        story.drive(until=State.STORING)
    return served


def test_cancel_while_it_waits_gives_the_credits_back_at_once(story: Begin, member: Membership) -> None:
    told = story()
    assert lifecycle.cancel(told.generation, actor=member.user)
    told.assert_not_charged(State.CANCELED)
    assert told.posts == []
    assert not lifecycle.cancel(told.generation, actor=member.user), "once is enough"
    assert lifecycle.dispatch() == 0


def test_cancel_at_fal_ends_canceled_once_fal_says_so(story: Begin, member: Membership) -> None:
    told = story("stuck=queue").drive(until=State.SUBMITTED)
    assert lifecycle.cancel(told.generation, actor=member.user)
    told.assert_held()
    told.drive().assert_not_charged(State.CANCELED)


def test_cancel_of_what_runs_ends_canceled_once_fal_has_stopped(story: Begin, member: Membership) -> None:
    told = story("stuck").drive(until=State.RUNNING)
    assert lifecycle.cancel(told.generation, actor=member.user)
    assert not lifecycle.cancel(told.generation, actor=member.user)
    told.drive().assert_not_charged(State.CANCELED)


def test_cancel_that_fal_ignores_ends_with_the_clip_paid_for(story: Begin, member: Membership) -> None:
    told = story("cancel=ignored slow=0.5").drive(until=State.RUNNING)
    assert lifecycle.cancel(told.generation, actor=member.user)
    told.drive().assert_charged()


def test_a_result_missed_once_does_not_pass_for_a_cancel_that_fal_ignored(
    story: Begin, member: Membership
) -> None:
    told = story("cancel=ignored slow=0.5 result=404*1").drive(until=State.RUNNING)
    assert lifecycle.cancel(told.generation, actor=member.user)
    told.drive().assert_charged()


def test_a_cancelled_result_that_never_comes_is_listed_as_what_fal_may_bill(
    story: Begin, member: Membership
) -> None:
    told = story("cancel=ignored slow=0.5 result=404").drive(until=State.RUNNING)
    assert lifecycle.cancel(told.generation, actor=member.user)
    told.drive().assert_not_charged(State.CANCELED)
    assert told.attempt.is_maybe_billed


def test_cancel_after_fal_has_finished_comes_too_late(story: Begin, member: Membership) -> None:
    told = story().drive(until=State.STORING)
    assert not lifecycle.cancel(told.generation, actor=member.user)
    told.drive().assert_charged()


def test_cancel_against_completion_one_of_both_wins(story: Begin, member: Membership) -> None:
    told = story().drive(until=State.SUBMITTED)
    completed = fal.Completed()
    ends = at_once(
        lambda: lifecycle.cancel(told.generation, actor=member.user),
        lambda: lifecycle.observe(told.attempt.pk, completed),
    )
    assert not any(isinstance(end, Exception) for end in ends), ends
    told.drive()
    told.assert_consistent()
    assert told.generation.state in {State.SUCCEEDED, State.CANCELED}


def test_settling_twice_at_once_captures_once(story: Begin) -> None:
    told = story().drive(until=State.STORING)
    ends = at_once(*[lambda: lifecycle.ingest(told.generation.pk)] * 4)
    assert sorted(map(bool, ends)) == [False, False, False, True], ends
    told.assert_charged()
