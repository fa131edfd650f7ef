"""The pages of alerts: who sees what, what is dismissed, and who may change what a team is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts import alerts, clock
from accounts.models import Alert, AlertHook, Membership
from accounts.models.people import Role
from tests.factories import MembershipFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db

SETTINGS = {"wallet_percents": "90, 75 %", "budget_percents": "", "is_mailed": "on"}
POSTS = [
    "/alerts/settings/",
    "/alerts/settings/webhook/",
    "/alerts/settings/webhook/remove/",
    "/alerts/settings/test/",
]


@pytest.fixture
def admin() -> Membership:
    return MembershipFactory(team=TeamFactory(credits=100), role=Role.ADMIN)


@pytest.fixture
def site(client: Client, admin: Membership) -> Client:
    client.force_login(admin.user)
    return client


def test_the_bell_counts_what_is_not_dismissed(site: Client, admin: Membership) -> None:
    for _ in range(2):
        alerts.send_test(admin)
    assert "Alerts: 2 unread" in site.get("/wallet/").content.decode()
    first = Alert.objects.earliest("pk")
    assert site.post(f"/alerts/{first.pk}/dismiss/").status_code == 302
    assert "Alerts: 1 unread" in site.get("/alerts/").content.decode()
    site.post("/alerts/dismiss/")
    page = site.get("/alerts/").content.decode()
    assert 'aria-label="Alerts"' in page
    assert first.text in page.split("Earlier")[1]


def test_what_one_dismissed_another_still_sees(client: Client, admin: Membership) -> None:
    joined_at = clock.now() - timedelta(minutes=1)
    other = MembershipFactory(team=admin.team, role=Role.ADMIN, created_at=joined_at)
    alerts.send_test(admin)
    alerts.dismiss_all(admin)
    client.force_login(other.user)
    assert "Alerts: 1 unread" in client.get("/alerts/").content.decode()


def test_nobody_dismisses_what_they_may_not_see(site: Client) -> None:
    stranger = MembershipFactory(role=Role.ADMIN)
    alerts.send_test(stranger)
    assert site.post(f"/alerts/{Alert.objects.get().pk}/dismiss/").status_code == 404


@pytest.mark.parametrize("address", POSTS)
def test_only_admins_change_what_a_team_is_told(client: Client, admin: Membership, address: str) -> None:
    member = MembershipFactory(team=admin.team)
    client.force_login(member.user)
    assert client.post(address, SETTINGS | {"url": "https://93.184.215.14/"}).status_code == 404
    assert not Alert.objects.exists()
    assert not AlertHook.objects.exists()


def test_thresholds_are_kept_in_order_and_empty_is_none(site: Client, admin: Membership) -> None:
    assert site.post("/alerts/settings/", SETTINGS).status_code == 302
    rules = alerts.rules_of(admin.team_id)
    assert (rules.wallet_percents, rules.budget_percents) == ([75, 90], [])
    assert (rules.is_mailed, rules.is_member_mailed, rules.is_burn_watched) == (True, False, False)
    assert 'value="75, 90"' in site.get("/alerts/settings/").content.decode()


@pytest.mark.parametrize("wrong", ["fifty", "0", "1001", "-5", "9" * 30, ",".join(map(str, range(1, 13)))])
def test_odd_thresholds_are_refused_and_stay_in_the_field(site: Client, wrong: str) -> None:
    response = site.post("/alerts/settings/", SETTINGS | {"wallet_percents": wrong})
    assert response.status_code == 422
    assert wrong in response.content.decode()


def test_mail_goes_to_members_of_the_team_alone(site: Client) -> None:
    stranger = UserFactory()
    assert site.post("/alerts/settings/", SETTINGS | {"mailed_users": str(stranger.pk)}).status_code == 422


def test_the_secret_is_shown_once(site: Client, admin: Membership) -> None:
    page = site.post("/alerts/settings/webhook/", {"url": "https://93.184.215.14/hook"})
    secret = alerts.secret_of(AlertHook.objects.get(team=admin.team))
    assert secret in page.content.decode()
    assert secret not in site.get("/alerts/settings/").content.decode()


def test_a_private_address_is_refused_beside_the_field(site: Client, settings: Any) -> None:
    page = site.post("/alerts/settings/webhook/", {"url": "https://10.0.0.1/"})
    assert page.status_code == 422
    assert "private network" in page.content.decode()
