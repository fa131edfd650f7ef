"""A person at the browser: pages of one context, what the console said, and the studio as they would use it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Route, expect

PICTURE = "#picture-image_url"
SLOW_MS = 45_000


def eventually(condition: Callable[[], object], *, seconds: float = 20, what: str = "it") -> None:
    """Ask again and again; `page.wait_for_function` would need the eval that our Content-Security-Policy forbids."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)


class Person:
    """One context. Everything the console complains about on any of its pages is kept in `complaints`."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.forgiven: list[str] = []
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text} ({message.location['url']})")

    def forgive(self, pattern: str) -> None:
        """An error the test brings about on purpose: Chromium reports each 4xx and each cut connection."""
        self.forgiven.append(pattern)

    def unforgiven(self) -> list[str]:
        return [text for text in self.complaints if not any(re.search(p, text) for p in self.forgiven)]

    def open(self, address: str = "/") -> Page:
        page = self.context.new_page()
        page.goto(address)
        return page

    def studio(self) -> Studio:
        return Studio(self.open())

    def sign_in(self, email: str, password: str) -> Page:
        page = self.open()
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="New clip")).to_be_visible()
        return page


class Studio:
    """The studio page: the composer on the left, live work on the right."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.button = page.locator("#generate")
        self.prompt = page.get_by_label("Prompt", exact=True)
        self.picture = page.locator(PICTURE)
        self.pill = page.locator("#wallet-pill")
        self.live = page.locator("#live")

    def choose(self, photo: Path) -> None:
        self.picture.locator("input[type=file]").set_input_files(photo)
        expect(self.picture.locator(".shot-name")).to_have_text(photo.name)

    def take_sample(self) -> None:
        if not self.picture.locator(".shot").count():
            self.picture.get_by_role("button", name="Use the sample picture").click()
        expect(self.picture.locator(".shot")).to_be_visible()

    def order(self, prompt: str) -> Locator:
        """Sample picture, prompt, Generate; returns the card."""
        self.take_sample()
        self.prompt.fill(prompt)
        self.button.click()
        return self.card(prompt)

    def card(self, prompt: str) -> Locator:
        """The one with this prompt; Playwright refuses to look at two."""
        return self.live.locator(".card", has=self.page.get_by_role("heading", name=prompt))


def figures(page: Page) -> dict[str, int]:
    """The wallet page's figures by their first word: available, held, captured, granted."""
    page.goto("/wallet/")
    names = page.locator("#wallet-figures dt").all_inner_texts()
    values = page.locator("#wallet-figures dd").all_inner_texts()
    pairs = zip(names, values, strict=True)
    return {name.split()[0].strip(",").lower(): int(value.replace(",", "")) for name, value in pairs}


def refuse(route: Route) -> None:
    """The answer of a network that lets nothing through."""
    route.abort()
