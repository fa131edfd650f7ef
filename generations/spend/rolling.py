"""Keep the daily rows: each entry is added once, in the book's own order, by whoever holds the wallet's cursor."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction

from accounts.models import Wallet
from generations.models import DailySpend, SpendCursor
from generations.spend.sources import COLUMNS, ENTRIES, KEY, SUMS, TAKE_NOTES

BATCH = 5_000
# What one round of the sweep may add up over all wallets; the rest is read live until the next.
BATCHES_PER_ROUND = 10

# `seq` has no gaps and is allotted under the wallet's lock: whoever sees an entry sees all before it, and nothing
# is ever committed behind the cursor.
_ROLL_UP = f"""
WITH fresh AS MATERIALIZED ({ENTRIES} ORDER BY seq LIMIT %(batch)s), notes AS ({TAKE_NOTES}),
written AS (
    INSERT INTO generations_dailyspend (wallet_id, {COLUMNS})
    SELECT %(wallet)s, {", ".join(KEY)}, {", ".join(f"sum({name})" for name in SUMS)}
    FROM (SELECT {COLUMNS} FROM fresh UNION ALL SELECT {COLUMNS} FROM notes) new
    GROUP BY {", ".join(KEY)}
    ON CONFLICT (wallet_id, {", ".join(KEY)}) DO UPDATE SET
        {", ".join(f"{name} = generations_dailyspend.{name} + excluded.{name}" for name in SUMS)}
)
SELECT count(*), max(seq) FROM fresh
"""  # noqa: S608 - only names of ours are put in

# In one statement, so that a cost written meanwhile is neither noted twice nor forgotten.
_NOTE_ALL_COSTS = """
WITH of_team AS (
    SELECT a.id, a.fal_cost_usd FROM generations_attempt a JOIN generations_generation g ON g.id = a.generation_id
    WHERE g.team_id = %(team)s AND a.fal_cost_usd IS NOT NULL
), gone AS (
    DELETE FROM generations_costnote n USING generations_attempt a, generations_generation g
    WHERE a.id = n.attempt_id AND g.id = a.generation_id AND g.team_id = %(team)s
)
INSERT INTO generations_costnote (attempt_id, delta_usd) SELECT id, fal_cost_usd FROM of_team
"""

_DUE = """
SELECT w.id FROM accounts_wallet w
JOIN accounts_team t ON t.id = w.team_id
LEFT JOIN generations_spendcursor c ON c.wallet_id = w.id
WHERE w.seq > coalesce(c.rolled_seq, 0) OR c.time_zone <> t.time_zone OR w.team_id IN (
    SELECT g.team_id FROM generations_costnote n
    JOIN generations_attempt a ON a.id = n.attempt_id JOIN generations_generation g ON g.id = a.generation_id
    WHERE g.settled_at IS NOT NULL
)
ORDER BY w.id
"""


def roll_up_due() -> int:
    """One round over all wallets with something new; how many entries were added up."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE)
        due = [pk for (pk,) in cursor.fetchall()]
    added, left = 0, BATCHES_PER_ROUND
    for pk in due:
        batches = 0
        while (found := _roll_up_batch(pk)) is not None:
            added, batches = added + found, batches + 1
            if found < BATCH:
                break
            left -= 1
            if left <= 0:
                return added
    return added


def roll_up(wallet: Wallet) -> int:
    """All that is new in one wallet; how many entries. Nothing while somebody else is at it."""
    added = 0
    while found := _roll_up_batch(wallet.pk):
        added += found
    return added


def _roll_up_batch(wallet_id: int) -> int | None:
    """How many entries were added up, at most `BATCH`; None where another process holds the cursor."""
    with transaction.atomic():
        cursor = _cursor(wallet_id)
        if cursor is None:
            return None
        params: dict[str, Any] = {
            "wallet": wallet_id,
            "zone": cursor.time_zone,
            "after": cursor.rolled_seq,
            "until": Wallet.objects.values_list("seq", flat=True).get(pk=wallet_id),
            "batch": BATCH,
        }
        with connection.cursor() as sql:
            sql.execute(_ROLL_UP, params)
            found, last_seq = sql.fetchone()
        if found:
            SpendCursor.objects.filter(pk=wallet_id).update(rolled_seq=last_seq)
    return int(found)


def _cursor(wallet_id: int) -> SpendCursor | None:
    """The locked cursor, by the team's calendar of now: days that were cut by another are thrown away and made anew."""
    wallet = Wallet.objects.select_related("team").get(pk=wallet_id)
    zone = wallet.team.time_zone
    fresh = SpendCursor(wallet=wallet, time_zone=zone)
    SpendCursor.objects.bulk_create([fresh], ignore_conflicts=True)
    cursor = SpendCursor.objects.select_for_update(skip_locked=True).filter(pk=wallet_id).first()
    if cursor is None or cursor.time_zone == zone:
        return cursor
    DailySpend.objects.filter(wallet=wallet).delete()
    with connection.cursor() as sql:
        sql.execute(_NOTE_ALL_COSTS, {"team": wallet.team_id})
    cursor.time_zone, cursor.rolled_seq = zone, 0
    cursor.save()
    return cursor
