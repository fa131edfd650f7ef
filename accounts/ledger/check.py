"""Prove the book: recompute every counter from entries and draws alone and name each difference. Reads only.

`manage.py check_ledger` prints what is found here. Nothing is repaired: a correction is a new row, made by a person.
Each rule is one set-based statement that returns (subject, what, stored, proven); together they say that

    granted = available + held + captured + expired + adjusted_out

holds for what was written, that each wallet, grant, hold and budget counter is the sum of its rows, that entries are
numbered without a gap and balance after balance, and that each hold was resolved as its state says and at most once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pgtrigger
from django.db import connection, transaction

from accounts.ledger import chain, heads
from accounts.models import Wallet


class Breach(NamedTuple):
    """One difference: what the row says and what the book proves."""

    rule: str
    subject: str
    what: str
    stored: str
    proven: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.what} is {self.stored}, should be {self.proven}"


_WALLET_IS_SUM_OF_ENTRIES = """
SELECT 'wallet ' || w.id, c.what, c.stored::text, c.proven::text
FROM accounts_wallet w
LEFT JOIN (
    SELECT wallet_id, sum(granted_delta) AS granted, sum(available_delta) AS available, sum(held_delta) AS held,
           sum(captured_delta) AS captured, sum(expired_delta) AS expired, sum(adjusted_out_delta) AS adjusted_out,
           count(*) AS entries, max(seq) AS last_seq
    FROM accounts_entry GROUP BY wallet_id
) e ON e.wallet_id = w.id
CROSS JOIN LATERAL (VALUES
    ('granted', w.granted, e.granted), ('available', w.available, e.available), ('held', w.held, e.held),
    ('captured', w.captured, e.captured), ('expired', w.expired, e.expired),
    ('adjusted_out', w.adjusted_out, e.adjusted_out), ('seq', w.seq, e.entries), ('seq', w.seq, e.last_seq)
) AS c (what, stored, proven)
WHERE c.stored <> coalesce(c.proven, 0) AND (%(wallet)s::bigint IS NULL OR w.id = %(wallet)s)
"""

_ENTRIES_RUN_ON = """
SELECT 'entry ' || id || ' (#' || seq || ' of wallet ' || wallet_id || ')', c.what, c.stored::text, c.proven::text
FROM (
    SELECT *, row_number() OVER book AS place, sum(available_delta) OVER book AS available,
           sum(held_delta) OVER book AS held, sum(captured_delta) OVER book AS captured
    FROM accounts_entry WHERE (%(wallet)s::bigint IS NULL OR wallet_id = %(wallet)s)
    WINDOW book AS (PARTITION BY wallet_id ORDER BY seq)
) e
CROSS JOIN LATERAL (VALUES
    ('seq', e.seq, e.place), ('available_after', e.available_after, e.available),
    ('held_after', e.held_after, e.held), ('captured_after', e.captured_after, e.captured)
) AS c (what, stored, proven)
WHERE c.stored <> c.proven
"""

_ENTRY_IS_SUM_OF_DRAWS = """
SELECT 'entry ' || e.id, c.what, c.stored::text, c.proven::text
FROM accounts_entry e
LEFT JOIN (
    SELECT entry_id,
           sum(amount) FILTER (WHERE source = 'outside') AS granted,
           sum(CASE 'remaining' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS available,
           sum(CASE 'held' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS held,
           sum(CASE 'captured' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS captured,
           sum(CASE 'expired' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS expired,
           sum(CASE 'adjusted_out' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS adjusted_out
    FROM accounts_draw GROUP BY entry_id
) d ON d.entry_id = e.id
CROSS JOIN LATERAL (VALUES
    ('granted_delta', e.granted_delta, d.granted), ('available_delta', e.available_delta, d.available),
    ('held_delta', e.held_delta, d.held), ('captured_delta', e.captured_delta, d.captured),
    ('expired_delta', e.expired_delta, d.expired), ('adjusted_out_delta', e.adjusted_out_delta, d.adjusted_out)
) AS c (what, stored, proven)
WHERE c.stored <> coalesce(c.proven, 0) AND (%(wallet)s::bigint IS NULL OR e.wallet_id = %(wallet)s)
"""

_GRANT_IS_SUM_OF_DRAWS = """
SELECT 'grant ' || g.id, c.what, c.stored::text, c.proven::text
FROM accounts_grant g
LEFT JOIN (
    SELECT grant_id,
           sum(amount) FILTER (WHERE source = 'outside') AS amount,
           sum(CASE 'remaining' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS remaining,
           sum(CASE 'held' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS held,
           sum(CASE 'captured' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS captured,
           sum(CASE 'expired' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS expired,
           sum(CASE 'adjusted_out' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END) AS adjusted_out
    FROM accounts_draw GROUP BY grant_id
) d ON d.grant_id = g.id
CROSS JOIN LATERAL (VALUES
    ('amount', g.amount, d.amount), ('remaining', g.remaining, d.remaining), ('held', g.held, d.held),
    ('captured', g.captured, d.captured), ('expired', g.expired, d.expired),
    ('adjusted_out', g.adjusted_out, d.adjusted_out)
) AS c (what, stored, proven)
WHERE c.stored <> coalesce(c.proven, 0) AND (%(wallet)s::bigint IS NULL OR g.wallet_id = %(wallet)s)
"""

_WALLET_IS_SUM_OF_GRANTS = """
SELECT 'wallet ' || w.id, c.what || ' of its grants', c.proven::text, c.stored::text
FROM accounts_wallet w
LEFT JOIN (
    SELECT wallet_id, sum(amount) AS granted, sum(remaining) AS available, sum(held) AS held,
           sum(captured) AS captured, sum(expired) AS expired, sum(adjusted_out) AS adjusted_out
    FROM accounts_grant GROUP BY wallet_id
) g ON g.wallet_id = w.id
CROSS JOIN LATERAL (VALUES
    ('amount', w.granted, g.granted), ('remaining', w.available, g.available), ('held', w.held, g.held),
    ('captured', w.captured, g.captured), ('expired', w.expired, g.expired),
    ('adjusted_out', w.adjusted_out, g.adjusted_out)
) AS c (what, stored, proven)
WHERE c.stored <> coalesce(c.proven, 0) AND (%(wallet)s::bigint IS NULL OR w.id = %(wallet)s)
"""

_DRAWS_STAY_IN_THE_WALLET = """
SELECT 'draw ' || d.id, 'wallet of its grant', g.wallet_id::text, e.wallet_id::text
FROM accounts_draw d
JOIN accounts_entry e ON e.id = d.entry_id
JOIN accounts_grant g ON g.id = d.grant_id
WHERE g.wallet_id <> e.wallet_id AND (%(wallet)s::bigint IS NULL OR e.wallet_id = %(wallet)s)
"""

_OPEN_HOLDS_ARE_WHAT_IS_HELD = """
SELECT 'wallet ' || w.id, 'sum of its open holds', coalesce(h.open, 0)::text, w.held::text
FROM accounts_wallet w
LEFT JOIN (SELECT wallet_id, sum(amount) AS open FROM accounts_hold WHERE state = 'held' GROUP BY wallet_id) h
       ON h.wallet_id = w.id
WHERE w.held <> coalesce(h.open, 0) AND (%(wallet)s::bigint IS NULL OR w.id = %(wallet)s)
"""

_HOLDS_ARE_AS_THE_BOOK_SAYS = """
SELECT 'hold ' || h.id || ' (' || h.reference || ')', c.what, c.stored, c.proven
FROM accounts_hold h
LEFT JOIN (
    SELECT hold_id,
           sum(held_delta) FILTER (WHERE kind = 'hold') AS amount,
           coalesce(sum(captured_delta) FILTER (WHERE kind = 'capture'), 0) AS captured,
           coalesce(-sum(captured_delta) FILTER (WHERE kind = 'refund'), 0) AS refunded,
           count(*) FILTER (WHERE kind = 'hold') AS holds,
           count(*) FILTER (WHERE kind IN ('capture', 'release')) AS resolutions,
           coalesce(max(kind) FILTER (WHERE kind IN ('capture', 'release')), 'hold') AS last_kind,
           sum(held_delta) AS still_held,
           bool_and(entry.user_id = hold.user_id AND entry.wallet_id = hold.wallet_id
                    AND entry.reference = hold.reference) AS is_his
    FROM accounts_entry entry JOIN accounts_hold hold ON hold.id = entry.hold_id GROUP BY hold_id
) e ON e.hold_id = h.id
CROSS JOIN LATERAL (VALUES
    ('amount', h.amount::text, e.amount::text),
    ('captured', h.captured::text, e.captured::text),
    ('refunded', h.refunded::text, e.refunded::text),
    ('number of hold entries', e.holds::text, '1'),
    ('number of resolutions', e.resolutions::text, CASE h.state WHEN 'held' THEN '0' ELSE '1' END),
    ('state', h.state, CASE e.last_kind WHEN 'capture' THEN 'captured' WHEN 'release' THEN 'released' ELSE 'held' END),
    ('still held', e.still_held::text, CASE h.state WHEN 'held' THEN h.amount ELSE 0 END::text),
    ('same user, wallet and reference in its entries', e.is_his::text, 'true')
) AS c (what, stored, proven)
WHERE c.stored IS DISTINCT FROM c.proven AND (%(wallet)s::bigint IS NULL OR h.wallet_id = %(wallet)s)
"""

_BUDGET_WINDOWS_ARE_SUMS_OF_HOLDS = """
SELECT 'budget window ' || p.id, c.what, c.stored::text, c.proven::text
FROM accounts_budgetperiod p
JOIN accounts_budget b ON b.id = p.budget_id
LEFT JOIN (
    SELECT link.budget_period_id AS id, sum(h.amount) FILTER (WHERE h.state = 'held') AS held,
           sum(h.captured - h.refunded) AS captured
    FROM accounts_holdbudget link JOIN accounts_hold h ON h.id = link.hold_id GROUP BY link.budget_period_id
) h ON h.id = p.id
CROSS JOIN LATERAL (VALUES ('held', p.held, h.held), ('captured', p.captured, h.captured)) AS c (what, stored, proven)
WHERE c.stored <> coalesce(c.proven, 0) AND (%(wallet)s::bigint IS NULL OR b.wallet_id = %(wallet)s)
"""

_HOLDS_COUNT_IN_THEIR_OWN_BUDGETS = """
SELECT 'hold ' || h.id, 'member and wallet of budget window ' || p.id, b.user_id || ', ' || b.wallet_id,
       h.user_id || ', ' || h.wallet_id
FROM accounts_holdbudget link
JOIN accounts_hold h ON h.id = link.hold_id
JOIN accounts_budgetperiod p ON p.id = link.budget_period_id
JOIN accounts_budget b ON b.id = p.budget_id
WHERE (b.user_id <> h.user_id OR b.wallet_id <> h.wallet_id OR h.created_at < p.starts_at OR h.created_at >= p.ends_at)
  AND (%(wallet)s::bigint IS NULL OR h.wallet_id = %(wallet)s)
"""

_NO_EXPIRY_IS_OVERLOOKED = """
SELECT 'wallet ' || w.id, 'next_expiry_at', coalesce(w.next_expiry_at::text, 'never'), min(g.expires_at)::text
FROM accounts_wallet w JOIN accounts_grant g ON g.wallet_id = w.id AND g.is_open
WHERE (%(wallet)s::bigint IS NULL OR w.id = %(wallet)s)
GROUP BY w.id HAVING min(g.expires_at) < coalesce(w.next_expiry_at, 'infinity')
"""

RULES = {
    "wallet-is-sum-of-entries": _WALLET_IS_SUM_OF_ENTRIES,
    "entries-run-on": _ENTRIES_RUN_ON,
    "entry-is-sum-of-draws": _ENTRY_IS_SUM_OF_DRAWS,
    "grant-is-sum-of-draws": _GRANT_IS_SUM_OF_DRAWS,
    "wallet-is-sum-of-grants": _WALLET_IS_SUM_OF_GRANTS,
    "draws-stay-in-the-wallet": _DRAWS_STAY_IN_THE_WALLET,
    "open-holds-are-what-is-held": _OPEN_HOLDS_ARE_WHAT_IS_HELD,
    "holds-are-as-the-book-says": _HOLDS_ARE_AS_THE_BOOK_SAYS,
    "budget-windows-are-sums-of-holds": _BUDGET_WINDOWS_ARE_SUMS_OF_HOLDS,
    "holds-count-in-their-own-budgets": _HOLDS_COUNT_IN_THEIR_OWN_BUDGETS,
    "no-expiry-is-overlooked": _NO_EXPIRY_IS_OVERLOOKED,
}

_ENABLED_TRIGGERS = """
SELECT relation.relname, trigger.tgname FROM pg_trigger trigger JOIN pg_class relation ON relation.oid = trigger.tgrelid
WHERE NOT trigger.tgisinternal AND trigger.tgenabled <> 'D' AND pg_table_is_visible(relation.oid)
"""


def breaches(*, wallet: Wallet | None = None) -> list[Breach]:
    """Every difference in the books, of one wallet or of all; empty when they are whole."""
    with snapshot():
        found = [breach for rule, sql in RULES.items() for breach in _differences(rule, sql, wallet)]
        return [*found, *_broken_chains(wallet), *_heads_that_do_not_fit(wallet), *_missing_triggers()]


@contextmanager
def snapshot() -> Iterator[None]:
    """One moment of the database for all statements inside, so that work going on is no difference."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _differences(rule: str, sql: str, wallet: Wallet | None) -> list[Breach]:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"wallet": wallet.pk if wallet else None})
        return [Breach(rule, *(str(value) for value in found)) for found in cursor.fetchall()]


def _broken_chains(wallet: Wallet | None) -> Iterator[Breach]:
    """The first entry of each wallet that was changed, put in or taken out since it was written."""
    for found in chain.breaks(wallet_id=wallet.pk if wallet else None):
        subject = f"entry {found.entry_id} (#{found.seq} of wallet {found.wallet_id})"
        yield Breach("entries-are-chained", subject, "sha256", found.stored or "empty", found.proven)


def _heads_that_do_not_fit(wallet: Wallet | None) -> Iterator[Breach]:
    """What was signed on some day, against what the book says of that day now: this also finds a tail cut off."""
    for found in heads.mismatches(wallet_id=wallet.pk if wallet else None):
        yield Breach("entries-are-as-signed", found.subject, "sha256", found.stored, found.proven)


def _missing_triggers() -> Iterator[Breach]:
    """The triggers that keep the book append-only, absent or disabled."""
    with connection.cursor() as cursor:
        cursor.execute(_ENABLED_TRIGGERS)
        enabled = set(cursor.fetchall())
    for model, trigger in pgtrigger.registered():
        table, name = model._meta.db_table, trigger.get_pgid(model)
        if model._meta.app_label == "accounts" and (table, name) not in enabled:
            yield Breach("triggers-guard-the-book", table, f"trigger {trigger.name}", "off", "on")
