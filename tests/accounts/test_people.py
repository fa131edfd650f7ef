"""Invitations, roles and leaving, on the real database, also when two people act at the same moment."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core import serializers

from accounts import clock, ledger, people
from accounts.models import Invitation, Membership, Team, User
from accounts.models.people import Role
from tests.concurrency.together import of_type, together
from tests.factories import MembershipFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db
in_parallel = [pytest.mark.concurrency, pytest.mark.django_db(transaction=True)]


def team_of(admin_count: int = 1, **fields: Any) -> tuple[Team, list[Membership]]:
    team = TeamFactory(**fields)
    return team, [MembershipFactory(team=team, role=Role.ADMIN) for _ in range(admin_count)]


def invite(team: Team, email: str = "new@example.com", **options: Any) -> tuple[Invitation, str]:
    by = team.memberships.filter(role=Role.ADMIN)[0].user
    return people.invite(team, email=email, **({"role": Role.MEMBER, "invited_by": by} | options))


def accept(token: str, **options: Any) -> Membership:
    return people.accept(token, **({"name": "Nia New", "password": "seven blue kites"} | options))


def test_only_the_hash_of_a_token_is_stored() -> None:
    team, _ = team_of()
    invitation, token = invite(team)
    row = serializers.serialize("json", [Invitation.objects.get(pk=invitation.pk)])
    assert token not in row
    assert invitation.token_sha256 == hashlib.sha256(token.encode()).hexdigest()
    assert len(token) >= 43


def test_a_link_makes_one_member_and_works_once() -> None:
    team, _ = team_of()
    _, token = invite(team, " New@Example.com ")
    membership = accept(token)
    assert (membership.user.email, membership.role, membership.is_active) == (
        "new@example.com",
        "member",
        True,
    )
    assert membership.user.check_password("seven blue kites")
    with pytest.raises(people.InvitationNotOpen):
        accept(token)
    assert User.objects.filter(email="new@example.com").count() == 1


@pytest.mark.parametrize("change", [{"revoked_at": "now"}, {"expires_at": "now"}, {"token_sha256": "0" * 64}])
def test_withdrawn_expired_and_unknown_links_look_the_same(change: dict[str, str]) -> None:
    team, _ = team_of()
    invitation, token = invite(team)
    just_now = clock.now() - timedelta(milliseconds=1)
    values = {name: just_now if value == "now" else value for name, value in change.items()}
    Invitation.objects.filter(pk=invitation.pk).update(**values)
    for attempt in (partial(people.find_invitation, token), partial(accept, token)):
        with pytest.raises(people.InvitationNotOpen, match="used, withdrawn or has expired"):
            attempt()
    assert not User.objects.filter(email="new@example.com").exists()


def test_a_link_is_good_for_the_days_of_the_setting(settings: Any) -> None:
    settings.INVITATION_DAYS = 3
    team, _ = team_of()
    invitation, _ = invite(team)
    assert invitation.expires_at - invitation.created_at == timedelta(days=3)


def test_inviting_again_withdraws_the_older_link_of_that_team_only() -> None:
    (team, _), (other, _) = team_of(), team_of()
    _, first = invite(team)
    _, elsewhere = invite(other)
    _, second = invite(team, "NEW@example.com")
    with pytest.raises(people.InvitationNotOpen):
        people.find_invitation(first)
    assert people.find_invitation(second).team == team
    assert people.find_invitation(elsewhere).team == other


def test_withdrawing_a_used_invitation_changes_nothing() -> None:
    team, _ = team_of()
    invitation, token = invite(team)
    accept(token)
    people.revoke(invitation)
    invitation.refresh_from_db()
    assert invitation.revoked_at is None


def test_a_member_is_not_invited_again() -> None:
    team, (admin,) = team_of()
    with pytest.raises(people.AlreadyMember):
        invite(team, admin.user.email.upper())
    assert people.open_invitations(team) == []


def test_an_existing_login_joins_as_itself_and_not_by_a_new_password() -> None:
    team, _ = team_of()
    person = UserFactory(email="old@example.com")
    _, token = invite(team, "Old@example.com")
    with pytest.raises(people.PeopleError, match="has a login already"):
        accept(token)
    assert accept(token, user=person).user == person
    person.refresh_from_db()
    assert person.check_password("correct horse battery")


def test_somebody_else_cannot_take_up_an_invitation() -> None:
    team, _ = team_of()
    _, token = invite(team)
    with pytest.raises(people.PeopleError, match=r"is for new@example\.com; you are signed in as"):
        accept(token, user=UserFactory())
    assert people.find_invitation(token).is_open


def test_a_budget_given_with_the_invitation_binds_from_the_first_hold() -> None:
    team, (admin,) = team_of(credits=500)
    _, token = invite(team, budget_credits=120, budget_period="week")
    member = accept(token).user
    (status,) = ledger.budget_status(team.wallet, member)
    assert (status.limit, status.budget.period, status.left) == (120, "week", 120)
    entry = team.wallet.entries.get(kind="budget")
    assert (entry.actor, entry.user, entry.reason) == (admin.user, member, "Given with the invitation")


def test_an_empty_budget_is_no_budget_and_zero_is_a_budget_of_nothing() -> None:
    team, _ = team_of(credits=500)
    free = accept(invite(team, "free@example.com", budget_period="month")[1]).user
    none = accept(invite(team, "none@example.com", budget_credits=0, budget_period="month")[1]).user
    assert ledger.budget_status(team.wallet, free) == []
    assert ledger.budget_status(team.wallet, none)[0].limit == 0


def test_a_former_member_comes_back_with_the_role_of_the_new_invitation() -> None:
    team, _ = team_of()
    former = MembershipFactory(team=team)
    people.remove(former)
    _, token = invite(team, former.user.email, role=Role.ADMIN)
    back = accept(token, user=former.user)
    assert (back.pk, back.role, back.is_active) == (former.pk, Role.ADMIN, True)


def test_accepting_never_lowers_the_role_of_an_active_member() -> None:
    team, _ = team_of()
    former = MembershipFactory(team=team, is_active=False)
    _, token = invite(team, former.user.email)
    Membership.objects.filter(pk=former.pk).update(is_active=True, role=Role.ADMIN)
    with pytest.raises(people.AlreadyMember):
        accept(token, user=former.user)
    former.refresh_from_db()
    assert former.is_admin


def test_the_last_admin_can_neither_step_down_nor_leave() -> None:
    team, (admin,) = team_of()
    MembershipFactory(team=team)
    MembershipFactory(team=team, role=Role.ADMIN, is_active=False)
    for attempt in (partial(people.set_role, admin, role=Role.MEMBER), partial(people.remove, admin)):
        with pytest.raises(people.LastAdmin):
            attempt()
    admin.refresh_from_db()
    assert admin.is_active
    assert admin.is_admin


def test_one_of_two_admins_may_step_down_and_members_may_always_go() -> None:
    team, (first, second) = team_of(2)
    member = MembershipFactory(team=team)
    people.set_role(second, role=Role.MEMBER)
    people.remove(member)
    assert list(team.memberships.filter(role=Role.ADMIN)) == [first]
    member.refresh_from_db()
    assert not member.is_active


def test_an_old_copy_of_a_membership_does_not_hide_the_last_admin() -> None:
    team, (first, second) = team_of(2)
    stale = MembershipFactory(team=team)
    people.set_role(Membership.objects.get(pk=stale.pk), role=Role.ADMIN)
    people.remove(first)
    people.remove(second)
    with pytest.raises(people.LastAdmin):
        people.set_role(stale, role=Role.MEMBER)


def test_holds_in_flight_survive_the_removal_of_their_member() -> None:
    team, _ = team_of(credits=100)
    member = MembershipFactory(team=team)
    hold = ledger.hold(team.wallet, amount=40, user=member.user, reference="generation:1", reason="Clip")
    people.remove(member)
    assert ledger.balance(team.wallet).held == 40
    ledger.capture(hold, amount=40, reason="Stored")
    assert ledger.balance(team.wallet).captured == 40


class TestAtOnce:
    pytestmark = in_parallel

    def test_one_link_opened_by_many_at_once_lets_one_in(self) -> None:
        team, _ = team_of()
        _, token = invite(team)
        results = together([partial(accept, token)] * 8)
        assert len(of_type(results, Membership)) == 1
        assert len(of_type(results, people.InvitationNotOpen)) == 7
        assert User.objects.filter(email="new@example.com").count() == 1

    def test_two_teams_invite_a_newcomer_who_takes_up_both_at_once(self) -> None:
        tokens = [invite(team_of()[0])[1] for _ in range(2)]
        results = together([partial(accept, token) for token in tokens])
        (refused,) = of_type(results, people.PeopleError)
        assert "has a login already" in str(refused)
        assert len(of_type(results, Membership)) == 1

    def test_two_admins_invite_the_same_address_at_once_and_one_link_works(self) -> None:
        team, _ = team_of()
        results = together([partial(invite, team)] * 6)
        assert len(of_type(results, tuple)) == 6
        assert len(people.open_invitations(team)) == 1

    @pytest.mark.parametrize("attempt", [partial(people.set_role, role=Role.MEMBER), people.remove])
    def test_admins_who_demote_each_other_at_once_leave_one(self, attempt: Any) -> None:
        for _ in range(5):
            team, admins = team_of(2)
            results = together([partial(attempt, admin) for admin in admins])
            assert len(of_type(results, people.LastAdmin)) == 1
            assert team.memberships.filter(role=Role.ADMIN, is_active=True).count() == 1
