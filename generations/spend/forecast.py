"""How the wallet goes down day by day, and the day on which it would run dry if it went on like that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from accounts.ledger.check import snapshot
from accounts.models import Entry, Grant, Wallet
from generations.spend.totals import tail

# Long enough for a week to count twice, short enough to follow a team that changed its pace.
RATE_DAYS = 14
HORIZON_DAYS = 366
MOST_POINTS = 370


@dataclass
class Forecast:
    """`past` is what was available at the end of each day, today's so far; `future` what would be left.

    `per_day` is what was captured on a day of late, net of refunds, in credits; `dry_on` None where the credits outlast
    a year or nothing is used. `expiring` are credits that would expire before they are used.
    """

    past: list[tuple[date, int]] = field(default_factory=list)
    future: list[tuple[date, int]] = field(default_factory=list)
    per_day: float = 0.0
    dry_on: date | None = None
    expiring: int = 0


# The wallet's own row stands beside the sums, so both are of one moment, and no row from before the first day is read.
_MOVES = """
SELECT (SELECT available FROM accounts_wallet WHERE id = %(wallet)s), day, sum(available_delta), sum(captured_delta)
FROM (
    SELECT day, available_delta, captured_delta FROM generations_dailyspend
    WHERE wallet_id = %(wallet)s AND day >= %(since)s
    UNION ALL
    SELECT (created_at AT TIME ZONE %(zone)s)::date, available_delta, captured_delta FROM accounts_entry
    WHERE wallet_id = %(wallet)s AND seq > %(after)s AND seq <= %(until)s
      AND (created_at AT TIME ZONE %(zone)s)::date >= %(since)s
) moves GROUP BY day ORDER BY day DESC
"""


def burn_down(wallet: Wallet, *, first: date, today: date, zone: ZoneInfo) -> Forecast:
    """From `first`, at most a year back, to today, and on from there."""
    opened_on = _opened_on(wallet, zone)
    first = max(min(first, today), today - timedelta(days=MOST_POINTS), opened_on)
    since = min(first, today - timedelta(days=RATE_DAYS))
    with snapshot(), connection.cursor() as cursor:
        params: dict[str, Any] = {
            "wallet": wallet.pk,
            "zone": zone.key,
            "since": since,
            **tail(wallet),
        }
        cursor.execute(_MOVES, params)
        found = cursor.fetchall()
    available = int(found[0][0]) if found else wallet.available
    moved = {day: (int(delta), int(captured)) for _, day, delta, captured in found}
    per_day = _rate(moved, opened_on, today=today)
    past = _past(available, moved, first=first, today=today)
    return _ahead(Forecast(past=past, per_day=per_day), _lots(wallet, zone), today=today)


def _opened_on(wallet: Wallet, zone: ZoneInfo) -> date:
    """The day of its first entry; an empty book has none."""
    dated = Entry.objects.filter(wallet=wallet).order_by("created_at").values_list("created_at", flat=True)
    return (dated.first() or wallet.created_at).astimezone(zone).date()


def _rate(moved: dict[date, tuple[int, int]], opened_on: date, *, today: date) -> float:
    """Captured per day over the last days before today; for a younger wallet, since it was opened."""
    days = min(RATE_DAYS, (today - opened_on).days)
    if days < 1:
        return float(max(0, moved.get(today, (0, 0))[1]))
    counted = (today - timedelta(days=back) for back in range(1, days + 1))
    return max(0, sum(moved.get(day, (0, 0))[1] for day in counted)) / days


def _past(
    available: int, moved: dict[date, tuple[int, int]], *, first: date, today: date
) -> list[tuple[date, int]]:
    """Back from what is there now: the end of a day is the next one's without what that one moved."""
    left = available - sum(delta for day, (delta, _) in moved.items() if day > today)
    points, day = [], today
    while day >= first:
        points.append((day, left))
        left -= moved.get(day, (0, 0))[0]
        day -= timedelta(days=1)
    return points[::-1]


def _lots(wallet: Wallet, zone: ZoneInfo) -> list[tuple[date | None, int]]:
    """What is left of each grant with the day it expires on, in the order they are burnt."""
    open_grants = Grant.objects.filter(wallet=wallet, is_open=True).values_list("expires_at", "remaining")
    dated = [(_on(expires_at, zone), left) for expires_at, left in open_grants]
    return sorted(dated, key=lambda lot: lot[0] or date.max)


def _on(moment: datetime | None, zone: ZoneInfo) -> date | None:
    return moment.astimezone(zone).date() if moment else None


def _ahead(made: Forecast, lots: Sequence[tuple[date | None, int]], *, today: date) -> Forecast:
    """Day by day: what expires goes, then what a day takes, from the grant that expires first."""
    left = [(day or date.max, float(amount)) for day, amount in lots]
    made.future = [(today, math.floor(sum(amount for _, amount in left)))]
    for ahead in range(1, HORIZON_DAYS + 1):
        day = today + timedelta(days=ahead)
        made.expiring += math.floor(sum(amount for expires_on, amount in left if expires_on < day))
        left = _used([lot for lot in left if lot[0] >= day], made.per_day)
        rest = sum(amount for _, amount in left)
        made.future.append((day, math.floor(rest)))
        if rest < 1:
            made.dry_on = day
            break
        if not made.per_day:
            break
    return made


def _used(lots: list[tuple[date, float]], wanted: float) -> list[tuple[date, float]]:
    """What one day leaves of them, taken in their order."""
    left = []
    for expires_on, amount in lots:
        used = min(wanted, amount)
        wanted -= used
        left.append((expires_on, amount - used))
    return left
