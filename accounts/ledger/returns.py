"""Credits that come back to the grants they were taken from: from a hold, or from a capture that is refunded.

A grant may have ended meanwhile, and then there are three ways. What was held lives once more for `RELEASE_GRACE` after
an expiry, or expires for good; what was captured and is refunded lives for `REFUND_GRACE`; whatever comes back to a
grant that was voided goes out of the wallet at once, for nothing stays in a voided grant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from accounts.ledger import book
from accounts.ledger.book import After, Bucket, Delta

# Credits whose grant expired while they were held come back once with this much time: the member lost it through no
# fault of theirs. A second time they expire, or holding and cancelling would keep credits alive for ever.
RELEASE_GRACE = timedelta(hours=24)
REFUND_GRACE = timedelta(days=30)

# (grant, credits spent, credits given back)
Split = list[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Returned:
    """Where what came back went: the bucket of each grant, what did not stay, and the first expiry of the rest."""

    targets: dict[int, Bucket]
    expired: int
    adjusted_out: int
    first_expiry_at: datetime | None


_FROM_HOLD = """
UPDATE accounts_grant g SET
    held = g.held - part.used - part.back,
    captured = g.captured + part.used,
    remaining = g.remaining + CASE part.fate WHEN 'remaining' THEN part.back ELSE 0 END,
    expired = g.expired + CASE part.fate WHEN 'expired' THEN part.back ELSE 0 END,
    adjusted_out = g.adjusted_out + CASE part.fate WHEN 'adjusted_out' THEN part.back ELSE 0 END,
    expires_at = CASE WHEN part.is_graced THEN %(grace_until)s ELSE g.expires_at END,
    is_grace_used = g.is_grace_used OR part.is_graced
FROM (
    SELECT taken.*,
           CASE WHEN old.voided_at IS NOT NULL THEN 'adjusted_out'
                WHEN old.expires_at <= %(now)s AND old.is_grace_used THEN 'expired' ELSE 'remaining' END AS fate,
           coalesce(taken.back > 0 AND old.voided_at IS NULL AND old.expires_at <= %(now)s AND NOT old.is_grace_used,
                    false) AS is_graced
    FROM unnest(%(grants)s::bigint[], %(used)s::bigint[], %(back)s::bigint[]) AS taken (id, used, back)
    JOIN accounts_grant old ON old.id = taken.id
) part
WHERE g.id = part.id
RETURNING g.id, part.back, part.fate, g.expires_at
"""

_FROM_CAPTURE = """
UPDATE accounts_grant g SET
    captured = g.captured - part.back,
    remaining = g.remaining + CASE WHEN g.voided_at IS NULL THEN part.back ELSE 0 END,
    adjusted_out = g.adjusted_out + CASE WHEN g.voided_at IS NULL THEN 0 ELSE part.back END,
    expires_at = CASE WHEN g.voided_at IS NULL AND g.expires_at <= %(now)s THEN %(grace_until)s ELSE g.expires_at END
FROM unnest(%(grants)s::bigint[], %(back)s::bigint[]) AS part (id, back)
WHERE g.id = part.id
RETURNING g.id, part.back, CASE WHEN g.voided_at IS NULL THEN 'remaining' ELSE 'adjusted_out' END, g.expires_at
"""


def from_hold(split: Split, *, now: datetime) -> Returned:
    """Under the wallet's lock, expiry settled: spend and return each grant's part of a hold."""
    params = {
        "grants": [grant for grant, _, _ in split],
        "used": [used for _, used, _ in split],
        "back": [back for _, _, back in split],
        "now": now,
        "grace_until": now + RELEASE_GRACE,
    }
    return _returned(book.rows(_FROM_HOLD, params))


def from_capture(parts: list[tuple[int, int]], *, now: datetime) -> Returned:
    """Under the wallet's lock, expiry settled: give captured credits back to their grants."""
    params = {
        "grants": [grant for grant, _ in parts],
        "back": [back for _, back in parts],
        "now": now,
        "grace_until": now + REFUND_GRACE,
    }
    return _returned(book.rows(_FROM_CAPTURE, params))


def _returned(rows: list[tuple[int, int, str, datetime | None]]) -> Returned:
    came = [(grant, back, Bucket(fate), expires_at) for grant, back, fate, expires_at in rows if back]
    alive = [expires_at for _, _, fate, expires_at in came if fate == Bucket.REMAINING and expires_at]
    return Returned(
        targets={grant: fate for grant, _, fate, _ in came},
        expired=sum(back for _, back, fate, _ in came if fate == Bucket.EXPIRED),
        adjusted_out=sum(back for _, back, fate, _ in came if fate == Bucket.ADJUSTED_OUT),
        first_expiry_at=min(alive, default=None),
    )


_NOT_STAYING = """
UPDATE accounts_wallet SET
    available = available - %(expired)s - %(adjusted_out)s,
    expired = expired + %(expired)s, adjusted_out = adjusted_out + %(adjusted_out)s,
    next_expiry_at = least(next_expiry_at, %(expires_at)s)
WHERE id = %(wallet)s RETURNING available
"""


def account_for(wallet_id: int, delta: Delta, after: After, came: Returned) -> tuple[Delta, After]:
    """Rarely needed second touch of the locked wallet: credits came back with an expiry of their own, or too late."""
    known, first = after.next_expiry_at, came.first_expiry_at
    lost = came.expired + came.adjusted_out
    if not lost and (first is None or (known is not None and known <= first)):
        return delta, after
    params = {
        "wallet": wallet_id,
        "expired": came.expired,
        "adjusted_out": came.adjusted_out,
        "expires_at": first,
    }
    [(available,)] = book.rows(_NOT_STAYING, params)
    told = replace(
        delta,
        available=delta.available - lost,
        expired=delta.expired + came.expired,
        adjusted_out=delta.adjusted_out + came.adjusted_out,
    )
    return told, after._replace(available=available)
