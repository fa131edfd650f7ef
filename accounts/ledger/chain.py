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


# `text_of` once more, in the server's own words, byte for byte: the keys in their order, strings as JSON has them.
_TEXT = f"""
'{{"actor":' || coalesce(actor_id::text, 'null')
|| ',"after":[' || concat_ws(',', {", ".join(f"{name}_after" for name in AFTERS)})
|| '],"at":"' || to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
|| '","deltas":[' || concat_ws(',', {", ".join(f"{name}_delta" for name in DELTAS)})
|| '],"draws":[' || coalesce(parts.text, '')
|| '],"hold":' || coalesce('"' || hold_id || '"', 'null')
|| ',"key":' || to_json(idempotency_key) || ',"kind":' || to_json(kind) || ',"note":' || to_json(note)
|| ',"parameters":' || to_json(parameters_sha256) || ',"reason":' || to_json(reason)
|| ',"reference":' || to_json(reference) || ',"seq":' || seq
|| ',"user":' || coalesce(user_id::text, 'null') || ',"version":1,"wallet":' || wallet_id || '}}'
"""
_DIFFERING = f"""
WITH parts AS (
    SELECT d.entry_id, string_agg(
        '[' || d.grant_id || ',' || to_json(d.source) || ',' || to_json(d.target) || ',' || d.amount || ']', ','
        ORDER BY d.id
    ) AS text
    FROM accounts_draw d JOIN accounts_entry e ON e.id = d.entry_id
    WHERE %(wallet)s::bigint IS NULL OR e.wallet_id = %(wallet)s
    GROUP BY d.entry_id
), linked AS (
    SELECT wallet_id, sha256, {_TEXT} AS text,
        lag(sha256, 1, '') OVER (PARTITION BY wallet_id ORDER BY seq) AS previous
    FROM accounts_entry LEFT JOIN parts ON parts.entry_id = accounts_entry.id
    WHERE %(wallet)s::bigint IS NULL OR wallet_id = %(wallet)s
)
SELECT DISTINCT wallet_id FROM linked
WHERE sha256 IS DISTINCT FROM encode(sha256(convert_to(previous || text, 'UTF8')), 'hex')
ORDER BY wallet_id
"""  # noqa: S608 - names of our own columns


def breaks(*, wallet_id: int | None = None) -> Iterator[Break]:
    """The first break of each chain, or of one. Only inside a transaction.

    The server goes over all of them by itself: each entry against the digest before it. A chain that does not fit
    there is walked here from its first entry, and this walk has the last word.
    """
    for suspect in suspects(wallet_id=wallet_id):
        if (found := _first_break(suspect)) is not None:
            yield found


def suspects(*, wallet_id: int | None = None) -> list[int]:
    """The wallets where the server finds an entry whose digest is another; of all, or of one."""
    with connection.cursor() as cursor:
        cursor.execute(_DIFFERING, {"wallet": wallet_id})
        return [found for (found,) in cursor.fetchall()]


def _first_break(wallet_id: int) -> Break | None:
    """It reads in batches, so that its memory does not grow with the book."""
    previous = GENESIS
    for row, draws in walked(wallet_id):
        proven = link(previous, text_of(row, draws))
        if proven != row["sha256"]:
            return Break(wallet_id, row["seq"], row["id"], row["sha256"], proven)
        previous = row["sha256"]
    return None


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
