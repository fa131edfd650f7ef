"""What every operation is made of: move the wallet, draw on grants, write the entry. For the ledger's rooms alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from django.db import connection, transaction

from accounts import audit
from accounts.errors import (
    BookOutOfBalance,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidAmount,
    ReasonRequired,
    WalletNotActive,
)
from accounts.ledger import chain
from accounts.models import Draw, Entry, Wallet

# Far below 2**53, so that an amount survives JSON, and no sum of them overflows a bigint.
MAX_CREDITS = 10**12
MOST_ATTEMPTS = 20
Bucket = Draw.Bucket
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """What an operation does to each bucket of a wallet, in credits."""

    granted: int = 0
    available: int = 0
    held: int = 0
    captured: int = 0
    expired: int = 0
    adjusted_out: int = 0


class After(NamedTuple):
    """The wallet right after a move."""

    seq: int
    available: int
    held: int
    captured: int
    next_expiry_at: datetime | None
    budgets_made: int


class BudgetsChanged(Exception):
    """A budget began to bind after this operation had looked which ones do: it has to look again."""


class Part(NamedTuple):
    """Credits of one grant that go from one of its buckets to another."""

    grant_id: int
    source: str
    target: str
    amount: int


def rows(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def row(sql: str, params: dict[str, Any]) -> tuple[Any, ...] | None:
    found = rows(sql, params)
    return found[0] if found else None


def execute(sql: str, params: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def repeated(attempt: Callable[[], Result]) -> Result:
    """The result of `attempt`, which is rolled back and made again while budgets begin to bind under its feet.

    Budget windows are counted before the wallet is locked, budgets are made under that lock. So whoever counts reads
    `budgets_made` in the same statement or before, and compares it once the wallet is theirs: see `check_budgets`.
    """
    for _ in range(MOST_ATTEMPTS):
        try:
            with transaction.atomic():
                return attempt()
        except BudgetsChanged:
            continue
    raise BookOutOfBalance(f"Budgets of a wallet changed {MOST_ATTEMPTS} times during one operation.")


def check_budgets(after: After, *, seen: int) -> None:
    if after.budgets_made != seen:
        raise BudgetsChanged


def checked_amount(amount: object) -> int:
    """A positive whole number of credits, or `InvalidAmount`: floats, NaN and booleans are none."""
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 < amount <= MAX_CREDITS:
        raise InvalidAmount(
            f"An amount is a whole number of credits from 1 to {MAX_CREDITS}, not {amount!r}."
        )
    return amount


def checked_reason(reason: str) -> str:
    if not reason.strip():
        raise ReasonRequired
    return reason.strip()


def digest(kind: str, **parameters: object) -> str:
    """SHA-256 of what a repeated request must have in common with the first one."""
    text = json.dumps({"kind": kind, **parameters}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def replayed(key: str, *, sha256: str) -> Entry | None:
    """The entry that was written under this key. Raises `IdempotencyConflict` if it was for something else."""
    entry = Entry.objects.filter(idempotency_key=key).first()
    if entry is not None and entry.parameters_sha256 != sha256:
        raise IdempotencyConflict(key=key)
    return entry


_MOVE = """
UPDATE accounts_wallet SET
    granted = granted + %(granted)s, available = available + %(available)s, held = held + %(held)s,
    captured = captured + %(captured)s, expired = expired + %(expired)s,
    adjusted_out = adjusted_out + %(adjusted_out)s,
    seq = seq + 1, next_expiry_at = LEAST(next_expiry_at, %(expires_at)s)
WHERE id = %(wallet)s AND available + %(available)s >= 0
  AND (status = 'active' OR NOT %(is_active_only)s)
  AND (next_expiry_at IS NULL OR next_expiry_at > %(now)s)
RETURNING seq, available, held, captured, next_expiry_at, budgets_made
"""


def move(
    wallet_id: int,
    delta: Delta,
    *,
    now: datetime,
    is_active_only: bool = False,
    expires_at: datetime | None = None,
) -> After:
    """Lock the wallet and move it, in one statement; settle what has expired first.

    `expires_at` is that of credits which arrive with this move. Raises `InsufficientCredits` or `WalletNotActive`.
    """
    params = {
        **asdict(delta),
        "wallet": wallet_id,
        "now": now,
        "is_active_only": is_active_only,
        "expires_at": expires_at,
    }
    # A miss is answered under the row lock, so the second try can only miss if the book is damaged.
    for _ in range(2):
        if found := row(_MOVE, params):
            return After(*found)
        _explain_miss(wallet_id, delta, now=now, is_active_only=is_active_only)
    raise BookOutOfBalance(f"Wallet {wallet_id} refuses a move that it has the credits for.")


def _explain_miss(wallet_id: int, delta: Delta, *, now: datetime, is_active_only: bool) -> None:
    """Refuse for the true cause, or settle the expiry that was in the way.

    Returns as well when nothing is in the way any more: somebody else settled it while we waited for the row.
    """
    wallet = lock(wallet_id)
    if is_active_only and wallet.status != Wallet.Status.ACTIVE:
        raise WalletNotActive(status=wallet.status)
    if wallet.next_expiry_at is not None and wallet.next_expiry_at <= now:
        settle_expiry(wallet_id, now=now)
        wallet.refresh_from_db(fields=["available"])
    if wallet.available + delta.available < 0:
        raise InsufficientCredits(needed=-delta.available, available=wallet.available)


def lock(wallet_id: int) -> Wallet:
    return Wallet.objects.select_for_update(no_key=True).get(pk=wallet_id)


_EXPIRE_GRANTS = """
WITH due AS (
    SELECT id, remaining FROM accounts_grant
    WHERE wallet_id = %(wallet)s AND is_open AND expires_at <= %(now)s
)
UPDATE accounts_grant g SET expired = g.expired + due.remaining, remaining = 0
FROM due WHERE g.id = due.id
RETURNING g.id, due.remaining
"""

_EXPIRE_WALLET = """
UPDATE accounts_wallet SET
    available = available - %(total)s, expired = expired + %(total)s, seq = seq + %(steps)s,
    next_expiry_at = (SELECT min(expires_at) FROM accounts_grant WHERE wallet_id = %(wallet)s AND is_open)
