"""How a new person comes in: an admin makes the link on the team page, the person opens it."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.people import Person

PASSWORD = "a boat of paper sails"


def invite(admin: Person, *, email: str, budget_credits: int | None = None) -> str:
    """The link, as the admin's page shows it."""
    page = admin.open("/team/")
    page.get_by_label("E-mail address").fill(email)
    if budget_credits is not None:
        page.get_by_label("Budget in credits").fill(str(budget_credits))
    page.get_by_role("button", name="Make an invitation link").click()
    link = page.get_by_label(f"Invitation link for {email}")
    expect(link).to_be_visible()
    address = link.input_value()
    page.close()
    return address


def take_up(newcomer: Person, link: str, *, name: str) -> Page:
    page = newcomer.open(link)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Choose a password").fill(PASSWORD)
    page.get_by_role("button", name="Join the team").click()
    expect(page.get_by_role("heading", name="New clip")).to_be_visible()
    return page


def join(admin: Person, newcomer: Person, *, email: str, budget_credits: int | None = None) -> Page:
    """Invited and in the studio; the name is what stands before the @."""
    link = invite(admin, email=email, budget_credits=budget_credits)
    return take_up(newcomer, link, name=email.partition("@")[0].title())
