"""The installation, once for the session, and the members who use it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.fault_matrix.installation import Installation, pointed_at
from tests.fault_matrix.people import Member, settle
from tests.fault_matrix.takeover import Takeover, begun
from tests.fault_matrix.tale import Tale
from tests.fault_matrix.weather import Weather, endured, scratch

CREDITS = 1_000_000
Order = Callable[..., Tale]


@pytest.fixture(scope="session")
def running(django_db_blocker: DjangoDbBlocker) -> Iterator[Installation]:
    site = Installation.prepared()
    try:
        with django_db_blocker.unblock(), pointed_at(site.env["DATABASE_URL"]):
            site.start()
        yield site
    finally:
        site.stop()
        shutil.rmtree(site.house.directory / "postgres", ignore_errors=True)


@pytest.fixture(scope="module")
def in_its_database(running: Installation, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The ORM reads the installation's database, for fixtures and tests of a module alike."""
    with django_db_blocker.unblock(), pointed_at(running.env["DATABASE_URL"]):
        yield


@pytest.fixture(scope="session")
def ann(running: Installation, django_db_blocker: DjangoDbBlocker) -> Member:
    """A member with credits for everything, signed in."""
    with django_db_blocker.unblock(), pointed_at(running.env["DATABASE_URL"]):
        return Member(settle("ann", amount=CREDITS), running.house.web_url).sign_in()


@pytest.fixture(scope="session")
def takeover(running: Installation, ann: Member, django_db_blocker: DjangoDbBlocker) -> Takeover:
    with django_db_blocker.unblock(), pointed_at(running.env["DATABASE_URL"]):
        return begun(running, ann)


@pytest.fixture(scope="session")
def scratch_left() -> set[str]:
    """What the bad weather left of files in the making."""
    return set()


@pytest.fixture(scope="session")
def weather(
    running: Installation,
    ann: Member,
    takeover: Takeover,
    scratch_left: set[str],
    django_db_blocker: DjangoDbBlocker,
) -> Weather:
    with django_db_blocker.unblock(), pointed_at(running.env["DATABASE_URL"]):
        before = scratch(running)
        found = endured(running, ann)
    scratch_left |= {path.name for path in scratch(running) - before}
    return found


@pytest.fixture(autouse=True)
def site(running: Installation, in_its_database: None) -> Iterator[Installation]:
    """The installation, with everything up; whatever a test armed is undone after it."""
    running.fleet.tend()
    running.wait(running.is_up, what="web and sandbox answer")
    yield running
    running.arming.disarm()


@pytest.fixture
def order(site: Installation, ann: Member) -> Order:
    """Order a clip through the web's page; faults are given as the sandbox's directives."""

    def ordered(faults: str = "", **options: str) -> Tale:
        return Tale(ann.order(faults, **options), site)

    return ordered
