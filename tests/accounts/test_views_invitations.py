"""The page behind an invitation link, for everybody who may stand before it."""

from __future__ import annotations

import re
import uuid
from functools import partial

import pytest
from django.core import mail
from django.test import Client

from accounts import ledger, people
from accounts.models import Invitation, Membership, Team, User
from accounts.models.people import Role
from tests.concurrency.together import together
from tests.factories import MembershipFactory, UserFactory, ip_address

pytestmark = pytest.mark.django_db
GOOD = {"name": "Nia New", "password": "seven blue kites"}


@pytest.fixture
def admin() -> Membership:
    return MembershipFactory(role=Role.ADMIN)


def link(admin: Membership, email: str = "new@example.com", **options: object) -> str:
    _, token = people.invite(
        admin.team, email=email, **{"role": Role.MEMBER, "invited_by": admin.user, **options}
    )
    return f"/invitation/{token}/"


def test_an_admin_invites_and_the_mailed_link_brings_a_new_person_in(
    client: Client, admin: Membership
) -> None:
    client.force_login(admin.user)
    fields = {
        "email": "new@example.com", "role": "member", "budget_credits": "250", "budget_period": "week"
    }  # fmt: skip
    page = client.post("/team/invite/", fields).content.decode()
    (letter,) = mail.outbox
    assert letter.to == ["new@example.com"]
    mailed = re.findall(r"http://testserver(/invitation/\S+/)", letter.body)
    assert mailed == re.findall(r'value="http://testserver(/invitation/\S+/)"', page)
    assert "was mailed" in page
    assert mailed[0] not in client.get("/team/").content.decode(), "shown once"

    newcomer = Client()
    form = newcomer.get(mailed[0])
    assert form.headers["Cache-Control"].count("no-store") == 1
    welcome = newcomer.post(mailed[0], GOOD)
    assert (welcome.status_code, welcome.headers["Location"]) == (302, "/")
    assert f"Wallet of {admin.team}" in newcomer.get("/wallet/").content.decode()
    user = User.objects.get(email="new@example.com")
    assert ledger.budget_status(ledger.open_wallet(admin.team), user)[0].limit == 250
    assert Client().get(mailed[0]).status_code == 410


def test_a_mail_that_cannot_be_sent_leaves_the_link_to_hand_over(
    client: Client, admin: Membership, settings: object
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # type: ignore[attr-defined]
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1  # type: ignore[attr-defined]
    client.force_login(admin.user)
    page = client.post(
        "/team/invite/", {"email": "a@example.com", "role": "member", "budget_period": "month"}
    )
    assert "could not be sent" in page.content.decode()
    assert "/invitation/" in page.content.decode()


def test_a_name_of_two_lines_breaks_no_mail(client: Client, admin: Membership) -> None:
    User.objects.filter(pk=admin.user.pk).update(name="Eve\nBcc: all@example.com")
    client.force_login(admin.user)
    client.post("/team/invite/", {"email": "a@example.com", "role": "member", "budget_period": "month"})
    assert "\n" not in mail.outbox[0].subject
    assert mail.outbox[0].bcc == []


def test_wrong_input_is_said_beside_the_field_and_makes_nobody(client: Client, admin: Membership) -> None:
    path = link(admin)
    for fields, says in (
        ({}, "This field is required"),
        ({"name": "Nia", "password": "short"}, "too short"),
        ({"name": "Nia", "password": "new@example.com"}, "too similar"),
    ):
        response = client.post(path, fields)
        assert response.status_code == 422
        assert says in response.content.decode()
    assert not User.objects.filter(email="new@example.com").exists()
    assert client.post(path, GOOD).status_code == 302


@pytest.mark.parametrize("why", ["used", "withdrawn", "expired", "never"])
def test_a_closed_link_says_so_and_lets_nobody_in(client: Client, admin: Membership, why: str) -> None:
    path = link(admin)
    invitation = Invitation.objects.get()
    if why == "used":
        people.accept(path.split("/")[2], **GOOD)
    elif why == "withdrawn":
        people.revoke(invitation)
    elif why == "expired":
        Invitation.objects.update(expires_at=invitation.created_at)
    else:
        path = "/invitation/never-was/"
    before = User.objects.count()
    for response in (client.get(path), client.post(path, GOOD)):
        assert response.status_code == 410
        assert "used, withdrawn or has expired" in response.content.decode()
        assert admin.team.name not in response.content.decode()
    assert User.objects.count() == before


def test_who_has_a_login_is_sent_to_sign_in_and_comes_back(client: Client, admin: Membership) -> None:
    person = UserFactory(email=f"{uuid.uuid4().hex}@example.com")
    path = link(admin, person.email)
    page = client.get(path).content.decode()
    assert f'href="/accounts/login/?next={path}"' in page
    assert "password" not in page
    assert client.post(path, GOOD).status_code == 409
    login = client.post(
        f"/accounts/login/?next={path}",
        {"login": person.email, "password": "correct horse battery"},
        REMOTE_ADDR=ip_address(),
    )
    assert login.headers["Location"] == path
    assert f"Join as {person.email}" in client.get(path).content.decode()
    assert not person.memberships.exists(), "looking joins nobody"
    assert client.post(path).status_code == 302
    assert person.memberships.get().team == admin.team


def test_the_wrong_person_is_told_whose_link_it_is(client: Client, admin: Membership) -> None:
    path = link(admin)
    stranger = UserFactory()
    client.force_login(stranger)
    page = client.get(path).content.decode()
    assert "Sign out and go on" in page
    assert "Join as" not in page
    refused = client.post(path)
    assert refused.status_code == 409
    assert "This invitation is for new@example.com" in refused.content.decode()
    assert not stranger.memberships.exists()
    assert client.post("/accounts/logout/", {"next": path}).headers["Location"] == path
    assert client.post(path, GOOD).status_code == 302


def test_joining_a_second_team_leads_into_it(client: Client, admin: Membership) -> None:
    person = MembershipFactory(team__name="AAA first by name").user
    client.force_login(person)
    client.post(link(admin, person.email))
    assert f"Wallet of {admin.team}" in client.get("/wallet/").content.decode()


def test_withdrawing_is_for_admins_of_that_team(client: Client, admin: Membership) -> None:
    path = link(admin)
    url = f"/team/invitations/{Invitation.objects.get().pk}/revoke/"
    for who in (MembershipFactory(team=admin.team).user, MembershipFactory(role=Role.ADMIN).user):
        client.force_login(who)
        assert client.post(url).status_code == 404
    assert Client().get(path).status_code == 200
    client.force_login(admin.user)
    assert client.get(url).status_code == 405
    assert client.post(url).status_code == 302
    assert Client().get(path).status_code == 410


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_two_browsers_that_take_up_one_link_at_once() -> None:
    admin = MembershipFactory(role=Role.ADMIN)
    path = link(admin)
    answers = together([partial(Client().post, path, {**GOOD, "name": f"Nia {n}"}) for n in range(2)])
    codes = sorted(answer.status_code for answer in answers)
    assert codes[0] == 302
    assert codes[1] in {409, 410}
    assert Team.objects.get().memberships.count() == 2
