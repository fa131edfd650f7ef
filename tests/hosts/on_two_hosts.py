"""Two hosts on one PostgreSQL, one Valkey, one bucket and one fal. One is torn away in the middle of the work."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from typing import Any

from config.stack import places
from generations.drill.house import House
from generations.drill.jobs import Host
from generations.models import Generation
from generations.states import AT_FAL, SETTLED
from tests.hosts.stage import Stage, Visitor

# What production has: a lease of 20 s. The drill's hurry would hide how long a takeover takes.
DEFAULTS = {"LEASE_SECONDS": "20", "SWEEP_SECONDS": "15", "LOST_DEADLINE_SECONDS": "300"}
FROZEN_SECONDS = 5
SETTLED_SECONDS = 180


def play(place: House) -> dict[str, Any]:
    """Orders through both webs, a broker frozen for a while, one host killed, and everything settled by the other."""
    with Stage(place, [_host(place, name) for name in ("a", "b")]).up() as stage:
        leases = Leases(stage)
        frozen = _with_a_frozen_broker(stage)
        stage.order("seconds=1", count=17)
        stage.order("seconds=1", "download=slow:4", count=4)
        stage.order("seconds=12", count=15)
        stage.tend_until(stage.are_placed, seconds=60, what="every order is taken")
        stage.tend_until(leases.are_shared, seconds=60, what="a watcher holds rows that run for long")
        lost = leases.of_the_busiest()
        before = leases.seen_by_generation()
        settled_before = Generation.objects.filter(state__in=SETTLED).count()
        stage.fleet.kill_host(lost.host)
        killed_at = time.monotonic()
        stage.tend_until(lambda: leases.are_taken_over(lost.rows), seconds=90, what="the rows are taken over")
        takeover_seconds = time.monotonic() - killed_at
        stage.tend_until(stage.is_quiet, seconds=SETTLED_SECONDS, what="everything is settled")
        return stage.verdict() | {
            "frozen_broker": frozen,
            "settled_before": settled_before,
            "taken_over": len(lost.rows),
            "takeover_seconds": round(takeover_seconds, 1),
            "watched": len(before),
            "most_watchers_of_one_row": max(len(owners) for owners in before.values()),
            "watchers": sorted({owner for owners in before.values() for owner in owners}),
        }


def _host(place: House, name: str) -> Host:
    """Its own directories, as on a machine of its own; nobody calls us, so that only watchers notice an end."""
    own = {"CLIPLEDGER_RUN_DIRECTORY": str(places.private_directory(place.directory / f"host-{name}"))}
    temporary = str(places.private_directory(place.directory / f"tmp-{name}"))
    env = {**DEFAULTS, **own, "TMPDIR": temporary, "FAL_WEBHOOK_BASE_URL": ""}
    return Host(name, places.free_port(), env)


def _with_a_frozen_broker(stage: Stage) -> dict[str, Any]:
    """Valkey is everything at once here: broker, cache and the bell of open pages."""
    usual_seconds = max(stage.order_now(via=0), stage.order_now(via=1))
    visitor = Visitor(stage.webs[0], stage.customers[0])
    stage.tend_for(1)
    os.kill(stage.fleet.pid_of_broker(), signal.SIGSTOP)
    try:
        frozen_at = time.monotonic()
        frozen_seconds = max(stage.order_now(via=0), stage.order_now(via=1))
        stage.tend_for(max(frozen_at + FROZEN_SECONDS - time.monotonic(), 0))
    finally:
        os.kill(stage.fleet.pid_of_broker(), signal.SIGCONT)
    return {
        "pages": visitor.leave(),
        "usual_order_seconds": round(usual_seconds, 2),
        "order_seconds": round(frozen_seconds, 2),
    }


class Lost:
    def __init__(self, host: str, rows: set[Any]) -> None:
        self.host, self.rows = host, rows


class Leases:
    """Who was seen holding which row, looked at whenever somebody asks."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._seen: dict[Any, set[str]] = defaultdict(set)

    def look(self) -> dict[Any, str]:
        """The holder of each row that fal is busy with, now."""
        rows = Generation.objects.filter(state__in=AT_FAL, lease_owner__startswith="watch@")
        found = dict(rows.values_list("pk", "lease_owner"))
        for pk, owner in found.items():
            self._seen[pk].add(owner)
        return found

    def seen_by_generation(self) -> dict[Any, set[str]]:
        return dict(self._seen)

    def are_shared(self) -> bool:
        """Work has been finished, and somebody holds at least three rows that fal still runs."""
        held = list(self.look().values())
        is_under_way = Generation.objects.filter(state__in=SETTLED).count() >= 8
        return is_under_way and any(held.count(owner) >= 3 for owner in held)

    def of_the_busiest(self) -> Lost:
        held = self.look()
        owners = list(held.values())
        busiest = max(owners, key=owners.count)
        return Lost(self._host_of(busiest), {pk for pk, owner in held.items() if owner == busiest})

    def _host_of(self, owner: str) -> str:
        for each in self._stage.fleet.all.values():
            if each.process and f":{each.process.pid}:" in owner:
                return each.host.name
        raise AssertionError(f"{owner} is none of the watchers")

    def are_taken_over(self, rows: set[Any]) -> bool:
        """Each of them is held by a watcher that lives, or is past watching."""
        up = [each for each in self._stage.fleet.all.values() if each.process and not each.is_down]
        alive = {f":{each.process.pid}:" for each in up if each.process}
        left = Generation.objects.filter(pk__in=rows, state__in=AT_FAL).values_list("lease_owner", flat=True)
        return all(any(mark in owner for mark in alive) for owner in left)
