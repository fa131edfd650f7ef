"""How people press: each act twice at the same moment, again while a server is away; what was answered is counted."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from django.db import Error, connection

from accounts import ledger
from accounts.errors import LedgerError
from accounts.models import Membership, Team, User
from accounts.models.people import Role
from generations import catalogue, fal, lifecycle, media
from generations.asking import AskingError
from generations.prices.book import PriceError
from tests.machine.paper import Paper, Town

Value = TypeVar("Value")

ACTS_AT_ONCE = 4
AWAY_SECONDS = 60
TICK_SECONDS = 0.1
# What may be answered instead of a yes. Anything else is a fault of ours.
REFUSALS = (LedgerError, AskingError, PriceError, lifecycle.LifecycleError, catalogue.CatalogueError)
AWAY = (Error, media.StorageUnavailable, fal.FalError, httpx.TransportError)


@dataclass
class Office:
    """Where acts are done. `numbers` gives each its idempotency key."""

    town: Town
    paper: Paper = field(default_factory=Paper)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self._acts = ThreadPoolExecutor(ACTS_AT_ONCE, thread_name_prefix="act")
        self._presses = ThreadPoolExecutor(2 * ACTS_AT_ONCE, thread_name_prefix="press")

    def at_once(self, acts: Sequence[Callable[[], object]], *, meanwhile: Callable[[], object]) -> None:
        """All of them beside each other; what they did not expect is a complaint on paper."""
        waiting = {self._acts.submit(_with_connection, act) for act in acts}
        while waiting:
            meanwhile()
            done, waiting = wait(waiting, timeout=TICK_SECONDS)
            self._note(done)

    def _note(self, done: Iterable[Future[object]]) -> None:
        for future in done:
            try:
                future.result()
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the run by being written down
                self.paper.complain(f"not expected: {type(error).__name__}: {error}")

    def twice(self, name: str, press: Callable[[], Value]) -> Value | None:
        """Two presses at once: the same yes twice, a yes and a refusal, or two refusals; None where nobody said yes."""
        presses = [self._presses.submit(_with_connection, lambda: _patiently(press)) for _ in range(2)]
        said: list[Value] = []
        for each in presses:
            try:
                said.append(each.result())
            except REFUSALS as error:
                self.paper.refuse(name, error)
        if len(said) == 2 and None not in said and said[0] != said[1]:
            self.paper.complain(f"{name}, pressed twice, was answered {said[0]} and {said[1]}")
        return next((answer for answer in said if answer is not None), None)

    def close(self) -> None:
        self._acts.shutdown()
        self._presses.shutdown()


def _with_connection(work: Callable[[], Value]) -> Value:
    try:
        return work()
    finally:
        connection.close()


def _patiently(press: Callable[[], Value]) -> Value:
    ends_at = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return press()
        except AWAY:
            connection.close()
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.3)


def settle_in(purse: int) -> Town:
    """Two teams with some credits, and whoever acts for them."""
    teams, admins, members = [], [], []
    pictures: dict[int, Any] = {}
    bursar = User.objects.create_superuser("bursar@example.com", "not used", name="Bursar")
    for number in range(2):
        team = Team.objects.create(name=f"Machine {number}", slug=f"machine-{number}")
        wallet = ledger.open_wallet(team)
        ledger.grant(
            wallet,
            amount=purse,
            source="purchase",
            reason="The beginning",
            idempotency_key=f"begin:{number}",
        )
        for who in ("admin", "one", "two"):
            user = User.objects.create_user(f"{who}{number}@example.com", "not used", name=f"{who} {number}")
            role = Role.ADMIN if who == "admin" else Role.MEMBER
            membership = Membership.objects.create(team=team, user=user, role=role)
            pictures[user.pk] = media.sample_picture(team=team, user=user)
            (admins.append(user) if role == Role.ADMIN else members.append(membership))
        teams.append(team)
    return Town(bursar, teams, admins, members, pictures)
