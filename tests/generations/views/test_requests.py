"""The pages of requests: asked beside the refusal, decided from inbox or mail, seen by whom they concern alone."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts import ledger
from accounts.models import Budget, Membership, Wallet
from generations import asking
from generations.models import CreditRequest, Generation
from tests.factories import TeamFactory, UserFactory
from tests.generations.asking.conftest import PRICE, admin_of, asked
from tests.generations.views.conftest import form, signed_in

HTMX = {"HX-Request": "true"}


@pytest.fixture
def admin(member: Membership) -> Membership:
    """And a member whose day has room for less than one clip."""
    admin = admin_of(member)
    ledger.set_budget(
        member.team.wallet, user=member.user, limit_credits=25, period="day", actor=UserFactory(), reason="x"
    )
    return admin


@pytest.fixture
def row(member: Membership, admin: Membership) -> CreditRequest:
    return asked(member)


def page(row: CreditRequest) -> str:
    return reverse("generations:request", args=[row.pk])


def by_mail(row: CreditRequest, admin: Membership) -> str:
    return reverse("generations:request_by_mail", args=[asking.token(row, admin.user)])


def test_the_refusal_has_a_button_that_keeps_all_that_was_typed(
    site: Client, member: Membership, admin: Membership
) -> None:
    sent = form(member) | {"ask_note": "For the client", "project_tag": "Harbour"}
    refusal = site.post("/generate/", sent)
    assert refusal.status_code == 422
    assert 'formaction="/ask/"' in refusal.content.decode()
    response = site.post("/ask/", sent)
    made = CreditRequest.objects.get()
    assert (response.status_code, response["Location"]) == (302, page(made))
    assert (made.note, made.tag, made.pictures.count()) == ("For the client", "Harbour", 1)
    html = site.get(page(made)).content.decode()
    assert made.prompt in html
    assert "Withdraw the request" in html
    assert 'value="approve"' not in html


def test_with_htmx_the_browser_goes_to_the_page_of_the_request(
    site: Client, member: Membership, admin: Membership
) -> None:
    response = site.post("/ask/", form(member), headers=HTMX)
    assert response["HX-Redirect"] == page(CreditRequest.objects.get())


def test_a_draft_that_is_not_whole_comes_back_as_from_generate(
    site: Client, member: Membership, admin: Membership
) -> None:
    response = site.post("/ask/", form(member) | {"prompt": ""})
    assert response.status_code == 422
    assert not CreditRequest.objects.exists()


def test_where_nothing_refuses_there_is_no_button_and_nothing_to_ask(
    site: Client, member: Membership
) -> None:
    assert 'formaction="/ask/"' not in site.get("/").content.decode()
    assert "press Generate" in site.post("/ask/", form(member)).content.decode()
    assert not CreditRequest.objects.exists()


def test_the_inbox_is_counted_in_the_navigation_and_lists_what_waits(
    row: CreditRequest, admin: Membership
) -> None:
    html = signed_in(admin.user).get("/requests/").content.decode()
    assert '<a class="nav-counted" href="/requests/" aria-current="page">' in html
    assert '<span id="nav-requests" class="badge">1<' in html
    assert page(row) in html
    asking.decline(row.pk, actor=admin.user, note="No")
    html = signed_in(admin.user).get("/").content.decode()
    assert '<span id="nav-requests" class="badge" hidden>0<' in html


def test_the_count_follows_on_open_pages(row: CreditRequest, admin: Membership) -> None:
    html = signed_in(admin.user).get("/updates/").content.decode()
    assert '<hx-partial hx-target="#nav-requests"' in html


@pytest.mark.parametrize("way", [page, by_mail])
def test_an_admin_approves_from_inbox_or_mail(
    row: CreditRequest, member: Membership, admin: Membership, way: object
) -> None:
    address = by_mail(row, admin) if way is by_mail else page(row)
    site = signed_in(admin.user)
    html = site.get(address).content.decode()
    assert 'value="approve"' in html
    assert not Generation.objects.exists(), "opening it decides nothing"
    assert site.post(address, {"decision": "approve", "note": ""}).status_code == 302
    assert Generation.objects.get().quote_credits == PRICE
    assert Wallet.objects.get(team=member.team).held == PRICE
    again = site.post(address, {"decision": "approve"}, follow=True).content.decode()
    assert "approved already" in again
    assert Generation.objects.count() == 1


def test_a_raised_budget_is_asked_for_and_set(
    row: CreditRequest, member: Membership, admin: Membership
) -> None:
    site = signed_in(admin.user)
    wrong = site.post(page(row), {"decision": "raise", "period": "day", "limit_credits": ""})
    assert wrong.status_code == 422
    low = site.post(page(row), {"decision": "raise", "period": "day", "limit_credits": "30"})
    assert low.status_code == 409
    assert "at least that" in low.content.decode()
    site.post(page(row), {"decision": "raise", "period": "day", "limit_credits": "80"})
    assert Budget.objects.get().limit_credits == 80
    assert Generation.objects.exists()


def test_a_decline_without_a_word_comes_back(row: CreditRequest, admin: Membership) -> None:
    site = signed_in(admin.user)
    assert site.post(page(row), {"decision": "decline", "note": ""}).status_code == 422
    site.post(page(row), {"decision": "decline", "note": "Next month"})
    row.refresh_from_db()
    assert row.state == "declined"


def test_a_member_sees_what_became_of_it_and_may_withdraw(
    site: Client, row: CreditRequest, admin: Membership
) -> None:
    assert page(row) in site.get("/requests/").content.decode()
    site.post(f"{page(row)}withdraw/")
    html = site.get(page(row)).content.decode()
    assert "Withdrawn" in html
    assert "Nothing was held or charged." in html


def test_a_member_cannot_decide_their_own(site: Client, row: CreditRequest) -> None:
    assert site.post(page(row), {"decision": "approve"}).status_code == 409
    assert not Generation.objects.exists()


def test_a_request_does_not_exist_for_others(
    row: CreditRequest, member: Membership, stranger: Membership
) -> None:
    colleague = Membership.objects.create(team=member.team, user=UserFactory())
    for who in (stranger, colleague):
        site = signed_in(who.user)
        assert site.get(page(row)).status_code == 404
        assert site.post(page(row), {"decision": "approve"}).status_code == 404
        assert site.post(f"{page(row)}withdraw/").status_code == 404
        assert page(row) not in site.get("/requests/").content.decode()


def test_a_link_is_for_its_admin_signed_in(row: CreditRequest, admin: Membership, client: Client) -> None:
    assert "/accounts/login/" in client.get(by_mail(row, admin))["Location"]
    other = signed_in(admin_of(admin).user)
    response = other.post(by_mail(row, admin), {"decision": "approve"})
    assert response["Location"] == "/requests/"
    assert not Generation.objects.exists()


def test_a_link_works_whatever_team_the_admin_works_in(row: CreditRequest, admin: Membership) -> None:
    Membership.objects.create(team=TeamFactory(name="AAA"), user=admin.user)
    site = signed_in(admin.user)
    assert "AAA · Member" in site.get(by_mail(row, admin)).content.decode()
    site.post(by_mail(row, admin), {"decision": "approve"})
    assert Generation.objects.get().team == row.team


def test_what_the_wallet_lacks_is_said_before_and_after(
    row: CreditRequest, member: Membership, admin: Membership
) -> None:
    ledger.adjust(
        member.team.wallet, amount=-960, actor=UserFactory(), reason="Moved away", idempotency_key="m"
    )
    site = signed_in(admin.user)
    assert "9 credits are missing" in site.get(page(row)).content.decode()
    response = site.post(page(row), {"decision": "approve"})
    assert (response.status_code, "9 are missing" in response.content.decode()) == (409, True)
    row.refresh_from_db()
    assert row.is_open
