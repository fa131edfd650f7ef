"""What staff change about people in the admin is in the audit log, with before and after, and never a password."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.models import AuditRecord, Membership, User
from tests.factories import MembershipFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db
NEW_PASSWORD = "seven blue kites fly"
TWICE = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}


@pytest.fixture
def member() -> Membership:
    return MembershipFactory(team=TeamFactory(credits=500))


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


def test_what_staff_change_about_people_is_told_with_before_and_after(
    staff: Client, member: Membership
) -> None:
    team, membership = member.team, member
    inline = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    fields = {"name": team.name, "slug": team.slug, "time_zone": "UTC", "share_weight": 3}
    assert (
        staff.post(reverse("admin:accounts_team_change", args=[team.pk]), fields | inline).status_code == 302
    )
    row = AuditRecord.objects.get(action="team.changed")
    assert (row.before, row.after, row.team) == ({"share_weight": 1}, {"share_weight": 3}, team)
    data = {"user": membership.user_id, "team": team.pk, "role": "admin", "is_active": "on"}
    url = reverse("admin:accounts_membership_change", args=[membership.pk])
    assert staff.post(url, data).status_code == 302
    row = AuditRecord.objects.get(action="membership.changed")
    assert (row.before, row.after, row.team) == ({"role": "member"}, {"role": "admin"}, team)
    assert row.actor and row.actor.is_staff


def test_rights_inline_rows_and_passwords_that_staff_set_are_told_without_the_password(
    staff: Client, member: Membership
) -> None:
    user, membership = member.user, member
    inline = {
        "memberships-TOTAL_FORMS": 1,
        "memberships-INITIAL_FORMS": 1,
        "memberships-0-id": membership.pk,
        "memberships-0-user": user.pk,
        "memberships-0-team": membership.team_id,
        "memberships-0-role": "admin",
        "memberships-0-is_active": "on",
    }
    permission = Permission.objects.first()
    assert permission
    fields = {"email": user.email, "name": user.name, "is_active": "on", "user_permissions": [permission.pk]}
    url = reverse("admin:accounts_user_change", args=[user.pk])
    assert staff.post(url, fields | inline).status_code == 302
    assert AuditRecord.objects.get(action="user.changed").after == {"user_permissions": [str(permission)]}
    assert AuditRecord.objects.get(action="membership.changed").before == {"role": "member"}
    url = reverse("admin:auth_user_password_change", args=[user.pk])
    answer = staff.post(url, TWICE | {"usable_password": "true"})
    assert answer.status_code == 302
    assert AuditRecord.objects.get(action="user.password_changed").after == {"password": "changed"}
    assert User.objects.get(pk=user.pk).check_password(NEW_PASSWORD)