WHERE id = %(wallet)s
RETURNING seq, available, held, captured, next_expiry_at, budgets_made
"""


def settle_expiry(wallet_id: int, *, now: datetime) -> Entry | None:
    """Under the wallet's lock: take back what is left of grants that have expired. Held credits are out of reach."""
    due = rows(_EXPIRE_GRANTS, {"wallet": wallet_id, "now": now})
    total = sum(amount for _, amount in due)
    after = row(_EXPIRE_WALLET, {"wallet": wallet_id, "total": total, "steps": 1 if due else 0})
    if not due or after is None:
        return None
    entry = Entry(
        wallet_id=wallet_id,
        kind=Entry.Kind.EXPIRY,
        reason="Expired unused",
        idempotency_key=f"expiry:{wallet_id}:{after[0]}",
        created_at=now,
    )
    parts = [Part(grant, Bucket.REMAINING, Bucket.EXPIRED, amount) for grant, amount in sorted(due)]
    return write(entry, delta=Delta(available=-total, expired=total), after=After(*after), parts=parts)


_BURN = """
WITH burning AS (
    SELECT id, remaining,
           sum(remaining) OVER (ORDER BY expires_at ASC NULLS LAST, id) - remaining AS burnt_before
    FROM accounts_grant WHERE wallet_id = %(wallet)s AND is_open
), taken AS (
    SELECT id, burnt_before, least(remaining, %(amount)s - burnt_before)::bigint AS part
    FROM burning WHERE burnt_before < %(amount)s
)
UPDATE accounts_grant g SET remaining = g.remaining - taken.part, {target} = g.{target} + taken.part
FROM taken WHERE g.id = taken.id
RETURNING taken.burnt_before, g.id, taken.part
"""


def burn(wallet_id: int, *, amount: int, target: str) -> list[Part]:
    """Under the wallet's lock: take credits out of its grants, earliest expiry first and never-expiring last.

    `target` is the grants' bucket that receives them.
    """
    taken = sorted(rows(_BURN.format(target=Bucket(target).value), {"wallet": wallet_id, "amount": amount}))
    if sum(part for _, _, part in taken) != amount:
        raise BookOutOfBalance(f"The grants of wallet {wallet_id} do not add up to its available credits.")
    return [Part(grant, Bucket.REMAINING, target, part) for _, grant, part in taken]


_ENTRY_FIELDS = [
    field.attname for field in Entry._meta.concrete_fields if not field.primary_key and field.name != "sha256"
]
# The digest is made in the database: the entry before it is only sure to be seen by a statement begun under the lock.
_WRITE = """
WITH entry AS (
    INSERT INTO accounts_entry ({fields}, sha256) VALUES ({values}, encode(sha256(convert_to(coalesce(
        (SELECT sha256 FROM accounts_entry WHERE wallet_id = %(wallet_id)s AND seq = %(seq)s - 1), ''
    ) || %(canonical)s, 'UTF8')), 'hex'))
    ON CONFLICT (idempotency_key) DO NOTHING RETURNING id, sha256
), draws AS (
    INSERT INTO accounts_draw (entry_id, grant_id, source, target, amount)
    SELECT entry.id, part.grant_id, part.source, part.target, part.amount
    FROM entry, unnest(%(part_grants)s::bigint[], %(part_sources)s::text[], %(part_targets)s::text[],
                       %(part_amounts)s::bigint[]) WITH ORDINALITY AS part (grant_id, source, target, amount, place)
    ORDER BY part.place
)
SELECT id, sha256 FROM entry
""".format(fields=", ".join(_ENTRY_FIELDS), values=", ".join(f"%({name})s" for name in _ENTRY_FIELDS))  # noqa: S608


def write(
    entry: Entry,
    *,
    delta: Delta,
    after: After,
    parts: Sequence[Part] = (),
    change: tuple[dict[str, Any], dict[str, Any]] | None = None,
) -> Entry:
    """Insert a prepared entry with its effect, the balance after it and its draws, in one statement.

    What a person did is in the audit log as well; `change` is what it changed besides credits, before and after.
    """
    for bucket, amount in asdict(delta).items():
        setattr(entry, f"{bucket}_delta", amount)
    entry.seq, entry.available_after, entry.held_after, entry.captured_after = after[:4]
    params = {name: getattr(entry, name) for name in _ENTRY_FIELDS}
    params |= {
        "canonical": chain.canonical(entry, parts),
        "part_grants": [part.grant_id for part in parts],
        "part_sources": [str(part.source) for part in parts],
        "part_targets": [str(part.target) for part in parts],
        "part_amounts": [part.amount for part in parts],
    }
    found = row(_WRITE, params)
    if found is None:
        raise IdempotencyConflict(key=entry.idempotency_key)
    entry.pk, entry.sha256 = found
    entry._state.adding = False
    entry._state.db = connection.alias
    audit.of_entry(entry, change)
    return entry
