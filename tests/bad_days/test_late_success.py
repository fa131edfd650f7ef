"""fal makes a clip after we had given it up: it is brought home and offered, and nobody pays for it unasked."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from unittest import mock
from urllib.error import HTTPError

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts import clock, ledger
from accounts.errors import BudgetExceeded, InsufficientCredits
from accounts.models import Entry, Membership, User
from generations import lifecycle
from generations.lifecycle import late
from generations.models import Attempt, Generation, LateClip
from generations.states import State
from tests.bad_days.story import PRICE, Story, assert_books_are_whole
from tests.bad_days.test_webhooks_go_wrong import Post, process_all
from tests.bad_days.test_webhooks_go_wrong import post as post  # noqa: PLC0414 - a fixture is taken by its name
from tests.concurrency.together import together
from tests.factories import MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db
Begin = Callable[..., Story]


def given_up(story: Begin, settings: Settings, directives: str = "drop=after") -> Story:
    """A lost submit whose deadline has passed: released, and fal has it all the same."""
    told = story(directives)
    lifecycle.dispatch()
    here, settings.FAL_PLATFORM_URL = settings.FAL_PLATFORM_URL, "http://127.0.0.1:9/v1"
    told.backdate(5 * 3600)
    lifecycle.sweep()
    settings.FAL_PLATFORM_URL = here
    told.assert_not_charged(code="submit_lost")
    return told


def finish(told: Story) -> None:
    """fal is done with it, if it was not already."""
    [job] = told.sandbox.jobs()
    with suppress(HTTPError):  # it has just ended by itself
        told.sandbox.control(f"jobs/{job['request_id']}/finish", {})
    deadline = time.monotonic() + 20
    while told.sandbox.jobs()[0]["state"] != "COMPLETED":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def surfaced(told: Story, post: Post) -> LateClip:
    """fal calls about it, and the clip is brought home."""
    [job] = told.sandbox.jobs()
    finish(told)
    assert post(told.attempt, request_id=job["request_id"]) == 200
    assert process_all() == [True]
    assert lifecycle.bring_late(told.attempt.pk)
    return LateClip.objects.get(generation=told.generation)


@pytest.fixture
def told(story: Begin, fal_settings: Settings) -> Story:
    return given_up(story, fal_settings)


@pytest.fixture
def offered(told: Story, post: Post) -> LateClip:
    return surfaced(told, post)


def test_it_is_offered_and_nothing_is_charged(told: Story, offered: LateClip) -> None:
    told.assert_not_charged(code="submit_lost")
    assert offered.state == LateClip.State.OFFERED
    assert default_storage.exists(offered.file)
    assert told.attempt.late_check_at is None


def test_kept_it_is_a_generation_of_its_own_held_and_captured_at_the_old_price(
    told: Story, offered: LateClip, member: Membership
) -> None:
    told.wallet.refresh_from_db()
    before = told.wallet.captured
    kept = lifecycle.keep_late(told.generation, actor=member.user)
    kept.hold.refresh_from_db()
    assert (kept.state, kept.hold.captured, kept.price_version) == (
        State.SUCCEEDED,
        PRICE,
        told.generation.price_version,
    )
    assert kept.output.sha256 == offered.sha256
    assert [link.picture_id for link in kept.picture_links.all()] == [
        link.picture_id for link in told.generation.picture_links.all()
    ]
    told.wallet.refresh_from_db()
    assert told.wallet.captured == before + PRICE
    told.assert_not_charged(code="submit_lost")
    kinds = Entry.objects.filter(reference=kept.reference).order_by("seq").values_list("kind", flat=True)
    assert list(kinds) == ["hold", "capture"]
    assert_books_are_whole()


def test_pressed_twice_it_is_paid_for_once(told: Story, offered: LateClip, member: Membership) -> None:
    first = lifecycle.keep_late(told.generation, actor=member.user)
    assert lifecycle.keep_late(told.generation, actor=member.user) == first
    assert Generation.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.concurrency
def test_pressed_in_many_tabs_at_once_it_is_paid_for_once(
    told: Story, offered: LateClip, member: Membership
) -> None:
    kept = together([lambda: lifecycle.keep_late(told.generation, actor=member.user)] * 6)
    assert len({each.pk for each in kept}) == 1, kept
    assert Entry.objects.filter(kind="capture").count() == 1
    assert_books_are_whole()


def test_what_the_wallet_cannot_pay_stays_offered(told: Story, offered: LateClip, member: Membership) -> None:
    ledger.adjust(told.wallet, amount=-180, actor=member.user, reason="Spent elsewhere", idempotency_key="x")
    with pytest.raises(InsufficientCredits):
        lifecycle.keep_late(told.generation, actor=member.user)
    offered.refresh_from_db()
    assert offered.state == LateClip.State.OFFERED
    assert Generation.objects.count() == 1


def test_a_budget_binds_here_too(told: Story, offered: LateClip, member: Membership) -> None:
    limit = {"limit_credits": 10, "period": "day", "actor": UserFactory(), "reason": "Little"}
    ledger.set_budget(told.wallet, user=member.user, **limit)
    with pytest.raises(BudgetExceeded):
        lifecycle.keep_late(told.generation, actor=member.user)
    assert_books_are_whole()


def test_only_a_member_of_the_team_can_keep_it(told: Story, offered: LateClip) -> None:
    with pytest.raises(lifecycle.NotAMember):
        lifecycle.keep_late(told.generation, actor=MembershipFactory().user)


def test_an_offer_that_is_over_is_withdrawn_with_its_files(
    told: Story, offered: LateClip, member: Membership
) -> None:
    LateClip.objects.update(offered_until=clock.now() - timedelta(seconds=1))
    with pytest.raises(lifecycle.NotOffered):
        lifecycle.keep_late(told.generation, actor=member.user)
    lifecycle.sweep()
    offered.refresh_from_db()
    assert offered.state == LateClip.State.GONE
    assert not default_storage.exists(offered.file)


def test_the_files_of_what_was_kept_stay(told: Story, offered: LateClip, member: Membership) -> None:
    lifecycle.keep_late(told.generation, actor=member.user)
    LateClip.objects.update(offered_until=clock.now() - timedelta(seconds=1))
    lifecycle.sweep()
    assert default_storage.exists(offered.file)


def test_what_still_runs_is_looked_at_again_by_the_sweep(
    story: Begin, fal_settings: Settings, post: Post
) -> None:
    told = given_up(story, fal_settings, "drop=after stuck")
    [job] = told.sandbox.jobs()
    assert post(told.attempt, request_id=job["request_id"]) == 200
    process_all()
    assert not lifecycle.bring_late(told.attempt.pk)
    assert not lifecycle.bring_late(told.attempt.pk), "it is not due"
    finish(told)
    Attempt.objects.update(late_check_at=clock.now())
    with mock.patch("generations.lifecycle.sweeping.queue.enqueue") as bell:
        lifecycle.sweep()
    bell.assert_any_call("generations.late", str(told.attempt.pk))
    assert lifecycle.bring_late(told.attempt.pk)


def test_it_is_not_looked_for_for_ever(story: Begin, fal_settings: Settings, post: Post) -> None:
    told = given_up(story, fal_settings, "drop=after stuck")
    [job] = told.sandbox.jobs()
    post(told.attempt, request_id=job["request_id"])
    process_all()
    Attempt.objects.update(ended_at=clock.now() - late.PATIENCE - timedelta(seconds=1))
    assert not lifecycle.bring_late(told.attempt.pk)
    assert told.attempt.late_check_at is None


@pytest.mark.parametrize("fault", ["run=422:content_policy_violation", "download=notvideo"])
def test_what_is_no_clip_is_not_offered(story: Begin, fal_settings: Settings, post: Post, fault: str) -> None:
    told = given_up(story, fal_settings, f"drop=after {fault}")
    [job] = told.sandbox.jobs()
    finish(told)
    post(told.attempt, request_id=job["request_id"])
    process_all()
    assert not lifecycle.bring_late(told.attempt.pk)
    assert not LateClip.objects.exists()


def test_what_a_member_cancelled_is_not_offered(story: Begin, post: Post, member: Membership) -> None:
    told = story("stuck").drive(until=State.RUNNING)
    lifecycle.cancel(told.generation, actor=member.user)
    told.drive().assert_not_charged(State.CANCELED)
    assert post(told.attempt) == 200
    process_all()
    assert told.attempt.late_check_at is None


def keep(client: Client, told: Story) -> str:
    """What the page says after the button was pressed."""
    address = reverse("generations:keep", args=[told.generation.pk])
    return client.post(address, follow=True).content.decode()


def test_the_page_offers_it_and_leads_to_what_was_kept(
    told: Story, offered: LateClip, member: Membership, client: Client
) -> None:
    client.force_login(member.user)
    address = reverse("generations:show", args=[told.generation.pk])
    page = client.get(address).content.decode()
    assert "fal finished this after all" in page
    assert "You were not charged" in page
    assert f"Kept. {PRICE} credits were captured for it." in keep(client, told)
    kept = Generation.objects.get(state=State.SUCCEEDED)
    assert reverse("generations:show", args=[kept.pk]) in client.get(address).content.decode()


def test_the_page_says_why_it_cannot_be_kept(
    told: Story, offered: LateClip, member: Membership, client: Client
) -> None:
    ledger.adjust(told.wallet, amount=-180, actor=member.user, reason="Spent elsewhere", idempotency_key="x")
    client.force_login(member.user)
    assert "20 credits" in keep(client, told)


def test_a_colleague_sees_it_and_cannot_keep_it(
    told: Story, offered: LateClip, member: Membership, client: Client
) -> None:
    client.force_login(MembershipFactory(team=member.team).user)
    assert "Only the member who asked for it" in keep(client, told)
    assert Generation.objects.count() == 1


def test_another_team_finds_nothing(told: Story, offered: LateClip, client: Client) -> None:
    stranger: User = MembershipFactory().user
    client.force_login(stranger)
    assert client.post(reverse("generations:keep", args=[told.generation.pk])).status_code == 404
