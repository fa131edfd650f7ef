"""Fast fingers and two tabs: one press is one generation, and the last credits are spent once."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from tests.browser.conftest import ADMIN, Visit
from tests.browser.invitations import join
from tests.browser.people import Studio, eventually


def test_a_double_click_on_generate_makes_one_generation(studio: Studio) -> None:
    prompt = "A kite climbs over the dunes"
    studio.take_sample()
    studio.prompt.fill(prompt)
    studio.button.dblclick()
    expect(studio.card(prompt)).to_contain_text("Ready")
    studio.page.goto("/library/?q=kite+climbs")
    expect(studio.page.locator(".card")).to_have_count(1)


def test_two_tabs_that_race_for_the_last_credits_get_one_clip_and_one_is_told_what_is_left(
    visit: Visit,
) -> None:
    racer = visit()
    racer.forgive("status of 422")
    join(visit(ADMIN), racer, email="racer@example.com", budget_credits=60).close()
    tabs = [racer.studio(), racer.studio()]
    for tab, prompt in zip(tabs, ("The left tab", "The right tab"), strict=True):
        tab.take_sample()
        tab.prompt.fill(prompt)
        expect(tab.button).to_contain_text("49 credits")
    for tab in tabs:
        tab.page.evaluate("document.getElementById('generate').click()")
    refusals = [tab.page.locator("#composer").get_by_text(re.compile("you have 11 left")) for tab in tabs]
    eventually(lambda: any(told(refusal) for refusal in refusals), what="a refusal")
    assert sum(tab.page.locator("#composer [role=alert]").count() for tab in tabs) == 1
    expect(tabs[0].live.locator(".card", has_text=re.compile("The (left|right) tab"))).to_have_count(1)
    expect(tabs[0].pill).not_to_contain_text("held")


def told(refusal: Locator) -> bool:
    return refusal.count() > 0
