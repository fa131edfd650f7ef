"""Grants on the wallet's pages: who may see and change them, once, with what is refused said beside the form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts import ledger
from accounts.models import Budget, Entry, Grant, Membership, Team
from accounts.models.people import Role
from tests.factories import MembershipFactory, TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db

ADD = {
    "amount": "500", "source": "purchase", "days": "365", "reference": "INV-7", "reason": "Spring", "key": "a",
}  # fmt: skip


@pytest.fixture
def admin() -> Membership:
    return MembershipFactory(team=TeamFactory(time_zone="Europe/Berlin"), role=Role.ADMIN)


@pytest.fixture
def site(client: Client, admin: Membership) -> Client:
    client.force_login(admin.user)
    return client


@pytest.fixture
def grant(admin: Membership) -> Grant:
    fill(admin.team.wallet, 80, expires_at=datetime(2099, 1, 1, tzinfo=UTC))
    return Grant.objects.get()


def pages(grant: Grant) -> dict[str, dict[str, str]]:
    base = f"/wallet/grants/{grant.pk}/"
    return {
        f"{base}extend/": {"last_day": "2100-02-03", "reason": "Late start", "key": "e"},
        f"{base}void/": {"reason": "Chargeback", "key": "v"},
        "/wallet/grants/add/": ADD,
    }


def test_credits_are_added_once_however_often_the_form_is_sent(site: Client, admin: Membership) -> None:
    assert site.get("/wallet/grants/add/").status_code == 200
    for _ in range(2):
        assert site.post("/wallet/grants/add/", ADD).status_code == 302
    made = Grant.objects.get()
    assert (made.amount, made.source, made.reference) == (500, "purchase", "INV-7")
    [entry] = Entry.objects.filter(kind="grant")
    assert (entry.actor, entry.note) == (admin.user, "sole admin")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reference": ""}, "Name the invoice of a purchase."),
        ({"source": "promotional", "days": "400"}, "from 7 to 365 days"),
        ({"source": "promotional", "days": ""}, "from 7 to 365 days"),
        ({"amount": "0"}, "greater than or equal to 1"),
        ({"reason": ""}, "This field is required."),
    ],
)
def test_what_cannot_be_added_is_said_with_everything_kept(
    site: Client, change: dict[str, str], said: str
) -> None:
    response = site.post("/wallet/grants/add/", ADD | change)
    assert response.status_code == 422
    assert said in response.content.decode()
    assert not Grant.objects.exists()


def test_one_admin_of_several_is_told_who_can_do_it(site: Client, admin: Membership, grant: Grant) -> None:
    MembershipFactory(team=admin.team, role=Role.ADMIN, user=UserFactory(name="Bo"))
    for url, data in pages(grant).items():
        response = site.post(url, data)
        if url.endswith("void/"):
            assert response.status_code == 302, "taking away is free"
            continue
        assert response.status_code == 422
        assert "ask Bo, or staff who are not of this team" in response.content.decode()


def test_a_grant_is_extended_to_the_end_of_a_day_of_the_team_and_then_voided(
    site: Client, admin: Membership, grant: Grant
) -> None:
    urls = pages(grant)
    extend, void = [url for url in urls if "add" not in url]
    for url in (extend, extend, void, void):
        assert site.post(url, urls[url]).status_code == 302
    grant.refresh_from_db()
    assert grant.expires_at == datetime(2100, 2, 3, 23, tzinfo=UTC)
    assert (grant.remaining, grant.adjusted_out) == (0, 80)
    html = site.get(f"/wallet/grants/{grant.pk}/").content.decode()
    assert "voided" in html
    assert "Late start" in html
    assert "Chargeback" in html
    assert 'name="reason"' not in html, "a closed grant has no forms"


def test_an_earlier_day_is_refused_on_the_page(site: Client, grant: Grant) -> None:
    url = f"/wallet/grants/{grant.pk}/extend/"
    response = site.post(url, {"last_day": "2098-01-01", "reason": "x", "key": "k"})
    assert response.status_code == 422
    assert "ends later than the grant does now" in response.content.decode()


def test_members_and_other_teams_find_no_grants(client: Client, admin: Membership, grant: Grant) -> None:
    stranger = MembershipFactory(role=Role.ADMIN)
    for who in (MembershipFactory(team=admin.team), stranger):
        client.force_login(who.user)
        assert client.get(f"/wallet/grants/{grant.pk}/").status_code == 404
        for url, data in pages(grant).items():
            if who == stranger and "add" in url:
                continue
            assert client.post(url, data).status_code == 404
    assert not grant.draws.exclude(source="outside").exists()


def test_the_wallet_links_its_grants_and_shows_the_budgets_of_the_others(
    site: Client, admin: Membership, grant: Grant
) -> None:
    member = MembershipFactory(team=admin.team, user=UserFactory(name="Mika"))
    ledger.set_budget(
        admin.team.wallet, user=member.user, limit_credits=77, period="rolling", actor=admin.user, reason="x"
    )
    html = site.get("/wallet/").content.decode()
    assert f'href="/wallet/grants/{grant.pk}/"' in html
    assert "Mika" in html
    assert "of 77 credits left this rolling month" in html


def test_the_budget_page_says_what_is_taken_already_and_takes_a_warning(
    site: Client, admin: Membership, grant: Grant
) -> None:
    member = MembershipFactory(team=admin.team)
    ledger.hold(admin.team.wallet, amount=37, user=member.user, reference="generation:1", reason="Clip")
    url = f"/team/members/{member.pk}/budget/"
    html = site.get(url).content.decode()
    assert "<dt>Already taken this month</dt><dd>37</dd>" in html
    site.post(url, {"limit_credits": "50", "period": "month", "strength": "soft", "reason": "Plan"})
    budget = Budget.objects.get()
    assert (budget.limit_credits, budget.is_hard) == (50, False)
    assert "13</strong> of 50 credits left this month (warns only)" in site.get(url).content.decode()


def test_the_budget_of_new_members_is_set_and_taken_back(site: Client, admin: Membership) -> None:
    rule: dict[str, Any] = {"period": "week", "strength": "hard", "reason": "Plan"}
    for limit, expected in (("90", 90), ("", None)):
        assert site.post("/team/default-budget/", {"limit_credits": limit, **rule}).status_code == 302
        assert Team.objects.get(pk=admin.team_id).default_budget_credits == expected
    assert site.post("/team/default-budget/", {"limit_credits": "-1", **rule}).status_code == 422


def test_the_sole_admin_alone_changes_their_own_budget_on_the_page(site: Client, admin: Membership) -> None:
    url = f"/team/members/{admin.pk}/budget/"
    data = {"limit_credits": "50", "period": "month", "reason": "Plan"}
    assert site.post(url, data).status_code == 302
    MembershipFactory(team=admin.team, role=Role.ADMIN, user=UserFactory(name="Bo"))
    response = site.post(url, data | {"limit_credits": "5000"})
    assert response.status_code == 422
    assert "Nobody changes their own budget: ask Bo" in response.content.decode()
    page = site.post(f"{url}remove/", {"period": "month", "reason": "Free"}, follow=True)
    assert "ask Bo" in page.content.decode()
    assert Budget.objects.get().limit_credits == 50


def test_staff_add_extend_and_void_in_the_admin(client: Client, admin: Membership, grant: Grant) -> None:
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    wallet = reverse("admin:accounts_wallet_credits", args=[grant.wallet_id])
    assert client.post(wallet, ADD).status_code == 302
    extend = reverse("admin:accounts_grant_extend", args=[grant.pk])
    assert client.post(extend, {"last_day": "2100-02-03", "reason": "x", "key": "k"}).status_code == 302
    void = reverse("admin:accounts_grant_void", args=[grant.pk])
    assert client.get(void).status_code == 200
    assert client.post(void, {"reason": "x", "key": "v"}).status_code == 302
    kinds = grant.wallet.entries.order_by("seq").values_list("kind", flat=True)
    assert list(kinds) == ["grant", "grant", "extension", "void"]
