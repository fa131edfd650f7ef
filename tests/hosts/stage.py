"""What every scenario needs: a fleet that is kept up, members who order through the pages, and the books at the end."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from django.core.management import call_command
from django.db import Error, connection

from generations.drill import customers
from generations.drill.checks import Evidence, findings
from generations.drill.customers import Crowd, Customer
from generations.drill.fal_books import FalBooks
from generations.drill.fleet import Fleet
from generations.drill.house import House
from generations.drill.jobs import Host
from generations.drill.plan import Order, Plan
from generations.models import Delivery, Generation
from generations.states import SETTLED

ENGINE = "fal-ai/wan/v2.2-a14b/text-to-video/turbo"
UP_SECONDS = 150
TICK_SECONDS = 0.05


@dataclass
class Stage:
    """`tend_until` keeps everything up meanwhile; all of it runs in the thread that lives until the end."""

    place: House
    hosts: Sequence[Host]
    workers: int = 1
    watchers: int = 1
    orders: list[Order] = field(default_factory=list)
    # When, in seconds from the beginning, what was waited for.
    phases: list[tuple[float, str]] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.fleet = Fleet(
            self.place, dict(os.environ), workers=self.workers, watchers=self.watchers, hosts=self.hosts
        )
        self.books = FalBooks(self.place.sandbox_url)
        ports = [host.web_port or self.place.web_port for host in self.hosts]
        self.webs = [f"http://127.0.0.1:{port}" for port in ports]

    @contextmanager
    def up(self) -> Iterator[Stage]:
        try:
            self.fleet.start_servers()
            call_command("migrate", interactive=False, verbosity=0)
            self.customers = customers.settle_in()
            self.crowds = [Crowd(self.customers, url) for url in self.webs]
            for url in (f"{self.place.sandbox_url}/control", *(f"{web}/healthz" for web in self.webs)):
                self.tend_until(lambda url=url: _answers(url), seconds=UP_SECONDS, what=url)
            yield self
        finally:
            connection.close()
            self.fleet.stop()

    def tend_until(self, is_done: Callable[[], bool], *, seconds: float, what: str) -> float:
        """How long it took. Raises AssertionError where it takes longer than `seconds`."""
        began_at = time.monotonic()
        self.phases.append((round(began_at - self.began_at, 1), what))
        while not is_done():
            self.fleet.tend()
            assert time.monotonic() < began_at + seconds, f"not within {seconds} s: {what}"
            time.sleep(TICK_SECONDS)
        return time.monotonic() - began_at

    def tend_for(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        self.tend_until(lambda: time.monotonic() > ends_at, seconds=seconds + 60, what="time")

    def order(self, *faults: str, count: int = 1, via: int | None = None) -> None:
        """So many presses of Generate, through the webs in turn or through one of them."""
        for _ in range(count):
            number = len(self.orders)
            made = Order(
                number=number,
                at_seconds=0,
                member=number % len(self.customers),
                engine=ENGINE,
                faults=faults,
                form_token=str(uuid.uuid4()),
                is_http=True,
                is_double=False,
                cancel_after_seconds=None,
            )
            self.orders.append(made)
            self.crowds[number % len(self.crowds) if via is None else via].come(made)

    def order_now(self, *, via: int = 0) -> float:
        """One press of Generate; the seconds until it was taken."""
        began_at = time.monotonic()
        self.order("seconds=1", via=via)
        self.tend_until(self.are_placed, seconds=60, what="one order")
        return time.monotonic() - began_at

    def are_placed(self, crowds: Iterable[Crowd] | None = None) -> bool:
        return all(crowd.is_served for crowd in crowds or self.crowds)

    def is_quiet(self) -> bool:
        with suppress(Error):
            settled = Generation.objects.filter(state__in=SETTLED).count()
            waiting = Delivery.objects.filter(processed_at__isnull=True).exists()
            return settled == len(self.orders) and not waiting
        connection.close()
        return False

    def verdict(self) -> dict[str, Any]:
        """Every rule of the drill, by name with what breaks it; how the generations ended; POSTs and attempts."""
        evidence = Evidence(Plan(seed=0, orders=tuple(self.orders), strikes=()), set(), self.books)
        states = [each.state for each in evidence.generations]
        return {
            "broken": {rule: found for rule, found in findings(evidence).items() if found},
            "states": {state: states.count(state) for state in set(states)},
            "orders": len(self.orders),
            "posts": len(evidence.posts),
            "attempts": len(evidence.attempts),
            "phases": [f"{at:6.1f} {what}" for at, what in self.phases if what != "time"],
            "ended_processes": dict(self.fleet.ends),
        }


class Visitor:
    """Somebody who opens pages all the time, in a thread of their own; `slowest_seconds` is the longest wait."""

    def __init__(self, url: str, customer: Customer) -> None:
        self.slowest_seconds = 0.0
        self.pages = 0
        self.failures: list[str] = []
        self._is_over = threading.Event()
        self._cookies = "; ".join(f"{name}={value}" for name, value in customer.cookies.items())
        self._thread = threading.Thread(target=self._visit, args=(url,), daemon=True)
        self._thread.start()

    def leave(self) -> dict[str, Any]:
        self._is_over.set()
        self._thread.join()
        return {
            "slowest_seconds": round(self.slowest_seconds, 2),
            "pages": self.pages,
            "failures": self.failures[:5],
        }

    def _visit(self, url: str) -> None:
        with httpx.Client(base_url=url, timeout=30, headers={"Cookie": self._cookies}) as http:
            while not self._is_over.wait(0.1):
                began_at = time.monotonic()
                answer = http.get("/")
                self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began_at)
                self.pages += 1
                if answer.status_code != 200:
                    self.failures.append(f"HTTP {answer.status_code}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
