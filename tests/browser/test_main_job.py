"""The main job through the real processes: a photo becomes a clip that plays, and the credits are right."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Locator, Page, Response, expect

from tests.browser.conftest import JOB_SECONDS, MEMBER, Visit
from tests.browser.people import eventually, figures
from tests.browser.stack import Stack

PROMPT = "The boat leaves the harbour, slow pull-back, morning fog, calm"


def test_a_photo_becomes_a_clip_that_plays_and_49_credits_are_held_and_then_captured(
    visit: Visit, stack: Stack, photo: Path
) -> None:
    member = visit(MEMBER)
    before = figures(member.open())
    stack.sandbox.settings(fast_clips=False, job_seconds=3)
    studio = member.studio()
    studio.choose(photo)
    expect(studio.picture).to_contain_text(re.compile(r"1280 . 720 px"))
    studio.prompt.fill(PROMPT)
    expect(studio.page.get_by_role("button", name="Generate · 49 credits")).to_be_enabled()
    studio.page.evaluate("window.isTheSamePage = true")
    studio.button.click()

    card = studio.card(PROMPT)
    expect(studio.pill).to_contain_text("49 held")
    expect(card).to_contain_text("49 credits held")
    expect(card).to_contain_text("Running")
    assert not card.locator("video").count()
    expect(card).to_contain_text("Ready")
    expect(card).to_contain_text("49 credits captured")
    expect(studio.pill).not_to_contain_text("held")
    assert studio.page.evaluate("window.isTheSamePage")
    stack.sandbox.settings(fast_clips=True, job_seconds=JOB_SECONDS)

    ranges: list[Response] = []
    studio.page.on("response", lambda it: ranges.append(it) if it.status == 206 else None)
    card.get_by_role("link", name="Open", exact=True).click()
    plays_out(studio.page, studio.page.locator("video"))
    assert any(it.url.endswith("clip.mp4") and it.headers["content-range"] for it in ranges)

    trail = studio.page.get_by_role("region", name="Credits")
    expect(trail.locator("li")).to_have_count(2)
    expect(trail).to_contain_text("49 held")
    expect(trail).to_contain_text("49 captured")
    after = figures(studio.page)
    assert after["held"] == before["held"] == 0
    assert after["captured"] == before["captured"] + 49
    assert after["available"] == before["available"] - 49
    checked = stack.manage("check_ledger")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def plays_out(page: Page, video: Locator) -> None:
    """Chromium decodes it, the clock runs, seeking works, and it comes to its end; upright and of the right length."""
    video.evaluate("it => { it.muted = true; it.playbackRate = 4; return it.play() }")
    eventually(lambda: video.evaluate("it => it.readyState >= 3 && it.currentTime > 0.5"), what="playing")
    assert abs(video.evaluate("it => it.duration") - 6) < 0.3
    assert video.evaluate("it => it.videoWidth > it.videoHeight")
    video.evaluate("it => { it.pause(); it.currentTime = 1.25 }")
    eventually(lambda: video.evaluate("it => !it.seeking && it.currentTime === 1.25"), what="seeking back")
    video.evaluate("it => { it.currentTime = 4.5; return it.play() }")
    eventually(lambda: video.evaluate("it => it.ended"), what="the end of the clip")
    assert video.evaluate("it => it.error") is None


def test_when_fal_answers_500_it_ends_not_charged_and_the_prompt_is_there_to_run_again(
    visit: Visit, stack: Stack
) -> None:
    member = visit(MEMBER)
    before = figures(member.open())
    studio = member.studio()
    prompt = "[[sandbox: run=500 seconds=0.3]] The candle flickers"
    card = studio.order(prompt)
    expect(card).to_contain_text("49 credits held")
    expect(card).to_contain_text("Failed · not charged")
    expect(studio.pill).not_to_contain_text("held")
    expect(studio.prompt).to_have_value(prompt)
    card.get_by_role("link", name="Open", exact=True).click()
    expect(studio.page.get_by_role("alert")).to_contain_text("all 49 credits went back to the wallet")
    studio.page.get_by_role("link", name="Run again with the same inputs").click()
    expect(studio.prompt).to_have_value(prompt)
    expect(studio.picture.locator(".shot")).to_be_visible()
    after = figures(studio.page)
    assert after == before


def test_the_main_job_from_a_shell_prints_what_became_of_it(stack: Stack, photo: Path) -> None:
    engine = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"
    who = [
        "--user",
        MEMBER,
        "--engine",
        engine,
        "--image",
        str(photo),
        "--prompt",
        "Waves roll in, wide, dusk",
    ]
    done = stack.manage("generate", *who, "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["state"] == "succeeded"
    assert (answer["credits_captured"], answer["credits_held"]) == (49, 0)
    assert Path(answer["clip"]).read_bytes()[4:8] == b"ftyp"
