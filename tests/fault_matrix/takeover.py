"""A watcher is killed while clips run, and does not come back; another has to notice, by the lease production has.

It takes twenty seconds by rule, so a thread looks on while other tests go ahead with the watcher that is left.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field

import psycopg
from django.conf import settings

from generations.models import Generation
from generations.states import State
from tests.fault_matrix.installation import WATCHERS_LEASE_SECONDS, Installation
from tests.fault_matrix.people import Member
from tests.fault_matrix.tale import Tale

TAKEN_OVER_SECONDS = 30
ORDERS = 6
JOB_SECONDS = 12
LEFT = "SELECT count(*) FROM generations_generation WHERE lease_owner = %s"


@dataclass
class Takeover:
    """`orphans` are those the dead one had."""

    site: Installation
    victim: str
    dead: str
    tales: list[Tale]
    orphans: set[uuid.UUID]
    _killed_at: float = field(default_factory=time.monotonic)
    _taken_at: float | None = None

    def seconds(self) -> float:
        """How long it took until no lease was the dead watcher's."""
        self._looking.join()
        self.site.bring_up(self.victim)
        return (self._taken_at or float("inf")) - self._killed_at

    def begin(self) -> Takeover:
        self._looking = threading.Thread(target=self._look, daemon=True)
        self._looking.start()
        return self

    def _look(self) -> None:
        with psycopg.connect(self.site.env["DATABASE_URL"], autocommit=True) as database:
            while time.monotonic() < self._killed_at + 2 * TAKEN_OVER_SECONDS:
                left = database.execute(LEFT, [self.dead]).fetchone()
                if left == (0,):
                    self._taken_at = time.monotonic()
                    return
                time.sleep(0.1)


def begun(site: Installation, member: Member) -> Takeover:
    """Orders that run, watched by both; then one of the two is dead."""
    assert WATCHERS_LEASE_SECONDS == settings.LEASE_SECONDS
    tales = [Tale(member.order(f"webhook=none seconds={JOB_SECONDS}"), site) for _ in range(ORDERS)]
    rows = Generation.objects.filter(pk__in=[tale.pk for tale in tales], lease_owner__startswith="watch@")
    running = rows.filter(state=State.RUNNING)
    site.wait(lambda: running.count() == len(tales), what="all run and are watched")
    pids = {name: site.pid(name) for name in site.names("watcher")}
    dead = rows.values_list("lease_owner", flat=True).first()
    victim = next(name for name, pid in pids.items() if f":{pid}:" in str(dead))
    orphans = set(rows.filter(lease_owner=dead).values_list("pk", flat=True))
    site.kill(victim, down_seconds=2 * TAKEN_OVER_SECONDS)
    return Takeover(site, victim, str(dead), tales, orphans).begin()
