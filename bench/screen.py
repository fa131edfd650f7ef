"""From fal's COMPLETED to the clip on the member's screen: real processes, a real page in headless Chromium.

`on screen` is the moment at which the card of the studio holds a <video> (a MutationObserver in the page notes it);
`can play` is the moment at which that video has its first frame (`loadeddata`, readyState >= 2), asked for at once in
the way the page does it for whoever points at the card. Both are on the clock of the machine that also ran the sandbox.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection
from playwright.sync_api import Page, sync_playwright

from accounts.models import Team
from bench.figures import at_share
from bench.house import running_house, sandbox_environment
from bench.people import make_team
from bench.report import Measurement, machine
from bench.seeds import ENGINE
from bench.sizes import sized
from bench.visitors import session_of
from generations.models import Generation
from tests.conftest import chromium
from tests.sandbox_server import running_sandbox

EACH = sized(5, 2)
JOB_SECONDS = 4
PATIENCE_SECONDS = 90
# How many rounds count, after one that warms everything up; whether fal calls us; what else is set.
WAYS: Mapping[str, tuple[int, bool, dict[str, str]]] = {
    "with webhooks": (sized(8, 1), True, {}),
    "without webhooks": (sized(8, 1), False, {}),
    "polling alone, neither webhooks nor streams": (sized(4, 1), False, {"FAL_STREAM_LIMIT": "0"}),
}
WATCH = """() => {
  window.benchSeen = {}
  const look = () => {
    for (const card of document.querySelectorAll('.live-card')) {
      const video = card.querySelector('video')
      const title = card.querySelector('.card-title').textContent.trim()
      if (!video || window.benchSeen[title]) continue
      const seen = window.benchSeen[title] = {shown: Date.now() / 1000, plays: 0}
      video.addEventListener('loadeddata', () => { seen.plays = Date.now() / 1000 }, {once: true})
      video.play().catch(() => {})
    }
  }
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true, attributes: true})
}"""


@dataclass(frozen=True)
class Way:
    """Seconds from COMPLETED, one for each clip."""

    settled: list[float]
    shown: list[float]
    plays: list[float]


def measure() -> list[Measurement]:
    if not chromium():
        print("screen: there is no Chromium on PATH, nothing measured", flush=True)
        return []
    found = []
    for number, name in enumerate(WAYS):
        team = make_team(f"screen-{number}", amount=10**6).team
        with tempfile.TemporaryDirectory() as directory:
            way = _way(team, Path(directory), *WAYS[name])
        print(name, way, flush=True)
        found += _measurements(name, way)
    return found


def _way(team: Team, directory: Path, rounds: int, has_webhooks: bool, changed: dict[str, str]) -> Way:
    # Playwright runs an event loop in this thread: the database is asked before it and after it.
    session = session_of(team.memberships.get().user)
    connection.close()
    with running_sandbox(directory, job_seconds=JOB_SECONDS, concurrency=EACH) as sandbox:
        environment = {**sandbox_environment(sandbox), "FAL_CONCURRENCY": str(EACH), **changed}
        with running_house(directory, environment, has_webhooks=has_webhooks) as house:
            seen = _seen(house.url, session, rounds)
        if has_webhooks != any(each["state"] == "delivered" for each in sandbox.webhooks()):
            raise SystemExit(f"webhooks were not as they should be: {sandbox.webhooks()}")
        jobs = {job["request_id"]: job["completed_at"] for job in sandbox.jobs()}
    way = Way([], [], [])
    for row in Generation.objects.filter(team=team).prefetch_related("attempts"):
        if row.state != "succeeded" or row.settled_at is None:
            raise SystemExit(f"a generation of the bench ended as {row.state}: {row.failure_code}")
        if row.prompt not in seen:
            continue  # it warmed up
        completed_at = jobs[row.attempts.get().request_id]
        way.settled.append(row.settled_at.timestamp() - completed_at)
        way.shown.append(seen[row.prompt]["shown"] - completed_at)
        way.plays.append(seen[row.prompt]["plays"] - completed_at)
    return way


def _seen(url: str, session: str, rounds: int) -> dict[str, dict[str, float]]:
    """Order on the page, a handful at a time, and note when each clip is there, by its prompt."""
    found: dict[str, dict[str, float]] = {}
    args = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium(), args=args)
        context = browser.new_context(base_url=url)
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}])
        for number in range(rounds + 1):
            page = context.new_page()
            page.goto(f"/?engine={ENGINE}")
            page.evaluate(WATCH)
            prompts = [f"Round {number}, clip {each}: a boat drifts out" for each in range(EACH)]
            for prompt in prompts:
                _order(page, prompt)
            last = _when_all_play(page, prompts)
            found |= last if number else {}
            page.close()
        browser.close()
    return found


def _order(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.locator("#generate").click()
    page.locator("#live").get_by_role("heading", name=prompt).last.wait_for()


def _when_all_play(page: Page, prompts: list[str]) -> dict[str, dict[str, float]]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        seen: dict[str, dict[str, float]] = page.evaluate("() => window.benchSeen")
        if all(seen.get(prompt, {}).get("plays") for prompt in prompts):
            return {prompt: seen[prompt] for prompt in prompts}  # a later page shows earlier clips too
        if time.monotonic() > deadline:
            raise SystemExit(f"not every clip came to the screen: {seen}")
        page.wait_for_timeout(200)


def _measurements(name: str, way: Way) -> list[Measurement]:
    found = []
    for what, late in (("on screen", way.shown), ("can play", way.plays)):
        for label, share in (("p50", 0.5), ("p95", 0.95)):
            value, other = at_share(late, share) or 0.0, at_share(way.settled, share) or 0.0
            found.append(
                Measurement(
                    name=f"time from fal's COMPLETED to the clip {what}, {label}, {name}",
                    value=value,
                    unit="s",
                    versus=f"the same generations to `succeeded`: {other:.4g} s",
                    ratio=round(value / other, 3) if other else 0.0,
                    runs=len(late),
                    conditions=f"{EACH} at a time ordered on the studio in headless Chromium, after a round that "
                    f"warmed up; simulated jobs of {JOB_SECONDS} s, far less than the engine usually takes, which "
                    "polling alone expects; tiny clips, default settings otherwise; sandbox, web, 2 worker processes, "
                    "watcher, beat, servers and browser share the machine; on screen: the card holds a <video>; can "
                    f"play: it has its first frame, asked for when it was seen; {machine()}",
                )
            )
    return found
