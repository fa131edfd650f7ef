"""Signing in and out, passwords, and the doors that are closed: through the real middleware, cache and mail."""

from __future__ import annotations

import re
import uuid

import pytest
from django.core import mail
from django.test import Client
from django.urls import get_resolver, reverse

from accounts.models import User
from tests.factories import MembershipFactory, UserFactory, ip_address

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
LOGIN = "/accounts/login/"


@pytest.fixture
def client() -> Client:
    return Client(REMOTE_ADDR=ip_address())


@pytest.fixture
def person() -> User:
    user = UserFactory(email=f"{uuid.uuid4().hex}@example.com")
    MembershipFactory(user=user)
    return user


def sign_in(client: Client, email: str, password: str = PASSWORD, **extra: str) -> tuple[int, str]:
    response = client.post(LOGIN, {"login": email, "password": password, **extra})
    return response.status_code, response.headers.get("Location", response.content.decode())


def is_in(client: Client) -> bool:
    return client.get("/wallet/").status_code == 200


def test_a_member_signs_in_with_any_case_of_the_address_and_out_again(client: Client, person: User) -> None:
    assert client.get("/wallet/").headers["Location"] == f"{LOGIN}?next=/wallet/"
    assert sign_in(client, person.email.upper(), next="/wallet/") == (302, "/wallet/")
    assert is_in(client)
    assert client.get("/accounts/logout/").status_code == 200
    assert is_in(client), "a mere link must not sign anybody out"
    assert client.post("/accounts/logout/").headers["Location"] == LOGIN
    assert not is_in(client)


def test_signing_in_leads_to_no_other_site(client: Client, person: User) -> None:
    assert sign_in(client, person.email, next="https://evil.example/") == (302, "/")


def test_without_keep_me_signed_in_the_session_ends_with_the_browser(client: Client, person: User) -> None:
    sign_in(client, person.email)
    assert client.session.get_expire_at_browser_close()
    client.logout()
    sign_in(client, person.email, remember="on")
    assert not client.session.get_expire_at_browser_close()


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(client: Client, person: User) -> None:
    for email in (person.email, f"{uuid.uuid4().hex}@example.com"):
        status, text = sign_in(client, email, "not the password")
        assert status == 422
        assert "do not belong together" in text
        assert 'role="alert"' in text
    assert not is_in(client)


def test_after_five_failures_even_the_right_password_waits_from_anywhere(
    client: Client, person: User
) -> None:
    for _ in range(5):
        assert sign_in(client, person.email, "not the password")[0] == 422
    elsewhere = Client(REMOTE_ADDR=ip_address())
    for where in (client, elsewhere):
        status, text = sign_in(where, person.email)
        assert status == 429
        assert "Too many attempts failed. Wait five minutes" in text
        assert not is_in(where)


def test_successes_are_not_counted_as_failures(client: Client, person: User) -> None:
    for _ in range(7):
        assert sign_in(client, person.email)[0] == 302
        client.post("/accounts/logout/")


def test_a_flood_of_attempts_from_one_address_gets_a_page_that_says_so(client: Client) -> None:
    results = [sign_in(client, f"{number}@example.com", "x") for number in range(31)]
    assert results[9][0] == 422
    assert results[10][0] == 429
    assert results[30][0] == 429
    assert "Wait a few minutes" in results[30][1]


def test_a_login_that_was_switched_off_does_not_come_in(client: Client, person: User) -> None:
    client.force_login(person)
    User.objects.filter(pk=person.pk).update(is_active=False)
    assert not is_in(client)
    assert sign_in(client, person.email) == (302, "/accounts/inactive/")
    assert "switched off" in client.get("/accounts/inactive/").content.decode()
    assert not is_in(client)


def test_a_forgotten_password_is_replaced_by_the_mailed_link_once(client: Client, person: User) -> None:
    asked = client.post("/accounts/password/reset/", {"email": person.email}, follow=True)
    assert "Look in your mail" in asked.content.decode()
    (letter,) = mail.outbox
    assert letter.to == [person.email]
    assert letter.subject == "Choose a new password for Clipledger"
    link = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", letter.body)
    assert link is not None
    form = client.get(link[1], follow=True)
    assert link[1] not in form.request["PATH_INFO"], "the token does not stay in the address"
    new = {"password1": "seven blue kites", "password2": "seven blue kites"}
    assert "Password saved" in client.post(form.request["PATH_INFO"], new, follow=True).content.decode()
    assert sign_in(client, person.email)[0] == 422
    assert sign_in(client, person.email, "seven blue kites")[0] == 302
    again = Client().get(link[1], follow=True)
    assert "This link no longer works" in again.content.decode()


