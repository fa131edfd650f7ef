"""What waits behind others of one's own is put first with a click, and with none but the form."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import MEMBER, Visit
from tests.browser.stack import Stack

FULL = 4  # the places of the stack: FAL_CONCURRENCY and FAL_LEAD


@pytest.fixture
def full_house(visit: Visit, stack: Stack) -> Iterator[list[Locator]]:
    """Every place at fal is taken for long, and three more wait; afterwards all are cancelled."""
    studio = visit(MEMBER).studio()
    for number in range(FULL):
        studio.order(f"[[sandbox: stuck]] Place {number} is taken")
    cards = [studio.order(f"[[sandbox: stuck]] The {name} one waits") for name in ("red", "green", "blue")]
    expect(cards[2]).to_contain_text("Yours: 3 of 3")
    yield cards
    # By name: what is cancelled moves down, behind what still waits.
    for title in studio.live.locator(".card-title").all_inner_texts():
        button = studio.card(title).get_by_role("button", name="Cancel")
        if button.count():
            button.click()
    expect(studio.pill).not_to_contain_text("held")


def in_line(card: Locator, *names: str) -> bool:
    """Whether the waiting cards stand on the page in this order."""
    titles = card.page.locator("#live .card-title").all_inner_texts()
    return [title.split()[-3] for title in titles if title.endswith("one waits")] == list(names)


def test_a_click_puts_it_first_and_every_card_says_so(full_house: list[Locator], visit: Visit) -> None:
    red, green, blue = full_house
    expect(red.get_by_role("button", name="First")).to_have_attribute("aria-disabled", "true")
    blue.get_by_role("button", name="First").click()
    expect(blue).to_contain_text("Yours: 1 of 3")
    expect(red).to_contain_text("Yours: 2 of 3")
    expect(green).to_contain_text("Yours: 3 of 3")
    expect(blue.get_by_role("status")).to_have_text("It is the first of yours now.")
    assert in_line(blue, "blue", "red", "green"), "the card moves with its place"
    red.get_by_role("button", name="Later").focus()
    red.page.keyboard.press("Enter")
    expect(red).to_contain_text("Yours: 3 of 3")
    expect(red.get_by_role("status")).to_have_text("It goes one place later.")
    expect(blue.get_by_role("status")).to_have_text("")
    expect(red.get_by_role("button", name="Later")).to_be_focused()
    expect(red.get_by_role("status")).to_have_text("")

    plain = visit(MEMBER, java_script_enabled=False).studio()
    card = plain.card("[[sandbox: stuck]] The red one waits")
    card.get_by_role("button", name="Sooner").click()
    expect(card).to_contain_text("Yours: 2 of 3")
    expect(green).to_contain_text("Yours: 3 of 3")
