"""How long it takes to prove a book of a million entries, chain and all rules, and to open the auditor's list of it.

Entries, draws and holds are written by COPY as the ledger would have left them, digests included: the check must find
the books whole, and the one row that is then changed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from accounts.ledger import chain, check
from accounts.models import Entry, Hold, User, Wallet
from bench.people import make_team
from bench.report import Measurement
from bench.sizes import sized

SIZE = sized(1_000_000, 4_000)
WALLETS = sized(20, 4)
AMOUNT = 49
LIMIT_SECONDS = 60
LISTS = {
    "entries": "entry/",
    "entries of one wallet": "entry/?wallet__id__exact={wallet}",
    "entries of this year": "entry/?created_at__year={year}",
    "holds": "hold/",
    "draws": "draw/",
}


def measure() -> list[Measurement]:
    for number in range(WALLETS):
        _fill(make_team(f"check-{number}", amount=AMOUNT * SIZE))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) accounts_entry, accounts_draw, accounts_hold")
    begun = time.perf_counter()
    found = check.breaches()
    seconds = time.perf_counter() - begun
    if found:
        raise SystemExit(f"the book of the bench is not whole: {found[0]}")
    return [
        _measurement("whole check of the book", seconds, "s", LIMIT_SECONDS),
        _measurement("the chain alone", _chain_seconds(), "s", LIMIT_SECONDS),
        *_lists(),
    ]


def _measurement(name: str, value: float, unit: str, limit: float) -> Measurement:
    return Measurement(
        name=name,
        value=round(value, 2),
        unit=unit,
        versus=f"limit of {limit:g} {unit}",
        ratio=round(value / limit, 2),
        runs=1,
        conditions=f"{SIZE:,} entries and draws, {SIZE // 2:,} holds, {WALLETS} wallets, one process",
    )


def _chain_seconds() -> float:
    begun = time.perf_counter()
    with check.snapshot():
        broken = list(chain.breaks())
    if broken:
        raise SystemExit("the chain is broken")
    return time.perf_counter() - begun


def _lists() -> Iterator[Measurement]:
    """The first page of each list as a superuser opens it, the best of three."""
    client = Client()
    client.force_login(User.objects.create_superuser("auditor@bench.example"))
    chosen = {"wallet": Wallet.objects.latest("pk").pk, "year": timezone.now().year}
    for name, address in LISTS.items():
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            if client.get(f"/admin/accounts/{address.format(**chosen)}").status_code != 200:
                raise SystemExit(f"the list of {name} does not open")
            taken.append((time.perf_counter() - begun) * 1000)
        yield _measurement(f"list of {name} in the admin", min(taken), "ms", 500)


def _fill(wallet: Wallet) -> None:
    """Pairs of hold and capture out of the wallet's one grant, oldest first."""
    pairs = SIZE // WALLETS // 2
    wallet.refresh_from_db()
    grant, user = wallet.grants.get(), wallet.team.memberships.get().user_id
    last = wallet.entries.latest("seq")
    holds = [uuid.uuid4() for _ in range(pairs)]
    start = datetime.now(UTC) - timedelta(days=180)
    step = timedelta(days=180) / pairs
    times = [start + number * step for number in range(pairs)]
    with transaction.atomic(), connection.cursor() as cursor:
        reserved = cursor.execute(
            "SELECT min(id), max(id) FROM (SELECT nextval('accounts_entry_id_seq') AS id"
            " FROM generate_series(1, %s)) ids",
            [2 * pairs],
        ).fetchone()
        _copy(cursor, Hold, _holds(wallet, user, holds, times))
        _copy(cursor, Entry, _entries(wallet, last, grant.pk, user, holds, times, first_id=reserved[0]))
        draws = _draws(grant.pk, count=2 * pairs, first_id=reserved[0])
        _write(cursor, "accounts_draw", ("entry_id", "grant_id", "source", "target", "amount"), draws)
        spent = {"amount": pairs * AMOUNT, "entries": 2 * pairs, "wallet": wallet.pk, "grant": grant.pk}
        cursor.execute(_WALLET, spent)
        cursor.execute(_GRANT, spent)


_WALLET = """
UPDATE accounts_wallet SET seq = seq + %(entries)s, available = available - %(amount)s,
    captured = captured + %(amount)s WHERE id = %(wallet)s
"""
_GRANT = """
UPDATE accounts_grant SET remaining = remaining - %(amount)s, captured = captured + %(amount)s WHERE id = %(grant)s
"""


def _holds(
    wallet: Wallet, user: int, holds: list[uuid.UUID], times: list[datetime]
) -> Iterator[dict[str, Any]]:
    for number, (pk, at) in enumerate(zip(holds, times, strict=True)):
        yield {
            "id": pk,
            "wallet_id": wallet.pk,
            "user_id": user,
            "reference": f"bench:{wallet.pk}:{number}",
            "amount": AMOUNT,
            "captured": AMOUNT,
            "refunded": 0,
            "state": "captured",
            "created_at": at,
            "resolved_at": at,
        }


def _entries(
    wallet: Wallet,
    last: Entry,
    grant: int,
    user: int,
    holds: list[uuid.UUID],
    times: list[datetime],
    *,
    first_id: int,
) -> Iterator[dict[str, Any]]:
    previous = last.sha256
    for number in range(2 * len(holds)):
        pair, is_capture = divmod(number, 2)
        row: dict[str, Any] = {
            "id": first_id + number,
            "wallet_id": wallet.pk,
            "seq": last.seq + number + 1,
            "kind": "capture" if is_capture else "hold",
            "hold_id": holds[pair],
            "user_id": user,
            "actor_id": None,
            "reason": "Stored" if is_capture else "A clip of six seconds",
            "reference": f"bench:{wallet.pk}:{pair}",
            "note": "",
            "idempotency_key": f"bench:{wallet.pk}:{number}",
            "parameters_sha256": "0" * 64,
            "granted_delta": 0,
            "available_delta": 0 if is_capture else -AMOUNT,
            "held_delta": -AMOUNT if is_capture else AMOUNT,
            "captured_delta": AMOUNT if is_capture else 0,
            "expired_delta": 0,
            "adjusted_out_delta": 0,
            "available_after": wallet.available - (pair + 1) * AMOUNT,
            "held_after": 0 if is_capture else AMOUNT,
            "captured_after": wallet.captured + (pair + is_capture) * AMOUNT,
            "created_at": times[pair],
        }
        previous = chain.link(previous, chain.text_of(row, [(grant, *_move(is_capture), AMOUNT)]))
        yield row | {"sha256": previous}


def _draws(grant: int, *, count: int, first_id: int) -> Iterator[tuple[Any, ...]]:
    for number in range(count):
        yield (first_id + number, grant, *_move(number % 2), AMOUNT)


def _move(is_capture: int) -> tuple[str, str]:
    return ("held", "captured") if is_capture else ("remaining", "held")


def _copy(cursor: Any, model: Any, rows: Iterator[dict[str, Any]]) -> None:
    names = tuple(field.attname for field in model._meta.concrete_fields if not field.generated)
    _write(cursor, model._meta.db_table, names, (tuple(row[name] for name in names) for row in rows))


def _write(cursor: Any, table: str, names: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    with cursor.copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
