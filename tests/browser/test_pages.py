"""Each page as it looks: axe-core finds nothing serious in light or dark, 360 px are enough, a keyboard is enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ADMIN, MEMBER, Visit
from tests.browser.people import Studio
from tests.browser.stack import Stack

AXE = (Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js").read_text()
RUN = """() => axe.run({
  resultTypes: ["violations"],
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}).then((it) => it.violations)"""
PAGES = {
    "studio": "/",
    "library": "/library/",
    "wallet": "/wallet/",
    "reports": "/reports/?period=90&at=2026-01-01T12:00",
    "alerts": "/alerts/",
    "alert settings": "/alerts/settings/",
    "team": "/team/",
    "budget": "/team/members/{member}/budget/",
    "engines": "/team/engines/",
    "add credits": "/wallet/grants/add/",
    "grant": "/wallet/grants/{grant}/",
    "generation": "{generation}",
    "receipt": "{generation}receipt/",
    "password": "/accounts/password/change/",
}
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def addresses(stack: Stack, browser: Any, signed_in: Any) -> dict[str, str]:
    """Where each page is, with a clip and a failure to show on it."""
    context = browser.new_context(base_url=stack.url, storage_state=signed_in(ADMIN))
    studio = Studio(context.new_page())
    studio.page.goto("/")
    failed = studio.order("[[sandbox: run=422:content_policy_violation seconds=1]] A refusal")
    ready = studio.order("A balloon rises over the fields, aerial, golden hour")
    expect(failed).to_contain_text("not charged")
    expect(ready).to_contain_text("Ready")
    generation = ready.get_by_role("link", name="Open", exact=True).get_attribute("href") or ""
    studio.page.goto("/team/")
    budget = studio.page.get_by_role("link", name="budget of Mika").get_attribute("href") or ""
    studio.page.goto("/wallet/")
    grant = studio.page.get_by_role("link", name="grant").first.get_attribute("href") or ""
    context.close()
    own = {"generation": generation, "receipt": f"{generation}receipt/"}
    return {**PAGES, **own, "budget": budget, "grant": grant}


@pytest.fixture
def walk(visit: Visit, stack: Stack, addresses: dict[str, str]) -> Any:
    """`for name, page in walk("dark")`: the sign-in page as a stranger sees it, then every page as an admin does."""

    def pages(theme: str, **options: Any) -> Iterator[tuple[str, Page]]:
        cookie = {"name": "theme", "value": theme, "url": stack.url}
        stranger, admin = visit(**options), visit(ADMIN, **options)
        for person in (stranger, admin):
            person.context.add_cookies([cookie])  # type: ignore[list-item]
        yield "sign-in", stranger.open("/accounts/login/")
        page = admin.open()
        for name, address in addresses.items():
            page.goto(address)
            yield name, page

    return pages


@pytest.mark.parametrize("theme", THEMES)
def test_no_page_has_a_serious_accessibility_violation(walk: Any, shots: Path, theme: str) -> None:
    found = []
    for name, page in walk(theme):
        assert page.locator("html").get_attribute("data-theme") == theme
        page.screenshot(path=shots / f"{name}-{theme}.png", full_page=True)
        found += [f"{name}: {said}" for said in violations(page)]
    assert found == []


def violations(page: Page) -> Iterator[str]:
    """What axe calls serious or critical, with the elements it means."""
    page.evaluate(AXE)
    for it in page.evaluate(RUN):
        if it["impact"] in {"serious", "critical"}:
            nodes = [f"{node['target']}: {node['any'] and node['any'][0]['message']}" for node in it["nodes"]]
            yield f"{it['id']}: {it['help']} {nodes[:6]}"


def test_no_page_scrolls_sideways_at_360_pixels(walk: Any, shots: Path) -> None:
    wide = []
    for name, page in walk("light", viewport={"width": 360, "height": 740}):
        page.screenshot(path=shots / f"{name}-360.png", full_page=True)
        width = page.evaluate("document.scrollingElement.scrollWidth")
        if width > 360:
            wide.append(f"{name}: {width} px")
    assert wide == []


@pytest.mark.parametrize("width", [360, 768, 1000, 1201, 1280, 1441])
def test_seven_tabs_with_a_count_and_credits_held_fit_in_one_line(visit: Visit, width: int) -> None:
    page = visit(ADMIN, viewport={"width": width, "height": 700}).open("/requests/")
    expect(page.locator(".nav > a")).to_have_count(7)
    page.evaluate(FILLED)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    nav = page.locator(".nav")
    # A tablet upright scrolls its tabs; everybody else sees them all.
    hidden = nav.evaluate("it => it.scrollWidth - it.clientWidth")
    assert width < 1000 or hidden == 0
    assert (nav.bounding_box() or {"height": 0})["height"] < 64


FILLED = """() => {
  const badge = document.querySelector(".nav .badge");
  badge.hidden = false;
  badge.textContent = "12";
  document.querySelector("#wallet-pill").innerHTML =
    '<span>12,345<span class="pill-word"> credits</span><span class="wide-only"> available</span></span>' +
    '<span class="held">1,470 held</span>';
}"""
FOCUSED = """() => {
  const it = document.activeElement, style = getComputedStyle(it);
  const near = it.matches("input[type=radio]") ? getComputedStyle(it.closest("label")) : style;
  const nearer = it.matches("input[type=radio]") ? getComputedStyle(it.nextElementSibling ?? it) : style;
  const shows = (one) => (one.outlineStyle !== "none" && parseFloat(one.outlineWidth) > 0) || one.boxShadow !== "none";
  return {
    id: it.id, name: (it.getAttribute("aria-label") ?? it.textContent ?? "").trim().slice(0, 40) || it.name,
    isVisible: [style, near, nearer].some(shows),
  };
}"""


def test_the_keyboard_alone_reaches_generate_with_the_focus_in_sight_and_ctrl_enter_sends(
    visit: Visit,
) -> None:
    studio = visit(MEMBER).studio()
    page = studio.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    stops = []
    for _ in range(40):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
        if stops[-1]["name"] == "Use the sample picture" or stops[-1]["name"].endswith("sample picture"):
            page.keyboard.press("Enter")
            expect(studio.picture.locator(".shot")).to_be_visible()
        elif stops[-1]["id"] == "in-prompt":
            page.keyboard.type("Only keys were pressed")
        elif stops[-1]["id"] == "generate":
            break
    assert stops[-1]["id"] == "generate"
    assert [stop for stop in stops if not stop["isVisible"]] == []
    studio.prompt.focus()
    page.keyboard.press("Control+Enter")
    expect(studio.card("Only keys were pressed")).to_contain_text("Ready")