def test_a_new_password_must_be_a_good_one_typed_twice_alike(client: Client, person: User) -> None:
    client.post("/accounts/password/reset/", {"email": person.email})
    link = re.findall(r"http://testserver(/\S+)", mail.outbox[0].body)[0]
    path = client.get(link, follow=True).request["PATH_INFO"]
    for first, second, says in (
        ("short", "short", "too short"),
        ("seven blue kites", "eight", "same password"),
    ):
        page = client.post(path, {"password1": first, "password2": second}).content.decode()
        assert says in page
        assert 'aria-invalid="true"' in page
    assert sign_in(client, person.email)[0] == 302


def test_asking_for_a_strangers_password_mails_nobody_and_looks_the_same(client: Client) -> None:
    page = client.post("/accounts/password/reset/", {"email": f"{uuid.uuid4().hex}@example.com"}, follow=True)
    assert "Look in your mail" in page.content.decode()
    assert mail.outbox == []


def test_changing_the_password_keeps_this_session_and_ends_the_others(client: Client, person: User) -> None:
    elsewhere = Client()
    for each in (client, elsewhere):
        each.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    fields = {"oldpassword": "wrong", "password1": "seven blue kites", "password2": "seven blue kites"}
    assert client.post("/accounts/password/change/", fields).status_code == 200
    assert is_in(elsewhere)
    assert client.post("/accounts/password/change/", {**fields, "oldpassword": PASSWORD}).status_code == 302
    assert is_in(client)
    assert not is_in(elsewhere)
    assert 'href="/accounts/password/change/"' in client.get("/wallet/").content.decode()


def test_nobody_registers_by_the_sign_up_page(client: Client) -> None:
    fields = {"email": "me@example.com", "password1": "seven blue kites", "password2": "seven blue kites"}
    for response in (client.get("/accounts/signup/"), client.post("/accounts/signup/", fields)):
        assert response.status_code == 403
        assert "People join by invitation" in response.content.decode()
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "path",
    ["email/", "confirm-email/", "confirm-email/abc/", "reauthenticate/", "login/code/", "login/code/confirm/",
     "signup/passkey/", "phone/change/", "social/signup/", "3rdparty/", ""],
)  # fmt: skip
def test_the_rest_of_allauth_is_not_there(client: Client, person: User, path: str) -> None:
    client.force_login(person)
    assert client.get(f"/accounts/{path}").status_code == 404
    assert client.post(f"/accounts/{path}").status_code == 404


def test_the_list_of_allauths_addresses_is_the_one_that_has_pages_here() -> None:
    """A new allauth cannot open a door by itself: whoever adds one has to come by here."""
    known = {str(name) for name in get_resolver().reverse_dict if str(name).startswith("account_")}
    assert known == {
        "account_login", "account_logout", "account_signup", "account_inactive", "account_change_password",
        "account_set_password", "account_reset_password", "account_reset_password_done",
        "account_reset_password_from_key", "account_reset_password_from_key_done",
    }  # fmt: skip


def test_the_admin_has_no_sign_in_page_of_its_own(client: Client, person: User) -> None:
    assert client.get(reverse("admin:login")).headers["Location"].startswith(LOGIN)
    assert client.post(reverse("admin:login"), {"username": person.email}).status_code == 302
    client.force_login(person)
    assert client.get(reverse("admin:login")).status_code == 403


def test_fields_are_named_described_and_completed_by_the_browser(client: Client) -> None:
    page = client.get(LOGIN).content.decode()
    assert '<label for="id_login">E-mail address</label>' in page
    assert re.search(r'<input type="email" name="login"[^>]*autocomplete="username"', page)
    assert re.search(r'<input type="password" name="password"[^>]*autocomplete="current-password"', page)
    wrong = client.post(LOGIN, {"login": "not an address", "password": ""}).content.decode()
    assert wrong.count('aria-invalid="true"') == 2
    for described in re.findall(r'aria-describedby="([^"]+)"', wrong):
        for part in described.split():
            assert f'id="{part}"' in wrong


def test_every_described_field_of_the_password_pages_has_its_description(
    client: Client, person: User
) -> None:
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.post("/accounts/password/change/", {"oldpassword": "wrong"}).content.decode()
    assert page.count('aria-invalid="true"') == 3
    assert "placeholder" not in page
    assert "At least 10 characters" in page
    assert 'autocomplete="current-password"' in page
    assert page.count('autocomplete="new-password"') == 2
    for described in re.findall(r'aria-describedby="([^"]+)"', page):
        for part in described.split():
            assert re.search(rf'<(p|ul)[^>]* id="{part}">[^<]*[\w<]', page)
