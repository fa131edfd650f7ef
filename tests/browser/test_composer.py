"""The composer on a small laptop, and the draft that comes back late."""

from __future__ import annotations

from playwright.sync_api import Locator, Route, expect

from tests.browser.conftest import MEMBER, Visit

TOPS_AND_BOTTOMS = "it => { const box = it.getBoundingClientRect(); return [box.top, box.bottom] }"


def edges(found: Locator) -> tuple[float, float]:
    """Where it begins and ends on the screen, in pixels from the top."""
    top, bottom = found.evaluate(TOPS_AND_BOTTOMS)
    return top, bottom


def test_on_a_small_laptop_the_picture_the_prompt_and_generate_are_seen_without_scrolling(
    visit: Visit,
) -> None:
    studio = visit(MEMBER, viewport={"width": 1280, "height": 720}).studio()
    expect(studio.picture.locator(".drop")).to_be_visible()
    _, prompt_bottom = edges(studio.prompt)
    send_top, _ = edges(studio.page.locator("#send"))
    _, button_bottom = edges(studio.button)
    assert prompt_bottom <= send_top, "the prompt does not lie behind the button"
    assert button_bottom <= 720


def test_a_draft_that_comes_back_late_does_not_overwrite_what_was_begun_since(visit: Visit) -> None:
    person = visit(MEMBER)
    studio = person.studio()
    studio.prompt.fill("The old draft")
    expect(studio.page.locator("#draft-status")).to_have_text("Draft saved")
    late: list[Route] = []

    def hold_back(route: Route) -> None:
        late.append(route)

    person.context.route("**/fields/", hold_back)
    with studio.page.expect_request("**/fields/"):
        studio.page.reload(wait_until="commit")
    studio.prompt.fill("What I began since")
    with studio.page.expect_response("**/fields/"):
        late[0].continue_()
    expect(studio.page.locator("#draft-status")).to_have_text("Draft saved")
    expect(studio.prompt).to_have_value("What I began since")
    person.context.unroute("**/fields/")
    studio.page.reload()
    expect(studio.prompt).to_have_value("What I began since")
