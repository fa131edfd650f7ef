"""What it costs to read a book as it grows: a balance, a budget check, one of the past, and the page of the reports.

Entries are written by SQL, as the ledger would have left them apart from their chain and their draws: days of half a
year, twenty members, hold after capture. The smallest book is the yardstick; every other is compared with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import ledger
from accounts.models import Membership, User, Wallet
from bench.people import make_team
from bench.report import Measurement, compare
from bench.sizes import sized
from generations import spend

SIZES = sized((10_000, 1_000_000, 5_000_000), (1_000, 5_000, 20_000))
ROUNDS = sized(15, 3)
MEMBERS = 20
DAYS = 180
AMOUNT = 49
AT_ONCE = 500_000
CAP = 10**9


@dataclass(frozen=True)
class Book:
    """A wallet with so many entries, its admin signed in, and one member with a budget."""

    size: int
    wallet: Wallet
    client: Client
    member: User
    rolled_up_seconds: float


def measure() -> list[Measurement]:
    books = [_book(size) for size in SIZES]
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) accounts_entry")
        cursor.execute("VACUUM (ANALYZE) generations_dailyspend")
    past = timezone.now() - timedelta(days=DAYS / 2)
    readings: tuple[tuple[str, Callable[[Book], object]], ...] = (
        ("balance", lambda book: ledger.balance(book.wallet)),
        ("budget check", lambda book: ledger.budget_status(book.wallet, book.member)),
        ("balance half way back", lambda book: ledger.balance_at(book.wallet, past)),
        ("wallet page", partial(_page, address="/wallet/")),
        ("report page, 90 days", partial(_page, address="/reports/?period=90")),
        ("report page, all time", partial(_page, address="/reports/?period=all")),
    )
    made = [each for name, read in readings for each in _compare(name, read, books)]
    return [*made, _rolling(books[-1])]


def _compare(name: str, read: Callable[[Book], object], books: Sequence[Book]) -> list[Measurement]:
    """In turns, so that all sizes see the same weather."""
    taken: dict[int, list[float]] = {book.size: [] for book in books}
    for _ in range(ROUNDS + 1):
        for book in books:
            taken[book.size].append(_milliseconds(partial(read, book)))
    smallest, *others = books
    return [
        compare(
            f"{name}, {book.size:,} entries",
            taken[book.size][1:],
            taken[smallest.size][1:],
            unit="ms",
            versus=f"{smallest.size:,} entries",
            conditions=f"{MEMBERS} members, {DAYS} days, rolled up, one wallet of several in one database",
        )
        for book in others
    ]


def _rolling(book: Book) -> Measurement:
    rate = book.size / book.rolled_up_seconds
    return Measurement(
        name="daily roll-up of a whole book",
        value=round(rate),
        unit="entries/s",
        versus="nothing to compare with",
        ratio=1,
        runs=1,
        conditions=f"{book.size:,} entries in batches, one process",
    )


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def _page(book: Book, address: str) -> None:
    response = book.client.get(address)
    if response.status_code != 200:
        raise SystemExit(f"{address} answered {response.status_code}")


def _book(size: int) -> Book:
    wallet = make_team(f"books-{size}", amount=AMOUNT * size + CAP)
    admin = wallet.team.memberships.get().user
    people = [
        User.objects.create_user(f"books-{size}-{number}@bench.example", None, name=f"Member {number}")
        for number in range(MEMBERS)
    ]
    Membership.objects.bulk_create(Membership(team=wallet.team, user=user) for user in people)
    ledger.set_budget(wallet, user=people[0], limit_credits=CAP, period="month", actor=admin, reason="bench")
    _write(wallet, people, size)
    begun = time.perf_counter()
    spend.roll_up(wallet)
    client = Client()
    client.force_login(admin)
    return Book(size, wallet, client, people[0], time.perf_counter() - begun)


def _write(wallet: Wallet, people: Sequence[User], size: int) -> None:
    """Pairs of hold and capture, oldest first; the wallet is then what they leave."""
    wallet.refresh_from_db()
    params: dict[str, Any] = {
        "wallet": wallet.pk,
        "users": [user.pk for user in people],
        "available": wallet.available,
        "seq": wallet.seq,
        "amount": AMOUNT,
        "start": timezone.now() - timedelta(days=DAYS),
        "step": timedelta(days=DAYS) / size,
    }
    with connection.cursor() as cursor:
        for first in range(0, size, AT_ONCE):
            cursor.execute(_ENTRIES, {**params, "first": first, "last": min(first + AT_ONCE, size) - 1})
        cursor.execute(_WALLET, {**params, "pairs": size // 2, "size": size})


# Even numbers hold, odd ones capture what was held.
_ENTRIES = """
INSERT INTO accounts_entry (wallet_id, seq, kind, user_id, reason, note, reference, idempotency_key, parameters_sha256,
    granted_delta, available_delta, held_delta, captured_delta, expired_delta, adjusted_out_delta,
    available_after, held_after, captured_after, created_at, sha256)
SELECT %(wallet)s, %(seq)s + n + 1, CASE n %% 2 WHEN 0 THEN 'hold' ELSE 'capture' END,
    (%(users)s::bigint[])[1 + (n / 2) %% cardinality(%(users)s::bigint[])], 'bench', '', 'bench:' || n / 2,
    'bench:' || %(wallet)s || ':' || n, '', 0, CASE n %% 2 WHEN 0 THEN -%(amount)s ELSE 0 END,
    CASE n %% 2 WHEN 0 THEN %(amount)s ELSE -%(amount)s END, CASE n %% 2 WHEN 0 THEN 0 ELSE %(amount)s END, 0, 0,
    %(available)s - (n / 2 + 1) * %(amount)s, CASE n %% 2 WHEN 0 THEN %(amount)s ELSE 0 END,
    ((n + 1) / 2) * %(amount)s, %(start)s + n * %(step)s::interval, ''
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
"""
_WALLET = """
UPDATE accounts_wallet SET seq = seq + %(size)s, available = available - %(pairs)s * %(amount)s,
    captured = captured + %(pairs)s * %(amount)s WHERE id = %(wallet)s
"""
