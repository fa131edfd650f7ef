"""One stack and one browser for all tests of this room; a context of its own for every person of every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, StorageState, expect

from config.stack import environment
from tests.browser.people import SLOW_MS, Person, Studio
from tests.browser.stack import Stack, running_stack

ADMIN, MEMBER = "demo@example.com", "member@example.com"
ORIENTATION, TURNED_RIGHT = 0x0112, 6
JOB_SECONDS = 1

Visit = Callable[..., Person]


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running_stack(job_seconds=JOB_SECONDS, concurrency=4, fast_clips=True) as running:
        yield running


@pytest.fixture(scope="session")
def signed_in(stack: Stack, browser: Browser) -> Callable[[str], StorageState]:
    """The cookies of a demo person who signed in once, on the page, in this session."""
    kept: dict[str, StorageState] = {}

    def state(email: str) -> StorageState:
        if email not in kept:
            context = browser.new_context(base_url=stack.url)
            Person(context).sign_in(email, stack.password)
            kept[email] = context.storage_state()
            context.close()
        return kept[email]

    return state


@pytest.fixture
def visit(stack: Stack, browser: Browser, signed_in: Callable[[str], StorageState]) -> Iterator[Visit]:
    """`visit()` is a stranger, `visit(MEMBER)` somebody signed in; options are those of a Playwright context.

    They have asked for less motion unless a test is about it: without a graphics card what moves takes a whole core.
    After the test no page of anybody may have complained in its console: no script error, nothing refused by the
    Content-Security-Policy, nothing missing.
    """
    people: list[Person] = []

    def arrive(email: str = "", **options: Any) -> Person:
        state = signed_in(email) if email else None
        options = {"reduced_motion": "reduce"} | options
        context = browser.new_context(base_url=stack.url, storage_state=state, **options)
        context.set_default_timeout(SLOW_MS)
        people.append(Person(context))
        return people[-1]

    yield arrive
    complaints = [text for person in people for text in person.unforgiven()]
    for person in people:
        person.context.close()
    assert complaints == []


@pytest.fixture
def studio(visit: Visit) -> Studio:
    """The studio of the demo team's member, with nothing in progress."""
    found = visit(MEMBER).studio()
    expect(found.pill).not_to_contain_text("held")
    return found


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """Another process does the work, perhaps on a machine that has much else to do."""
    expect.set_options(timeout=SLOW_MS)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG as a telephone writes it: the sensor's 720 x 1280, and a note that it was held sideways."""
    scene = Image.new("RGB", (1280, 720), "#9fc4e8")
    draw = ImageDraw.Draw(scene)
    draw.rectangle((0, 430, 1280, 720), fill="#2c5f73")
    draw.ellipse((880, 90, 1040, 250), fill="#fff3c4")
    draw.polygon([(420, 430), (760, 430), (690, 510), (490, 510)], fill="#7a3b2e")
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    path = tmp_path_factory.mktemp("photos") / "harbour.jpg"
    scene.transpose(Image.Transpose.ROTATE_90).save(path, "JPEG", quality=88, exif=exif)
    return path


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where screenshots are left to be looked at."""
    path = environment.TEST_DIRECTORY / "screenshots"
    path.mkdir(parents=True, exist_ok=True)
    return path
