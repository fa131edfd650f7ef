"""`python -m tests.machine.play ACTS SEED [MINUTES]`: the machine in a house of its own; exits 1 on a finding.

It prints one JSON object, which says how many acts there were where the minutes ended them.

As the drill's, this process first becomes itself in the environment of that house; only then are the settings read.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from config.stack import environment
from generations.drill import house

CREDITS = 1_000
UP_SECONDS = 150
PATIENCE_SECONDS = 600


def main(acts: str, seed: str, minutes: str = "120") -> None:
    place = house.ours()
    if place is None:
        env = house.fresh().environment() | {"PYTHONPATH": str(environment.CHECKOUT)}
        os.chdir(environment.CHECKOUT)
        os.execve(sys.executable, [sys.executable, "-m", "tests.machine.play", acts, seed, minutes], env)  # noqa: S606
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    import django

    django.setup()
    report = play(place, wanted=int(acts), number=int(seed), minutes=float(minutes))
    print(json.dumps(report, indent=1))
    if any(report["rules"].values()) or report["wrong"]:
        sys.exit(1)


def play(place: house.House, *, wanted: int, number: int, minutes: float) -> dict[str, Any]:
    from django.db import connection

    from generations.drill import quiet
    from generations.drill.checks import Evidence
    from generations.drill.fal_books import FalBooks
    from generations.drill.plan import Plan
    from tests.machine import office, proof
    from tests.machine.rules import Run, turn

    began_at = time.monotonic()
    with _fleet(place) as fleet:
        books = FalBooks(place.sandbox_url)
        town = office.settle_in(CREDITS)
        desk = office.Office(town)
        for team in town.teams:
            desk.paper.note("the beginning", came={team.wallet.pk: CREDITS})
        run = Run(desk, fleet, wanted, ends_at=began_at + 60 * minutes)
        try:
            turn(run, number=number)
        finally:
            desk.close()
        acted_at = time.monotonic()
        is_quiet = quiet.wait(fleet, books, patience_seconds=PATIENCE_SECONDS, say=_say)
        paper = desk.paper
        evidence = Evidence(
            Plan(seed=number, orders=(), strikes=()), {str(each) for each in paper.wishes}, books
        )
        rules = proof.findings(proof.Case(town, paper, evidence))
        connection.close()
        return {
            "seed": number,
            "acts": run.acts,
            "steps": run.steps,
            "is_quiet": is_quiet,
            "act_seconds": round(acted_at - began_at, 1),
            "quiet_after_seconds": round(time.monotonic() - acted_at, 1),
            "generations": len(evidence.generations),
            "entries": proof.entries(),
            "killed": dict(sorted(run.kills.items())),
            "did": dict(paper.did.most_common()),
            "refused": dict(paper.refused.most_common()),
            "bill": proof.bill(),
            "wrong": paper.wrong,
            "rules": rules,
        }


@contextmanager
def _fleet(place: house.House) -> Iterator[Any]:
    from django.core.management import call_command

    from generations.drill.fleet import Fleet

    fleet = Fleet(place, dict(os.environ))
    try:
        fleet.start_servers()
        call_command("migrate", interactive=False, verbosity=0)
        urls = [f"{place.sandbox_url}/control", f"{place.web_url}/healthz"]
        fleet.tend_until_answered(urls, seconds=UP_SECONDS)
        yield fleet
    finally:
        fleet.stop()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
