"""Live work: one stream per page, morphs that leave typed text and playing clips alone, and a way without it."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import MEMBER, Visit
from tests.browser.people import eventually, refuse
from tests.browser.stack import Stack

DRAFT = "A second idea, half written"


def asked(page: Page) -> list[str]:
    """Every address the page asks for from now on."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url))
    return found


def test_typed_text_and_a_playing_clip_survive_updates_that_come_over_the_stream(visit: Visit) -> None:
    studio = visit(MEMBER, reduced_motion="no-preference").studio()
    expect(studio.pill).not_to_contain_text("held")
    requests = asked(studio.page)
    first = studio.order("[[sandbox: seconds=1]] The clock ticks")
    expect(first).to_contain_text("Ready")
    requests.clear()  # on a busy machine the page may have asked once before its stream was open
    second = studio.order("[[sandbox: seconds=5]] The tide comes in")
    expect(second).to_contain_text("49 credits held")

    studio.prompt.fill("")
    studio.prompt.press_sequentially(DRAFT, delay=10)
    first.locator(".frame").hover()
    clip = first.locator("video")
    eventually(lambda: clip.evaluate("it => !it.paused && it.currentTime > 0"), what="the clip playing")
    clip.evaluate("it => { it.isTheSame = true; it.wraps = 0 }")
    beside = "it => it.parentNode.childNodes.length"
    nodes = studio.live.evaluate(beside)

    expect(second).to_contain_text("Ready")
    assert clip.evaluate("it => it.isTheSame && !it.paused && it.currentTime > 0")
    expect(studio.prompt).to_have_value(DRAFT)
    expect(studio.prompt).to_be_focused()
    expect(studio.picture.locator(".shot")).to_be_visible()
    assert studio.live.evaluate(beside) == nodes, "each update leaves something beside what it updates"
    assert [url for url in requests if "/updates/" in url] == []


def test_where_no_stream_can_be_had_the_page_asks_again_by_itself(visit: Visit) -> None:
    member = visit(MEMBER)
    member.context.route("**/live/**", refuse)
    member.forgive("/live/|Failed to fetch")
    studio = member.studio()
    requests = asked(studio.page)
    card = studio.order("The lamp is lit, no stream")
    expect(studio.pill).to_contain_text("49 held")
    expect(card).to_contain_text("Ready")
    expect(studio.pill).not_to_contain_text("held")
    polls = [url for url in requests if "/updates/" in url]
    assert polls
    assert len(polls) < 15


def test_the_page_of_one_generation_follows_it_to_the_clip(visit: Visit) -> None:
    studio = visit(MEMBER).studio()
    card = studio.order("[[sandbox: seconds=4 position=2]] The door opens")
    card.get_by_role("link", name="Details").click()
    page = studio.page
    expect(page.locator("#generation")).to_contain_text("49 credits held")
    expect(page.locator("#generation video")).to_have_attribute("controls", "")
    expect(page.get_by_role("region", name="Credits")).to_contain_text("49 captured")
    expect(page.locator("#wallet-pill")).not_to_contain_text("held")
    expect(page.locator("#log")).to_be_visible()


def test_what_waits_can_be_canceled_and_is_not_charged(visit: Visit) -> None:
    studio = visit(MEMBER).studio()
    card = studio.order("[[sandbox: stuck]] The fountain never starts")
    expect(card).to_contain_text("Running")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_contain_text("Canceled · not charged")
    expect(studio.pill).not_to_contain_text("held")


BREAK = """
from datetime import timedelta
from accounts import clock
from generations.models import Breaker
from generations.views.picker import DEFAULT
now = clock.now()
Breaker.objects.filter(engine=DEFAULT).delete()
Breaker.objects.create(engine=DEFAULT, code="failing", opened_at=now, probe_at=now + timedelta(hours=1), failures=5)
"""
MEND = "from generations.models import Breaker; Breaker.objects.all().delete()"


def test_the_words_at_the_button_follow_an_outage_while_somebody_types(visit: Visit, stack: Stack) -> None:
    studio, other = visit(MEMBER).studio(), visit(MEMBER).studio()
    studio.prompt.fill("")
    studio.prompt.press_sequentially(DRAFT, delay=10)
    quotes = asked(studio.page)
    assert stack.manage("shell", "-c", BREAK).returncode == 0
    try:
        card = other.order(
            "[[sandbox: stuck]] The mast breaks"
        )  # stuck: mended, it would be ready before the click
        expect(card).to_contain_text("engine down at fal")
        expect(studio.page.locator("#send")).to_contain_text("fails at fal just now")
        expect(studio.prompt).to_have_value(DRAFT)
        expect(studio.prompt).to_be_focused()
    finally:
        stack.manage("shell", "-c", MEND)
    card.get_by_role("button", name="Cancel").click()
    expect(studio.page.locator("#send")).not_to_contain_text("fails at fal just now")
    expect(studio.page.locator("#send")).to_contain_text("49 credits")
    assert len([url for url in quotes if "/quote/" in url]) < 10
