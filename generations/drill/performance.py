"""One drill from the first process to the certificate. `begin` is called from any environment, `perform` in its own."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.core.management import call_command
from django.db import connection

from config.stack import environment
from generations.drill import customers, house, quiet
from generations.drill.certificate import Certificate, figures
from generations.drill.checks import Evidence, findings
from generations.drill.customers import Crowd
from generations.drill.fal_books import FalBooks
from generations.drill.fleet import Fleet
from generations.drill.plan import Plan
from generations.drill.saboteur import Saboteur

TICK_SECONDS = 0.05
UP_SECONDS = 60

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
            quiet.wait(self.fleet, self.books, patience_seconds=self.patience_seconds, say=self.say)
        finally:
            self.saboteur.undo_all()
            self.crowd.close()
        return self._certified(began_at=began_at, quiet_seconds=time.monotonic() - struck_at)

    def _come_up(self) -> None:
        """Wait for web and sandbox, the two that others knock at."""
        urls = [f"{self.house.sandbox_url}/control", f"{self.house.web_url}/accounts/login/"]
        self.fleet.tend_until_answered(urls, seconds=UP_SECONDS)

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
