"""The chain that makes a rewritten past show: every entry carries a digest of itself and of the entry before it.

Within a wallet entries are numbered without a gap under the wallet's lock, so the order of the chain is the order of
the commits. What is hashed is `canonical`, version 1, and never changes: bundles that left the house are verified with
it for ever, by people who have nothing of ours but its description in `accounts/ledger/verifier.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection

from accounts.models import Entry

GENESIS = ""
DELTAS = ("granted", "available", "held", "captured", "expired", "adjusted_out")
AFTERS = ("available", "held", "captured")
BATCH = 5000
LAST_SEQ = 2**63 - 1

Draws = Sequence[Sequence[Any]]
# Made once: a walk over a book asks it a million times.
_as_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class Break(NamedTuple):
    """The first entry of a wallet whose digest is not what its content and the entry before it make."""

    wallet_id: int
    seq: int
    entry_id: int
    stored: str
    proven: str


class Head(NamedTuple):
    """The last entry of a wallet: whoever knows it knows whether anything before it was changed since."""

    wallet_id: int
    seq: int
    sha256: str


def canonical(entry: Entry, draws: Draws) -> str:
    """The text that stands for an entry: JSON with sorted keys and no spaces.

    `draws` are (grant id, source bucket, target bucket, credits) in the order in which they were written.
    """
    return text_of({name: getattr(entry, name) for name in FIELDS}, draws)


def text_of(row: dict[str, Any], draws: Draws) -> str:
    content = {
        "version": 1,
        "wallet": row["wallet_id"],
        "seq": row["seq"],
        "kind": str(row["kind"]),
        "hold": str(row["hold_id"]) if row["hold_id"] else None,
        "user": row["user_id"],
        "actor": row["actor_id"],
        "reason": row["reason"],
        "reference": row["reference"],
        "note": row["note"],
        "key": row["idempotency_key"],
        "parameters": row["parameters_sha256"],
        "deltas": [row[f"{name}_delta"] for name in DELTAS],
        "after": [row[f"{name}_after"] for name in AFTERS],
        "at": moment(row["created_at"]),
        "draws": [[grant, str(source), str(target), amount] for grant, source, target, amount in draws],
    }
    return _as_json(content)


def moment(at: datetime) -> str:
    """A time as the chain writes it: UTC, always with microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def link(previous: str, text: str) -> str:
    """The digest of an entry, in hexadecimal: SHA-256 over the digest before it and its own text, in UTF-8."""
    return hashlib.sha256((previous + text).encode()).hexdigest()


FIELDS = (
    *("wallet_id", "seq", "kind", "hold_id", "user_id", "actor_id", "reason", "reference", "note"),
    *("idempotency_key", "parameters_sha256", "created_at"),
    *(f"{name}_delta" for name in DELTAS),
    *(f"{name}_after" for name in AFTERS),
)
_ENTRIES = f"""
SELECT id, sha256, {", ".join(FIELDS)} FROM accounts_entry
WHERE (%(wallet)s::bigint IS NULL OR wallet_id = %(wallet)s) AND seq BETWEEN %(first)s AND %(last)s
ORDER BY wallet_id, seq
"""  # noqa: S608 - names of our own columns
_DRAWS = """
SELECT d.entry_id, d.grant_id, d.source, d.target, d.amount
FROM accounts_draw d JOIN accounts_entry e ON e.id = d.entry_id
WHERE (%(wallet)s::bigint IS NULL OR e.wallet_id = %(wallet)s) AND e.seq BETWEEN %(first)s AND %(last)s
ORDER BY e.wallet_id, e.seq, d.id
"""


def breaks(*, wallet_id: int | None = None) -> Iterator[Break]:
    """Walk every chain, or one, from its first entry; the first break of each. Only inside a transaction.

    It reads in batches, so that its memory does not grow with the book.
    """
    last_wallet, previous, is_broken = None, GENESIS, False
    for row, draws in walked(wallet_id):
        if row["wallet_id"] != last_wallet:
            last_wallet, previous, is_broken = row["wallet_id"], GENESIS, False
        proven = link(previous, text_of(row, draws))
        if proven != row["sha256"] and not is_broken:
            is_broken = True
            yield Break(row["wallet_id"], row["seq"], row["id"], row["sha256"], proven)
        previous = row["sha256"]


def walked(
    wallet_id: int | None, *, first_seq: int = 1, last_seq: int = LAST_SEQ
) -> Iterator[tuple[dict[str, Any], Draws]]:
    """Entries in the order of their chains, each with its draws: two streams in one order, merged.

    Only inside a transaction; one walk at a time.
    """
    params = {"wallet": wallet_id, "first": first_seq, "last": last_seq}
    names = ("id", "sha256", *FIELDS)
    draws = _stream("chain_draws", _DRAWS, params)
    ahead = next(draws, None)
    for values in _stream("chain_entries", _ENTRIES, params):
        row, own = dict(zip(names, values, strict=True)), []
        while ahead is not None and ahead[0] == row["id"]:
            own.append(ahead[1:])
            ahead = next(draws, None)
        yield row, own


def _stream(name: str, sql: str, params: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Rows of a cursor that stays in the database: a million of them are never here at once."""
    connection.ensure_connection()
    with connection.connection.cursor(name=name) as cursor:
        cursor.itersize = BATCH
        cursor.execute(sql, params)
        yield from cursor


def heads(*, wallet_ids: Iterable[int] | None = None) -> list[Head]:
    """The last entry of each wallet that has one, by wallet."""
    rows = Entry.objects.order_by("wallet_id", "-seq").distinct("wallet_id")
    if wallet_ids is not None:
        rows = rows.filter(wallet__in=list(wallet_ids))
    return [Head(*row) for row in rows.values_list("wallet_id", "seq", "sha256")]
