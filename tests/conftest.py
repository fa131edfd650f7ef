"""What all tests share: where Chromium is, and what happens to the browser tests where there is none."""

import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext

from accounts import clock

BROWSER_TESTS = Path(__file__).parent / "browser"
BROWSER_FILES = sorted(path.name for path in BROWSER_TESTS.glob("test_*.py"))
NO_CHROMIUM = "there is no Chromium on PATH; to run the browser tests: sudo apt-get install chromium"


def chromium() -> str:
    """The path of the browser, empty where there is none. CHROMIUM names another than those on PATH."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, filter(None, names)) if path), "")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Browser tests share two workers and come last there; without Chromium they are skipped, aloud.

    Last, because the synchronous Playwright leaves an event loop running in the thread, and every test after it that
    brings a loop of its own, or asks the database anything, would be refused.
    """
    for item in filter(_needs_browser, items):
        # Here and not in a hook of that folder: xdist reads the group in the same round of hooks.
        item.add_marker(pytest.mark.browser)
        half = BROWSER_FILES.index(item.path.name) % 2
        item.add_marker(pytest.mark.xdist_group(f"browser {half}"))
        if not chromium():
            item.add_marker(pytest.mark.skip(reason=NO_CHROMIUM))
    yield
    # After everybody: pytest itself puts tests together that share a parametrised fixture, wherever the first one is.
    items.sort(key=_needs_browser)


def _needs_browser(item: pytest.Item) -> bool:
    return BROWSER_TESTS in item.path.parents


@pytest.fixture(scope="session", autouse=True)
def no_look_at_the_clock_is_counted() -> Generator[None, None, None]:
    """It is looked at every half minute: one statement more for whichever test counts its statements at that moment."""
    enter = CaptureQueriesContext.__enter__

    def enter_after_a_look(context: CaptureQueriesContext) -> CaptureQueriesContext:
        clock.forget()
        clock.now()
        return enter(context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CaptureQueriesContext, "__enter__", enter_after_a_look)
        yield


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's Chromium instead of a download; root runs it without a sandbox, which it would refuse."""
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    args = [*quiet, "--no-sandbox"] if os.geteuid() == 0 else quiet
    return {**browser_type_launch_args, "executable_path": chromium(), "args": args}
