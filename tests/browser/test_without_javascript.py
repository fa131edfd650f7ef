"""Every form is a form: the main job with scripts switched off, by POST, redirect and reload."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import MEMBER, Visit
from tests.browser.people import PICTURE, eventually
from tests.browser.stack import Stack

PROMPT = "The gate swings in the wind, without a script"


def test_sign_in_upload_generate_and_see_the_clip_by_reloading(
    visit: Visit, stack: Stack, photo: Path
) -> None:
    page = visit(java_script_enabled=False).sign_in(MEMBER, stack.password)
    page.locator(f"{PICTURE} input[type=file]").set_input_files(photo)
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.get_by_role("button", name="Generate · 49 credits").click()
    expect(page.locator("#messages")).to_contain_text("Requested: Hailuo 2.3 Pro")
    expect(page.locator("#wallet-pill")).to_contain_text("49 held")
    card = page.locator("#live .card", has_text=PROMPT)
    expect(card).to_contain_text("49 credits held")
    eventually(lambda: reloaded(page) and "Ready" in card.inner_text(), seconds=45, what="the clip")
    expect(card).to_contain_text("49 credits captured")
    card.get_by_role("link", name="Open", exact=True).click()
    expect(page.locator("video")).to_have_attribute("src", page.url.removeprefix(stack.url) + "clip.mp4")


def reloaded(page: Page) -> bool:
    page.reload()
    return True


def test_another_engine_and_the_sample_picture_keep_what_was_typed(visit: Visit, stack: Stack) -> None:
    page = visit(MEMBER, java_script_enabled=False).open()
    page.get_by_label("Prompt", exact=True).fill("Snow falls on the roof")
    page.get_by_role("button", name="Use the sample picture").click()
    expect(page.locator(f"{PICTURE} .shot")).to_be_visible()
    page.locator("#engine summary").click()
    page.locator("label.engine-card", has_text="Fast Pro").locator("input").check()
    page.get_by_role("button", name="Show the fields of this engine").click()
    expect(page.get_by_role("button", name="Generate · 32 credits")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Snow falls on the roof")
    expect(page.locator(f"{PICTURE} .shot")).to_be_visible()
