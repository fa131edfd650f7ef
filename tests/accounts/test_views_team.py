"""The team page and its verbs: who may, who may not, and what a removed member can still reach."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import ledger
from accounts.models import Entry, Membership, Team
from accounts.models.people import Role
from tests.factories import MembershipFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Membership:
    return MembershipFactory(team=TeamFactory(credits=1_000), role=Role.ADMIN)


@pytest.fixture
def member(admin: Membership) -> Membership:
    return MembershipFactory(team=admin.team)


@pytest.fixture
def as_admin(client: Client, admin: Membership) -> Client:
    client.force_login(admin.user)
    return client


def urls(membership: Membership) -> dict[str, str]:
    base = f"/team/members/{membership.pk}"
    return {"role": f"{base}/role/", "remove": f"{base}/remove/", "budget": f"{base}/budget/",
            "budget_remove": f"{base}/budget/remove/"}  # fmt: skip


GOOD = {
    "role": {"role": "admin"},
    "remove": {},
    "budget": {"limit_credits": "5", "period": "day", "reason": "Why not"},
    "budget_remove": {"period": "day", "reason": "Why not"},
}


def test_the_pages_of_admins_do_not_exist_for_members_and_strangers(
    client: Client, admin: Membership, member: Membership
) -> None:
    other_admin = MembershipFactory(role=Role.ADMIN)
    for who, their_team_page in ((member, 404), (other_admin, 200)):
        client.force_login(who.user)
        assert client.get("/team/").status_code == their_team_page
        for verb, url in urls(admin).items():
            assert client.post(url, GOOD[verb]).status_code == 404, (who, verb)
        assert client.get(urls(admin)["budget"]).status_code == 404
    client.force_login(member.user)
    assert client.post("/team/invite/", {"email": "a@example.com", "role": "admin"}).status_code == 404
    client.logout()
    for url in ("/team/", "/wallet/", urls(admin)["budget"]):
        assert client.get(url).headers["Location"] == f"/accounts/login/?next={url}"
    admin.refresh_from_db()
    assert admin.is_active
    assert not Entry.objects.filter(kind="budget").exists()


def test_verbs_are_not_links(as_admin: Client, member: Membership) -> None:
    for verb in ("role", "remove", "budget_remove"):
        assert as_admin.get(urls(member)[verb]).status_code == 405


def test_an_admin_changes_roles_but_not_to_nonsense(as_admin: Client, member: Membership) -> None:
    url = urls(member)["role"]
    assert "choose one of the list" in as_admin.post(url, {"role": "owner"}, follow=True).content.decode()
    page = as_admin.post(url, {"role": "admin"}, follow=True).content.decode()
    assert f"{member.user} is now team admin." in page
    member.refresh_from_db()
    assert member.is_admin


def test_the_last_admin_is_told_why_nothing_changed(as_admin: Client, admin: Membership) -> None:
    for verb, fields in (("role", {"role": "member"}), ("remove", {})):
        page = as_admin.post(urls(admin)[verb], fields, follow=True).content.decode()
        assert "only admin; make somebody else an admin first" in page
    admin.refresh_from_db()
    assert (admin.is_active, admin.is_admin) == (True, True)


def test_a_removed_member_loses_access_at_the_next_request_and_the_holds_go_on(
    as_admin: Client, member: Membership
) -> None:
    theirs = Client()
    theirs.force_login(member.user)
    assert theirs.get("/wallet/").status_code == 200
    wallet = member.team.wallet
    hold = ledger.hold(wallet, amount=49, user=member.user, reference="generation:1", reason="Clip")
    as_admin.post(urls(member)["remove"])
    lost = theirs.get("/wallet/")
    assert lost.status_code == 403
    assert "You are in no team yet" in lost.content.decode()
    assert str(member.team) not in lost.content.decode()
    assert ledger.balance(wallet).held == 49
    ledger.capture(hold, amount=49, reason="Stored")
    assert as_admin.get(urls(member)["budget"]).status_code == 404


def test_a_demoted_admin_loses_the_team_page_at_the_next_request(as_admin: Client, admin: Membership) -> None:
    MembershipFactory(team=admin.team, role=Role.ADMIN)
    assert as_admin.get("/team/").status_code == 200
    Membership.objects.filter(pk=admin.pk).update(role=Role.MEMBER)
    assert as_admin.get("/team/").status_code == 404


def test_a_budget_is_set_with_what_is_already_taken_in_sight(as_admin: Client, admin: Membership) -> None:
    member = MembershipFactory(team=admin.team)
    url, wallet = urls(member)["budget"], admin.team.wallet
    assert "No limit but the team" in as_admin.get(url).content.decode()
    page = as_admin.post(url, {"limit_credits": "1000", "period": "month", "reason": "Start"}, follow=True)
    assert "may now take 1,000 credits per month." in page.content.decode()
    hold = ledger.hold(wallet, amount=49, user=member.user, reference="generation:1", reason="Clip")
    ledger.capture(hold, amount=49, reason="Stored")
    ledger.hold(wallet, amount=32, user=member.user, reference="generation:2", reason="Clip")
    shown = as_admin.get(url).content.decode()
    assert '<span class="figure">49</span> captured · <span class="figure">32</span> held' in shown
    assert '<strong class="figure">919</strong> of 1,000 credits left' in shown
    as_admin.post(url, {"limit_credits": "100", "period": "month", "reason": "Less"})
    assert ledger.budget_status(wallet, member.user)[0].left == 19
    entry = wallet.entries.filter(kind="budget").latest("seq")
    assert (entry.actor, entry.user, entry.reason) == (admin.user, member.user, "Less")


@pytest.mark.parametrize(
    "wrong", [{"limit_credits": "-1"}, {"limit_credits": "1.5"}, {"period": "year"}, {"reason": " "}]
)
def test_a_wrong_budget_is_refused_beside_its_field(
    as_admin: Client, member: Membership, wrong: dict[str, str]
) -> None:
    response = as_admin.post(urls(member)["budget"], {**GOOD["budget"], **wrong})
    assert response.status_code == 422
    page = response.content.decode()
    assert 'aria-invalid="true"' in page
    (name,) = wrong
    assert f'id="id_{name}_error"' in page
    assert ledger.budget_status(member.team.wallet, member.user) == []


def test_a_budget_is_removed_with_a_reason(as_admin: Client, member: Membership) -> None:
    where = urls(member)
    as_admin.post(where["budget"], GOOD["budget"])
    assert as_admin.post(where["budget_remove"], {"period": "day", "reason": ""}).status_code == 422
    assert len(ledger.budget_status(member.team.wallet, member.user)) == 1
    assert as_admin.post(where["budget_remove"], GOOD["budget_remove"]).headers["Location"] == where["budget"]
    assert ledger.budget_status(member.team.wallet, member.user) == []


def test_a_member_of_two_teams_switches_and_stays_there(client: Client, member: Membership) -> None:
    second = MembershipFactory(user=member.user)
    client.force_login(member.user)
    for team in (second.team, member.team, second.team):
        assert client.post("/team/switch/", {"team": team.pk}).status_code == 302
        assert f"Wallet of {team}" in client.get("/wallet/").content.decode()


def test_nobody_switches_into_a_team_they_are_not_in(client: Client, member: Membership) -> None:
    former = MembershipFactory(user=member.user, is_active=False)
    stranger = MembershipFactory()
    client.force_login(member.user)
    for wanted in (former.team_id, stranger.team_id, "", "²", "9" * 30, "x", None):
        fields = {} if wanted is None else {"team": wanted}
        assert client.post("/team/switch/", fields).status_code == 404
    assert f"Wallet of {member.team}" in client.get("/wallet/").content.decode()


def test_whoever_leaves_the_team_they_work_in_falls_back_to_another(
    client: Client, member: Membership
) -> None:
    second = MembershipFactory(user=member.user)
    client.force_login(member.user)
    client.post("/team/switch/", {"team": second.team_id})
    Membership.objects.filter(pk=second.pk).update(is_active=False)
    assert f"Wallet of {member.team}" in client.get("/wallet/").content.decode()


def test_a_team_made_without_a_wallet_gets_an_empty_one(client: Client) -> None:
    team = Team.objects.create(name="Bare", slug="bare")
    admin = MembershipFactory(team=team, role=Role.ADMIN)
    client.force_login(admin.user)
    for url in ("/team/", urls(admin)["budget"], "/wallet/"):
        assert client.get(url).status_code == 200
    assert ledger.balance(Team.objects.get(pk=team.pk).wallet).available == 0


def test_somebody_without_a_team_is_told_what_to_do(client: Client) -> None:
    user = UserFactory()
    client.force_login(user)
    response = client.get("/wallet/")
    assert response.status_code == 403
    assert user.email in response.content.decode()


def test_an_expired_session_sends_the_whole_page_to_sign_in_and_not_a_form_into_a_table(
    client: Client,
) -> None:
    response = client.get("/wallet/?before=9", HTTP_HX_REQUEST="true")
    assert response.headers["HX-Redirect"] == "/accounts/login/"


def test_the_team_page_costs_the_same_with_two_members_and_with_twelve(
    as_admin: Client, admin: Membership
) -> None:
    def opened_with(*limits: int) -> int:
        """How many queries the page takes, with one more member for each limit."""
        rule = {"period": "day", "actor": admin.user, "reason": "A cap"}
        for limit in limits:
            user = MembershipFactory(team=admin.team).user
            ledger.set_budget(admin.team.wallet, user=user, limit_credits=limit, **rule)
        with CaptureQueriesContext(connection) as asked:
            page = as_admin.get("/team/").content.decode()
        assert all(
            f'<strong class="figure">{limit}</strong> of {limit} credits left' in page for limit in limits
        )
        return len(asked)

    assert opened_with(201) == opened_with(*range(202, 212))
