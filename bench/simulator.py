"""A replay of 90 days under a draft price and a daily cap, against the reading of the same rows alone."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal

from django.db import connection

from accounts import clock
from accounts.models import Team
from accounts.models.money import Period
from bench.pages import ENGINE, fill, tidy_up
from bench.people import make_team
from bench.report import Measurement, compare
from bench.sizes import sized
from generations import catalogue
from generations.models import PriceVersion
from generations.prices import Cap, Draft, simulate
from generations.prices.drift import scaled

SIZES = sized((10_000, 100_000), (500, 2_000))
ROUNDS = 3
DAYS = 90
DAY_CREDITS = 20_000


def measure() -> list[Measurement]:
    version = PriceVersion.objects.current(catalogue.get(ENGINE).endpoint_id)
    draft = Draft({ENGINE: scaled(version.rule, Decimal("1.1"))}, [Cap(DAY_CREDITS, Period.DAY)])
    found = []
    for size in SIZES:
        wallet = make_team(f"replayed {size}", amount=1_000)
        fill(wallet, version, size)
        tidy_up()
        rounds = [(_replayed(wallet.team, draft, size), _read(wallet.team)) for _ in range(ROUNDS + 1)][1:]
        found.append(
            compare(
                f"simulator: {DAYS} days, {size:,} generations, a dearer engine and a cap per day",
                [ours for ours, _ in rounds],
                [theirs for _, theirs in rounds],
                unit="s",
                versus="reading these rows in order, in raw SQL",
                conditions="one team, one process, warm; the first round of each is left out",
            )
        )
    return found


def _replayed(team: Team, draft: Draft, size: int) -> float:
    begun = time.perf_counter()
    outcome = simulate(draft, days=DAYS, team=team)
    taken = time.perf_counter() - begun
    if outcome.total.orders != size or not outcome.total.stopped:
        raise SystemExit(f"{outcome.total} instead of {size} orders, some of them stopped")
    return taken


def _read(team: Team) -> float:
    since = clock.now() - timedelta(days=DAYS)
    begun = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(_READ, {"team": team.pk, "since": since})
        cursor.fetchall()
    return time.perf_counter() - begun


_READ = """
SELECT g.created_at, g.user_id, g.engine, g.inputs, h.amount, h.captured, h.refunded, h.resolved_at
FROM generations_generation g JOIN accounts_hold h ON h.id = g.hold_id
WHERE g.team_id = %(team)s AND g.created_at >= %(since)s ORDER BY g.created_at, g.id
"""
