"""One drill from the first process to the certificate. `begin` is called from any environment, `perform` in its own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx
from django.core.management import call_command
from django.db import Error, connection

from config.stack import environment
from generations.drill import customers, house
from generations.drill.certificate import Certificate, figures
from generations.drill.checks import Evidence, findings
from generations.drill.customers import Crowd
from generations.drill.fal_books import FalBooks
from generations.drill.fleet import Fleet
from generations.drill.plan import Plan
from generations.drill.saboteur import Saboteur
from generations.models import Attempt, Delivery, Generation

TICK_SECONDS = 0.05
LOOK_SECONDS = 1.0
UP_SECONDS = 60
SAY_SECONDS = 15
# Seen twice in a row, so that a bell still on its way does not pass for quiet.
QUIET_LOOKS = 2

Say = Callable[[str], object]


def begin(arguments: list[str]) -> None:
    """Replace this process by the same command in a house of its own; does not return."""
    place = house.fresh()
    os.chdir(environment.CHECKOUT)
    os.execve(sys.executable, [sys.executable, "manage.py", "drill", *arguments], place.environment())  # noqa: S606


@dataclass
class Performance:
    """A drill in the house this process stands in."""

    house: house.House
    plan: Plan
    patience_seconds: float
    say: Say

    def perform(self, *, keeps_logs: bool = False) -> Certificate:
        """Start, strike, wait, check, and leave nothing; the logs stay where a rule was broken."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        began_at = time.monotonic()
        self.fleet = Fleet(self.house, dict(os.environ))
        self.books = FalBooks(self.house.sandbox_url)
        try:
            certificate = self._performed(began_at)
        finally:
            connection.close()
            self.fleet.stop()
        self._tidy(keeps_logs=keeps_logs or not certificate.is_clean)
        return certificate

    def _performed(self, began_at: float) -> Certificate:
        self.fleet.start_servers()
        call_command("migrate", interactive=False, verbosity=0)
        self.crowd = Crowd(customers.settle_in(), self.house.web_url)
        url, broker = os.environ["DATABASE_URL"], os.environ["REDIS_URL"]
        self.saboteur = Saboteur(self.fleet, self.books, url, broker, self.plan.strikes)
        self._come_up()
        self.say(f"Up after {time.monotonic() - began_at:.0f} s; ordering begins.")
        try:
            self._strike_while_they_order()
            struck_at = time.monotonic()
            self._wait_for_quiet()
        finally:
            self.saboteur.undo_all()
            self.crowd.close()
        return self._certified(began_at=began_at, quiet_seconds=time.monotonic() - struck_at)

    def _come_up(self) -> None:
        """Wait for web and sandbox, the two that others knock at."""
        ends_at = time.monotonic() + UP_SECONDS
        waiting = [f"{self.house.sandbox_url}/control", f"{self.house.web_url}/accounts/login/"]
        while waiting and time.monotonic() < ends_at:
            self.fleet.tend()
            with suppress(httpx.HTTPError):
                httpx.get(waiting[0], timeout=5)
                waiting.pop(0)
            time.sleep(TICK_SECONDS)

    def _strike_while_they_order(self) -> None:
        began_at, came = time.monotonic(), 0
        ends_at = began_at + self.plan.seconds + self.patience_seconds
        while not (came == len(self.plan.orders) and self.saboteur.is_over and self.crowd.is_served):
            elapsed = time.monotonic() - began_at
            self.fleet.tend()
            self.saboteur.tick(elapsed)
            while came < len(self.plan.orders) and self.plan.orders[came].at_seconds <= elapsed:
                self.crowd.come(self.plan.orders[came])
                came += 1
            if time.monotonic() > ends_at:
                self.say("Patience is at its end while members still order.")
                return
            time.sleep(TICK_SECONDS)
        self.say(
            f"{came} orders and {self.saboteur.done.total()} strikes after {elapsed:.0f} s; waiting for quiet."
        )

    def _wait_for_quiet(self) -> None:
        ends_at, looks, said_at = time.monotonic() + self.patience_seconds, 0, time.monotonic()
        while looks < QUIET_LOOKS and time.monotonic() < ends_at:
            self.fleet.tend()
            time.sleep(LOOK_SECONDS)
            try:
                loud = self._loud()
            except Error as error:
                connection.close()
                loud = str(error)
            looks = 0 if loud else looks + 1
            if loud and time.monotonic() - said_at > SAY_SECONDS:
                said_at = time.monotonic()
                self.say(f"  not quiet yet: {loud}")

    def _loud(self) -> str:
        """What still moves, in words; "" when nothing does."""
        ours = {
            "unsettled generations": Generation.objects.unsettled().count(),
            "open attempts": Attempt.objects.open().count(),
            "deliveries to act upon": Delivery.objects.filter(processed_at__isnull=True).count(),
        }
        jobs = [job["request_id"] for job in self.books.jobs() if job["state"] != "COMPLETED"]
        if not any(ours.values()):
            for request_id in jobs:  # given up here, stuck there: its late end belongs to the drill
                with suppress(httpx.HTTPError):
                    self.books.finish(request_id)
        moving = ("waiting", "sending")
        theirs = {
            "jobs at fal": len(jobs),
            "webhooks on the way": sum(each["state"] in moving for each in self.books.webhooks()),
        }
        return ", ".join(f"{n} {name}" for name, n in (ours | theirs).items() if n)

    def _certified(self, *, began_at: float, quiet_seconds: float) -> Certificate:
        evidence = Evidence(self.plan, set(self.crowd.wishes), self.books)
        return Certificate(
            seed=self.plan.seed,
            plan_digest=self.plan.digest,
            orders=len(self.plan.orders),
            strikes=dict(self.saboteur.done.most_common()),
            strikes_missed=dict(self.saboteur.missed),
            ended_processes=dict(self.fleet.ends.most_common()),
            refusals_on_the_way=dict(self.crowd.said.most_common()),
            rules=findings(evidence),
            duration_seconds=round(time.monotonic() - began_at, 1),
            quiet_after_seconds=round(quiet_seconds, 1),
            **figures(evidence),
        )

    def _tidy(self, *, keeps_logs: bool) -> None:
        for path in self.house.directory.iterdir():
            if path.is_dir() and not (keeps_logs and path == self.house.logs):
                shutil.rmtree(path, ignore_errors=True)
        if keeps_logs:
            self.say(f"The logs of all processes are in {self.house.logs.relative_to(environment.CHECKOUT)}.")
