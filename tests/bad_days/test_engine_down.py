"""One engine fails at fal for everybody: what is ordered of it waits, a probe tests it, and nobody pays or is stuck."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings

from accounts import clock
from accounts.models import Membership
from generations import lifecycle
from generations.models import Attempt, Breaker, DispatchPause, Generation
from generations.states import State
from tests.bad_days.story import ENGINE, Story
from tests.factories import MembershipFactory, fill

pytestmark = pytest.mark.django_db
Begin = Callable[..., Story]
OTHER_ENGINE = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
THIRD_ENGINE = "fal-ai/minimax/hailuo-2.3/standard/text-to-video"


@pytest.fixture(autouse=True)
def long_breaks(fal_settings: Settings, member: Membership) -> None:
    """No probe goes by itself while a test looks; `let_probe` makes it due."""
    fal_settings.BREAKER_PROBE_SECONDS = 600
    fal_settings.SUBMIT_READ_TIMEOUT_SECONDS = 30  # a slow machine is not a lost line
    fill(member.team.wallet, 1000)


@pytest.fixture
def colleague(member: Membership) -> Membership:
    return MembershipFactory.create(team=member.team)


def from_words(member: Membership, engine: str, directives: str = "") -> Generation:
    prompt = f"{uuid.uuid4().hex} clouds"
    return lifecycle.request(
        user=member.user,
        team=member.team,
        engine=engine,
        params={"prompt": f"{prompt} [[sandbox: {directives}]]" if directives else prompt},
        form_token=uuid.uuid4(),
    )


def dispatch_all() -> None:
    """As often as a worker would be rung for: failures come back after a hundredth of a second."""
    for _ in range(12):
        Generation.objects.filter(state=State.REQUESTED).update(next_check_at=clock.now())
        if not lifecycle.dispatch():
            return


def let_probe() -> None:
    Breaker.objects.open().update(probe_at=clock.now())


def states(*told: Story) -> list[str]:
    return [Generation.objects.get(pk=each.generation.pk).state for each in told]


def test_an_engine_that_fails_for_everybody_waits_is_tested_and_comes_back(story: Begin) -> None:
    first, second, third = story("submit=503"), story("submit=503*3"), story()
    dispatch_all()
    found = Breaker.objects.get(engine=ENGINE)
    assert (found.is_open, found.failures) == (True, 5)
    first.assert_not_charged(code="fal_error")
    assert states(second, third) == [State.REQUESTED] * 2
    assert third.posts == [], "it was not even tried"
    second.assert_held()
    third.assert_held()
    let_probe()
    assert lifecycle.dispatch() == 1
    assert len(third.posts) == 1, "a generation that has not failed yet goes first"
    third.drive(until=State.STORING)
    assert lifecycle.dispatch() == 0
    assert Breaker.objects.get().is_open, "to be accepted is not to work"
    third.drive().assert_charged()
    assert not Breaker.objects.get().is_open
    second.drive().assert_charged()
    assert second.attempts == len(second.posts) == 4
    assert Attempt.objects.filter(generation=second.generation, is_counted=True).count() <= 3


def test_a_run_that_fails_for_everybody_opens_it_as_well(story: Begin, fal_settings: Settings) -> None:
    fal_settings.BREAKER_FAILURES = 2
    told = [story("run=500"), story("run=500")]
    for each in told:
        each.drive(until=State.STORING)
        lifecycle.ingest(each.generation.pk)
    found = Breaker.objects.open().get()
    assert (found.failures, found.reason) == (2, "HTTP 500 internal_server_error")
    assert states(told[1]) == [State.REQUESTED]
    assert not told[1].attempt.is_counted


def test_one_poisoned_generation_does_not_keep_the_engine_closed(
    story: Begin, member: Membership, colleague: Membership
) -> None:
    poisoned, other_poisoned = story("submit=500"), story("submit=500")
    dispatch_all()
    assert Breaker.objects.open().exists()
    assert states(poisoned, other_poisoned) == [State.FAILED, State.REQUESTED]
    good = Story(_like(poisoned, colleague), poisoned.sandbox)
    for _ in range(2):
        let_probe()
        dispatch_all()
    assert len(good.posts) == 1
    good.drive().assert_charged()
    assert not Breaker.objects.open().exists()
    other_poisoned.drive().assert_not_charged()


def test_what_fal_already_has_goes_on_and_is_charged(story: Begin, fal_settings: Settings) -> None:
    flying = story()
    lifecycle.dispatch()
    fal_settings.BREAKER_FAILURES = 2
    story("submit=503"), story("submit=503")
    dispatch_all()
    assert Breaker.objects.open().exists()
    flying.drive().assert_charged()
    found = Breaker.objects.get()
    assert found.is_open, "what was sent before says nothing about what is sent now"
    assert found.is_probe_due(clock.now()), "but it is worth a try"


def test_cancelled_while_it_is_held_back_costs_nothing_and_never_reaches_fal(
    story: Begin, member: Membership
) -> None:
    _opened(ENGINE)
    told = story()
    assert lifecycle.dispatch() == 0
    assert lifecycle.cancel(told.generation, actor=member.user)
    let_probe()
    assert lifecycle.dispatch() == 0
    told.assert_not_charged(State.CANCELED)
    assert told.posts == []


def test_the_sweep_gives_the_credits_back_when_patience_ends(story: Begin, fal_settings: Settings) -> None:
    _opened(ENGINE)
    told = story()
    lifecycle.sweep()
    told.assert_held()
    fal_settings.PATIENCE_SECONDS = 0
    lifecycle.sweep()
    told.assert_not_charged(code="engine_unavailable")
    assert told.wallet.held == 0


def test_a_403_for_one_engine_closes_that_engine_and_nothing_else(story: Begin, member: Membership) -> None:
    refused = story("submit=403*1")
    assert lifecycle.dispatch() == 1
    assert DispatchPause.current() is None
    assert Breaker.objects.open().get().code == "no_access"
    refused.assert_held()
    other = from_words(member, OTHER_ENGINE)
    assert lifecycle.dispatch() == 1
    other.refresh_from_db()
    assert other.state == State.SUBMITTED
    let_probe()
    refused.drive().assert_charged()
    assert not Breaker.objects.open().exists()


def test_the_same_403_for_a_second_engine_is_the_account(
    story: Begin, member: Membership, fal_settings: Settings
) -> None:
    fal_settings.PAUSE_PROBE_SECONDS = 60
    first = story("submit=403*1")
    lifecycle.dispatch()
    second = from_words(member, OTHER_ENGINE, "submit=403*1")
    lifecycle.dispatch()
    pause = DispatchPause.current()
    assert pause is not None
    assert pause.code == "account_misconfigured"
    assert not Breaker.objects.open().exists(), "it has another name now"
    first.assert_held()
    second.refresh_from_db()
    assert second.state == State.REQUESTED
    assert lifecycle.dispatch() == 0


def test_a_403_for_a_second_engine_after_fal_took_another_is_not_the_account(
    story: Begin, member: Membership
) -> None:
    story("submit=403")
    lifecycle.dispatch()
    from_words(member, THIRD_ENGINE)
    lifecycle.dispatch()
    from_words(member, OTHER_ENGINE, "submit=403")
    lifecycle.dispatch()
    assert DispatchPause.current() is None
    assert Breaker.objects.open().count() == 2


def test_an_engine_that_is_gone_ends_the_order_that_met_it_and_holds_the_next_back(story: Begin) -> None:
    told, next_in_line = story("submit=404"), story()
    assert lifecycle.dispatch() == 1
    assert Breaker.objects.open().get().code == "gone"
    told.assert_not_charged(code="engine_unavailable")
    next_in_line.assert_held()
    assert next_in_line.posts == []


def _opened(engine: str) -> Breaker:
    now = clock.now()
    return Breaker.objects.create(
        engine=engine,
        failures=5,
        failing_since_at=now,
        opened_at=now,
        code="failing",
        probe_at=now.replace(year=2999),
    )


def _like(told: Story, member: Membership) -> Generation:
    link = told.generation.picture_links.select_related("picture").get()
    return lifecycle.request(
        user=member.user,
        team=member.team,
        engine=ENGINE,
        params={"prompt": f"{uuid.uuid4().hex} calm water"},
        pictures={"image_url": [link.picture]},
        form_token=uuid.uuid4(),
    )
