"""The page of the person on duty: it names what is stuck, each button does what it says, and nobody else sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import Entry, Hold, Membership, User, Wallet
from generations import queue
from generations.models import Attempt, Delivery, DispatchPause, Generation
from tests.generations.views.conftest import advanced, ordered, ready, running, signed_in

LONG_AGO = timedelta(minutes=10)
URL = "/operations/"
VERBS = ("operations_look", "operations_give_up")


@pytest.fixture
def overseer(db: None) -> User:
    return User.objects.create_superuser("root@example.com", "correct horse battery")


@pytest.fixture
def site(overseer: User) -> Client:
    return signed_in(overseer)


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    """What was rung, instead of Valkey: no worker listens in a test."""
    rung: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(queue, "_send", lambda name, args: rung.append((name, args)))
    return rung


def aged(generation: Generation, **fields: Any) -> Generation:
    Generation.objects.filter(pk=generation.pk).update(next_check_at=timezone.now() - LONG_AGO, **fields)
    generation.refresh_from_db()
    return generation


def lost(member: Membership) -> Generation:
    made = advanced(ordered(member), "submitted")
    at = timezone.now() - LONG_AGO
    Attempt.objects.create(generation=made, number=1, state="lost", sent_at=at)
    return made


def storing(member: Membership, **fields: Any) -> Generation:
    made = aged(advanced(ordered(member), "submitted", "running", "storing"))
    Attempt.objects.create(generation=made, number=1, state="accepted", request_id=str(made.pk), **fields)
    return made


def url(name: str, *args: object) -> str:
    return reverse(f"generations:{name}", args=args)


def text(site: Client) -> str:
    answer = site.get(URL)
    assert answer.status_code == 200
    return answer.content.decode()


def test_nobody_but_staff_finds_the_page(member: Membership, client: Client) -> None:
    made = lost(member)
    addresses = [url("operations_sweep"), url("operations_probe"), *(url(verb, made.pk) for verb in VERBS)]
    for visitor in (client, signed_in(member.user)):
        assert visitor.get(URL).status_code == 404
        assert [visitor.post(address, {"reason": "x"}).status_code for address in addresses] == [404] * 4
    assert Hold.objects.get(pk=made.hold_id).is_open


def test_a_button_is_not_pressed_by_looking(site: Client, member: Membership) -> None:
    made = lost(member)
    addresses = [url("operations_sweep"), url("operations_probe"), *(url(verb, made.pk) for verb in VERBS)]
    assert [site.get(address).status_code for address in addresses] == [405] * 4


def test_staff_have_the_link_and_members_have_not(site: Client, member: Membership, overseer: User) -> None:
    assert f'href="{URL}"' in text(site)
    assert f'href="{URL}"' not in signed_in(member.user).get("/").content.decode()


def test_a_quiet_house_says_so(site: Client, member: Membership) -> None:
    ready(ordered(member))
    ordered(member)
    assert "Nothing is stuck." in text(site)


@pytest.mark.parametrize(
    ("stuck", "why"),
    [
        (lambda member: aged(ordered(member)), "although fal has room"),
        (lost, "No answer came when it was sent"),
        (storing, "no worker has fetched the clip"),
        (lambda member: storing(member, fetch_failures=3), "bringing the clip home failed 3 times"),
    ],
)
def test_each_reason_stands_in_words(
    site: Client, member: Membership, stuck: Callable[[Membership], Generation], why: str
) -> None:
    made = stuck(member)
    html = text(site)
    assert why in html
    assert url("operations_look", made.pk) in html
    assert made.prompt not in html


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"state": "accepted", "request_id": "r"}, "No watcher looks at it"),
        ({"state": "sending"}, "Whoever was sending it is gone"),
        (
            {"state": "accepted", "request_id": "r", "timed_out_at": timezone.now()},
            "far longer than it should",
        ),
    ],
)
def test_what_fal_has_is_explained(
    site: Client, member: Membership, fields: dict[str, Any], why: str
) -> None:
    made = aged(running(ordered(member)))
    Attempt.objects.create(generation=made, number=1, **fields)
    assert why in text(site)


def test_waiting_for_a_place_at_fal_is_no_trouble(
    site: Client, member: Membership, settings: Settings
) -> None:
    settings.FAL_CONCURRENCY, settings.FAL_LEAD = 1, 0
    watched = running(ordered(member))
    Generation.objects.filter(pk=watched.pk).update(lease_until=timezone.now() + LONG_AGO)
    aged(ordered(member))
    assert "Nothing is stuck." in text(site)


def test_the_queries_do_not_grow_with_what_is_stuck(site: Client, member: Membership) -> None:
    lost(member)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(
            connection,
        ) as asked:
            text(site)
        counts.append(len(asked))
        for _ in range(3):
            lost(member)
            storing(member)
    assert counts[0] == counts[1] <= 14


def test_a_sweep_is_rung_for(site: Client, bells: list[Any], django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert site.post(url("operations_sweep")).status_code == 302
    assert bells == [(queue.SWEEP, ())]


def test_a_pause_is_probed_at_once(
    site: Client, bells: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    later = timezone.now() + LONG_AGO
    DispatchPause.objects.create(pk=1, reason="User is locked.", code="locked", probe_at=later)
    assert "User is locked." in text(site)
    with django_capture_on_commit_callbacks(execute=True):
        site.post(url("operations_probe"))
    assert DispatchPause.objects.get().is_probe_due(timezone.now())
    assert bells == [(queue.DISPATCH, ())]
    DispatchPause.objects.all().delete()
    assert "Nothing is paused any more" in site.post(url("operations_probe"), follow=True).content.decode()


def test_a_finished_clip_is_rung_for(
    site: Client, member: Membership, bells: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    made = storing(member)
    Generation.objects.filter(pk=made.pk).update(next_check_at=timezone.now() + LONG_AGO)
    with django_capture_on_commit_callbacks(execute=True):
        site.post(url("operations_look", made.pk))
    assert bells == [(queue.INGEST, (str(made.pk),))]
    made.refresh_from_db()
    assert made.next_check_at and made.next_check_at <= timezone.now()


def test_giving_up_releases_with_name_and_reason(site: Client, member: Membership, overseer: User) -> None:
    made = lost(member)
    before = Wallet.objects.get(team=member.team).available
    answer = site.post(url("operations_give_up", made.pk), {"reason": "fal's  support\nsays so"}, follow=True)
    assert "credits are available again" in answer.content.decode()
    made.refresh_from_db()
    entry = Entry.objects.get(hold=made.hold_id, kind="release")
    assert (made.state, made.failure_code, made.attempts.get().state) == ("failed", "given_up", "failed")
    assert (entry.actor, entry.reason) == (overseer, "Not charged: never ordered. fal's support says so")
    assert Wallet.objects.get(team=member.team).available == before + made.quote_credits
    call_command("check_ledger", "--json")


@pytest.mark.parametrize("reason", ["", "   ", "x" * 161])
def test_giving_up_needs_a_reason_that_fits(site: Client, member: Membership, reason: str) -> None:
    made = lost(member)
    site.post(url("operations_give_up", made.pk), {"reason": reason})
    assert Hold.objects.get(pk=made.hold_id).is_open


def test_only_what_is_lost_can_be_given_up(site: Client, member: Membership) -> None:
    made = storing(member)
    answer = site.post(url("operations_give_up", made.pk), {"reason": "tired of it"}, follow=True)
    assert "no longer lost" in answer.content.decode()
    assert Hold.objects.get(pk=made.hold_id).is_open


def test_a_call_without_effect_and_a_hold_for_nothing_are_listed(site: Client, member: Membership) -> None:
    made = storing(member)
    at = timezone.now() - LONG_AGO
    Delivery.objects.create(
        attempt=made.attempts.get(),
        request_id="r-9",
        body="{}",
        body_sha256="0",
        signed_at=at,
        received_at=at,
    )
    # What the ledger would never do.
    Generation.objects.filter(pk=made.pk).update(state="failed", settled_at=at, next_check_at=None)
    html = text(site)
    assert "r-9" in html
    assert made.reference in html
