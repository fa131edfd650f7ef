"""The only way to a login: a link from the team's admin, good for one person and one time."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import ADMIN, Visit
from tests.browser.invitations import PASSWORD, invite, take_up
from tests.browser.people import Studio


def test_an_invited_person_joins_generates_and_the_link_does_not_work_twice(visit: Visit) -> None:
    link = invite(visit(ADMIN), email="nora@example.com", budget_credits=100)
    nora = visit()
    page = take_up(nora, link, name="Nora New")
    expect(page.locator("#messages")).to_contain_text("Welcome to Demo Studio")
    studio = Studio(page)
    card = studio.order("The paper boat turns in the rain gutter")
    expect(card).to_contain_text("Nora")
    expect(card).to_contain_text("49 credits captured")

    page.goto("/wallet/")
    expect(page.get_by_role("region", name="Your budget")).to_contain_text("51 of 100 credits left")

    stranger = visit()
    stranger.forgive("status of 410")
    closed = stranger.open(link)
    expect(closed.get_by_role("heading", name="This link no longer works")).to_be_visible()
    assert stranger.sign_in("nora@example.com", PASSWORD).url.endswith("/")


def test_nobody_comes_in_without_a_link(visit: Visit) -> None:
    stranger = visit()
    stranger.forgive("status of 403")
    page = stranger.open("/library/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/accounts/signup/")
    expect(page.get_by_label("Password")).to_have_count(0)
