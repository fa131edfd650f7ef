"""Hold + capture on one hot wallet: the ledger against hand-written SQL that writes the same rows, side by side."""

from __future__ import annotations

import multiprocessing
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
from django.db import connection, connections
from django.utils import timezone

from accounts import ledger
from accounts.models import Grant, User, Wallet
from bench.people import make_team
from bench.report import Measurement, compare
from bench.sizes import sized

PAIRS = sized(60, 10)
ROUNDS = sized(5, 1)
AMOUNT = 49


def measure() -> list[Measurement]:
    ours, raw = make_team("ledger", amount=10**9), make_team("raw", amount=10**9)
    return [_compare(ours, raw, clients=clients) for clients in (1, 8)]


def _compare(ours: Wallet, raw: Wallet, *, clients: int) -> Measurement:
    mine, theirs = [], []
    for _ in range(ROUNDS):
        mine.append(pairs_per_second(ledger_pairs, ours, clients))
        theirs.append(pairs_per_second(raw_pairs, raw, clients))
    return compare(
        f"ledger hold+capture, one hot wallet, {clients} client{'s' * (clients > 1)}",
        mine,
        theirs,
        unit="pairs/s",
        versus="raw SQL, same rows, same server",
        conditions=f"{PAIRS} pairs per client and round, budget-free member, PostgreSQL with fsync",
    )


def pairs_per_second(work: Callable[[int, int], None], wallet: Wallet, clients: int) -> float:
    connections.close_all()  # forked children must not share a socket
    user = wallet.team.memberships.get().user_id
    connections.close_all()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(wallet.pk, user)) for _ in range(clients)]
    begun = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a client of the ledger bench ended with {process.exitcode}")
    return clients * PAIRS / (time.perf_counter() - begun)


def ledger_pairs(wallet_id: int, user_id: int) -> None:
    wallet, user = Wallet.objects.get(pk=wallet_id), User.objects.get(pk=user_id)
    for _ in range(PAIRS):
        held = ledger.hold(
            wallet, amount=AMOUNT, user=user, reference=f"bench:{uuid.uuid4()}", reason="bench"
        )
        ledger.capture(held, reason="bench")


def raw_pairs(wallet_id: int, user_id: int) -> None:
    connection.ensure_connection()
    raw: psycopg.Connection = connection.connection
    grant_id = Grant.objects.get(wallet_id=wallet_id).pk
    for _ in range(PAIRS):
        common = raw_hold(raw, wallet_id, user_id, grant_id)
        _transaction(raw, _RAW_CAPTURE, {**common, **_CAPTURE_MOVES, "key": f"c{common['h']}"})


def raw_hold(raw: psycopg.Connection, wallet_id: int, user_id: int, grant_id: int) -> dict[str, Any]:
    """The rows of one hold, in one transaction; returns what its capture needs."""
    hold_id = uuid.uuid4()
    common = {
        "w": wallet_id,
        "u": user_id,
        "g": grant_id,
        "h": hold_id,
        "n": AMOUNT,
        "now": timezone.now(),
    }
    _transaction(raw, _RAW_HOLD, {**common, **_HOLD_MOVES, "key": f"h{hold_id}"})
    return common


def _transaction(raw: psycopg.Connection, statements: list[str], params: dict[str, Any]) -> None:
    with raw.transaction(), raw.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, params)


_ENTRY = """
WITH e AS (
    INSERT INTO accounts_entry (wallet_id, seq, kind, hold_id, user_id, reason, note, reference, idempotency_key,
        parameters_sha256, granted_delta, available_delta, held_delta, captured_delta, expired_delta,
        adjusted_out_delta, available_after, held_after, captured_after, created_at, sha256)
    SELECT w.id, w.seq, %(kind)s, %(h)s, %(u)s, 'bench', '', '', %(key)s, '', 0, %(available)s, %(held)s,
        %(captured)s, 0, 0, w.available, w.held, w.captured, %(now)s, repeat('0', 64)
    FROM accounts_wallet w WHERE w.id = %(w)s RETURNING id
)
INSERT INTO accounts_draw (entry_id, grant_id, source, target, amount)
SELECT id, %(g)s, %(source)s, %(target)s, %(n)s FROM e
"""
_RAW_HOLD = [
    """INSERT INTO accounts_hold
        (id, wallet_id, user_id, reference, amount, captured, refunded, state, created_at)
    VALUES (%(h)s, %(w)s, %(u)s, %(key)s, %(n)s, 0, 0, 'held', %(now)s)""",
    """UPDATE accounts_wallet SET available = available - %(n)s, held = held + %(n)s, seq = seq + 1
    WHERE id = %(w)s AND available >= %(n)s""",
    "UPDATE accounts_grant SET remaining = remaining - %(n)s, held = held + %(n)s WHERE id = %(g)s",
    _ENTRY,
]
_RAW_CAPTURE = [
    """UPDATE accounts_hold SET state = 'captured', captured = amount, resolved_at = %(now)s
    WHERE id = %(h)s AND state = 'held'""",
    """UPDATE accounts_wallet SET held = held - %(n)s, captured = captured + %(n)s, seq = seq + 1
    WHERE id = %(w)s""",
    "UPDATE accounts_grant SET held = held - %(n)s, captured = captured + %(n)s WHERE id = %(g)s",
    _ENTRY,
]
_HOLD_MOVES = {
    "kind": "hold",
    "available": -AMOUNT,
    "held": AMOUNT,
    "captured": 0,
    "source": "remaining",
    "target": "held",
}
_CAPTURE_MOVES = {
    "kind": "capture",
    "available": 0,
    "held": -AMOUNT,
    "captured": AMOUNT,
    "source": "held",
    "target": "captured",
}
