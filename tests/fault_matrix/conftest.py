"""The installation, once for the session, and the members who use it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.fault_matrix.installation import Installation, pointed_at
from tests.fault_matrix.people import Member, settle
from tests.fault_matrix.tale import Tale

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


@pytest.fixture(scope="session")
def ann(running: Installation, django_db_blocker: DjangoDbBlocker) -> Member:
    """A member with credits for everything, signed in."""
    with django_db_blocker.unblock(), pointed_at(running.env["DATABASE_URL"]):
        return Member(settle("ann", credits=CREDITS), running.house.web_url).sign_in()


@pytest.fixture(autouse=True)
def site(running: Installation, django_db_blocker: DjangoDbBlocker) -> Iterator[Installation]:
    """The installation, with the ORM reading its database; whatever a test armed or froze is undone after it."""
    with django_db_blocker.unblock(), pointed_at(running.env["DATABASE_URL"]):
        running.fleet.tend()
        yield running
        running.arming.disarm()


@pytest.fixture
def order(site: Installation, ann: Member) -> Order:
    """Order a clip through the web's page; faults are given as the sandbox's directives."""

    def ordered(faults: str = "", **options: str) -> Tale:
        return Tale(ann.order(faults, **options), site)

    return ordered
