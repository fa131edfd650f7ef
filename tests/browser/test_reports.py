"""The reports as an admin sees them: the charts are drawn from the tables, under the strict policy, in both themes."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ADMIN, Visit
from tests.browser.people import Studio


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_chart_is_drawn_beside_its_numbers(visit: Visit, shots: Path, theme: str) -> None:
    person = visit(ADMIN, color_scheme=theme)
    studio = Studio(person.open())
    expect(studio.order(f"A lantern in the {theme}")).to_contain_text("Ready")
    page = studio.page
    page.goto("/reports/?period=7")
    for kind in ("stacked", "share", "burn"):
        chart = page.locator(f'canvas[data-chart="{kind}"]')
        expect(chart).to_be_visible()
        expect(chart).to_have_attribute("role", "img")
        drawn = chart.evaluate(
            "it => it.getContext('2d').getImageData(0, 0, it.width, it.height).data.some((value) => value)"
        )
        assert drawn, f"{kind} is empty"
    page.screenshot(path=shots / f"reports-charts-{theme}.png", full_page=True)
    with page.expect_download() as download:
        page.get_by_role("link", name="Entries as CSV").click()
    assert "captured_delta" in download.value.path().read_text()


def test_without_javascript_the_tables_are_there_and_the_filter_works(visit: Visit) -> None:
    page = visit(ADMIN, java_script_enabled=False).open("/reports/?period=30")
    page.get_by_label("Period").select_option("90")
    page.get_by_role("button", name="Show").click()
    assert "period=90" in page.url
    expect(page.locator("canvas")).to_have_count(page.locator("canvas[hidden]").count())
    expect(page.get_by_role("heading", name="How long the wallet lasts")).to_be_visible()
