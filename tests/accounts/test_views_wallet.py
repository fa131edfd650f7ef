"""The wallet page: figures that agree with the book, pages of entries, and nobody else's work for members."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import ledger
from accounts.models import Membership, User, Wallet
from accounts.models.people import Role
from tests.factories import MembershipFactory, TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Membership:
    return MembershipFactory(team=TeamFactory(credits=10_000), role=Role.ADMIN)


@pytest.fixture
def member(admin: Membership) -> Membership:
    return MembershipFactory(team=admin.team)


@pytest.fixture
def wallet(admin: Membership) -> Wallet:
    return admin.team.wallet


def work(wallet: Wallet, user: User, number: int = 1, *, price: int = 10) -> list[str]:
    """Holds under references of generations; returns their ids, oldest first."""
    ids = [str(uuid.uuid4()) for _ in range(number)]
    for each in ids:
        ledger.hold(wallet, amount=price, user=user, reference=f"generation:{each}", reason=f"Clip {each}")
    return ids


def page(client: Client, who: Membership, query: str = "", **headers: Any) -> str:
    client.force_login(who.user)
    response = client.get(f"/wallet/{query}", **headers)
    assert response.status_code == 200
    return response.content.decode()


def shown(html: str) -> list[str]:
    """The generations that rows link to, in order."""
    return re.findall(r'href="/generations/([0-9a-f-]{36})/"', html)


def test_the_figures_are_those_of_the_book(
    client: Client, admin: Membership, member: Membership, wallet: Wallet
) -> None:
    hold = ledger.hold(wallet, amount=49, user=member.user, reference="generation:1", reason="Clip")
    ledger.capture(hold, amount=32, reason="Stored")
    ledger.hold(wallet, amount=100, user=member.user, reference="generation:2", reason="Clip")
    html = page(client, admin)
    figures = re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", html)
    assert figures == [
        ("Available", "9,868"), ("Held for work in progress", "100"), ("Captured, net of refunds", "32"),
        ("Granted in all", "10,000"),
    ]  # fmt: skip
    rows = [re.sub(r"<[^>]+>|\s+", " ", row) for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)]
    after = [re.findall(r"[\d,]+", row)[-1] for row in rows if "Clip" in row or "Stored" in row]
    assert after == ["9,868", "9,968", "9,951"], "running balance, newest first"


def test_credits_whose_expiry_is_due_are_not_shown_as_available(
    client: Client, admin: Membership, wallet: Wallet
) -> None:
    past = timezone.now() - timedelta(days=2)
    fill(wallet, 500, now=past, expires_at=past + timedelta(days=1))
    html = page(client, admin)
    assert "<dt>Available</dt><dd>10,000</dd>" in html
    assert "500 expired" in html


def test_members_see_the_entries_of_their_own_work_only(
    client: Client, admin: Membership, member: Membership, wallet: Wallet
) -> None:
    mine, others = work(wallet, member.user), work(wallet, admin.user)
    html = page(client, member)
    assert shown(html) == mine
    assert "Test credits" not in html
    assert "Available after" not in html
    assert "Grants still open" not in html
    assert shown(page(client, admin)) == others + mine


def test_another_teams_entries_are_never_here(client: Client, admin: Membership, wallet: Wallet) -> None:
    elsewhere = MembershipFactory(team=TeamFactory(credits=100), user=admin.user)
    theirs = work(elsewhere.team.wallet, admin.user)
    ours = work(wallet, admin.user)
    client.force_login(admin.user)
    for team, expected in ((elsewhere.team, theirs), (admin.team, ours)):
        client.post("/team/switch/", {"team": team.pk})
        assert shown(client.get("/wallet/").content.decode()) == expected


@pytest.mark.parametrize("headers", [{}, {"HTTP_HX_REQUEST": "true"}])
def test_older_entries_follow_page_by_page_with_and_without_htmx(
    client: Client, member: Membership, wallet: Wallet, headers: dict[str, str]
) -> None:
    ids = work(wallet, member.user, 65)
    query, seen, pages = "", [], 0
    while True:
        html = page(client, member, query, **(headers if query else {}))
        seen += shown(html)
        pages += 1
        link = re.search(r'href="(\?before=\d+)#entries-title"', html)
        if not link:
            break
        query = link[1]
        work(wallet, member.user)  # what arrives meanwhile moves nothing
    assert pages == 3
    assert seen == ids[::-1]


def test_the_fragment_for_htmx_is_table_bodies_and_takes_the_place_of_the_button(
    client: Client, member: Membership, wallet: Wallet
) -> None:
    work(wallet, member.user, 65)
    first = page(client, member)
    assert first.count('id="older-entries"') == 1
    asked, target, swap = re.search(  # type: ignore[union-attr]
        r'hx-get="([^"]+)" hx-target="([^"]+)" hx-swap="([^"]+)"', first
    ).groups()
    assert (target, swap) == ("#older-entries", "outerHTML")
    fragment = client.get(asked, HTTP_HX_REQUEST="true").content.decode()
    tags = re.findall(r"</?(\w+)[^>]*>", re.sub(r"<(tbody)\b.*?</\1>", "", fragment, flags=re.DOTALL))
    assert tags == [], "nothing outside the bodies"
    assert len(re.findall(r"<tbody", fragment)) == 2
    assert fragment.count('id="older-entries"') == 1
    assert len(shown(fragment)) == 30


@pytest.mark.parametrize("before", ["", "x", "-5", "²", "0", "1", "9" * 40, "1e3"])
def test_odd_addresses_are_answered(client: Client, admin: Membership, before: str) -> None:
    page(client, admin, f"?before={before}")
    page(client, admin, f"?before={before}", HTTP_HX_REQUEST="true")


@pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER])
def test_sixty_entries_cost_as_many_queries_as_one(client: Client, wallet: Wallet, role: str) -> None:
    who = MembershipFactory(team=wallet.team, role=role)
    ledger.set_budget(
        wallet, user=who.user, limit_credits=5_000, period="month", actor=UserFactory(), reason="Cap"
    )
    counts = []
    for more in (1, 59):
        work(wallet, who.user, more)
        client.force_login(who.user)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            client.get("/wallet/")
        counts.append(len(captured))
    assert counts[0] == counts[1]
    assert counts[0] <= 18


def test_times_are_in_utc_and_say_so_whatever_the_teams_zone(
    client: Client, admin: Membership, wallet: Wallet
) -> None:
    type(admin.team).objects.filter(pk=admin.team_id).update(time_zone="Pacific/Auckland")
    at = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)
    fill(wallet, 5, now=at, reason="Late")
    html = page(client, admin)
    assert "When (UTC)" in html
    assert '<time datetime="2026-03-04T23:30:00+00:00">4 Mar 2026, 23:30</time>' in html


def test_a_budget_shows_what_is_taken_and_when_it_starts_again(
    client: Client, admin: Membership, member: Membership, wallet: Wallet
) -> None:
    ledger.set_budget(
        wallet, user=member.user, limit_credits=100, period="never", actor=admin.user, reason="Trial"
    )
    ledger.set_budget(
        wallet, user=member.user, limit_credits=60, period="day", actor=admin.user, reason="Cap"
    )
    work(wallet, member.user, price=50)
    html = page(client, member)
    assert '<strong class="figure">10</strong> of 60 credits left today' in html
    assert '<strong class="figure">50</strong> of 100 credits left in all' in html
    assert len(re.findall(r"starts again \d+ \w+, 00:00 UTC", html)) == 1
    assert "Budget used: 50 of 60 credits" in html


def test_a_reference_that_is_no_generation_of_ours_is_no_link_and_no_error(
    client: Client, admin: Membership, wallet: Wallet
) -> None:
    ledger.hold(wallet, amount=1, user=admin.user, reference="generation:not-a-uuid", reason="Odd")
    html = page(client, admin)
    assert "Odd" in html
    assert "See the generation" not in html


def test_a_frozen_wallet_says_so(client: Client, admin: Membership, wallet: Wallet) -> None:
    assert "chip-bad" not in page(client, admin)
    ledger.freeze(wallet, actor=admin.user, reason="Question about the invoice")
    assert "frozen" in page(client, admin)
