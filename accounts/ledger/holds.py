"""Credits set aside for one piece of work, and the one way each hold ends: captured or released; refunds after."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from accounts import clock
from accounts.errors import HoldAlreadyResolved, InvalidAmount, ReasonRequired
from accounts.ledger import book, budgets
from accounts.ledger.book import After, Bucket, Delta, Part
from accounts.models import Entry, Hold, User, Wallet

# Credits whose grant expired while they were held come back once with this much time: the member lost it through no
# fault of theirs. A second time they expire, or holding and cancelling would keep credits alive for ever.
RELEASE_GRACE = timedelta(hours=24)
REFUND_GRACE = timedelta(days=30)

_INSERT_HOLD = """
INSERT INTO accounts_hold (id, wallet_id, user_id, reference, amount, captured, refunded, state, created_at)
VALUES (%(id)s, %(wallet)s, %(user)s, %(reference)s, %(amount)s, 0, 0, 'held', %(now)s)
ON CONFLICT (reference) DO NOTHING RETURNING id
"""


def hold(
    wallet: Wallet, *, amount: int, user: User, reference: str, reason: str, now: datetime | None = None
) -> Hold:
    """Set credits aside for `reference` ("generation:<id>"). A repeated reference answers with the first hold.

    Raises `InsufficientCredits`, `BudgetExceeded`, `WalletNotActive`, `InvalidAmount`, `IdempotencyConflict`.
    """
    now = now or clock.now()
    amount = book.checked_amount(amount)
    entry = Entry(
        wallet_id=wallet.pk,
        kind=Entry.Kind.HOLD,
        user_id=user.pk,
        reason=book.checked_reason(reason),
        reference=reference,
        idempotency_key=f"hold:{reference}",
        parameters_sha256=book.digest(
            "hold", wallet=wallet.pk, amount=amount, user=user.pk, reference=reference
        ),
        created_at=now,
    )
    made = Hold(id=uuid.uuid4(), wallet=wallet, user=user, reference=reference, amount=amount, created_at=now)
    with transaction.atomic():
        if not _insert(made):
            book.replayed(entry.idempotency_key, sha256=entry.parameters_sha256)
            return Hold.objects.get(reference=reference)
        _set_aside(made, entry, now=now)
    return made


def _insert(made: Hold) -> bool:
    """False if the reference has a hold; waits for a twin that is being made at this moment."""
    params = {
        "id": made.pk,
        "wallet": made.wallet_id,
        "user": made.user_id,
        "reference": made.reference,
        "amount": made.amount,
        "now": made.created_at,
    }
    is_new = book.row(_INSERT_HOLD, params) is not None
    made._state.adding = False
    return is_new


def _set_aside(made: Hold, entry: Entry, *, now: datetime) -> None:
    budgets.take(wallet_id=made.wallet_id, user_id=made.user_id, hold_id=made.pk, amount=made.amount, now=now)
    delta = Delta(available=-made.amount, held=made.amount)
    after = book.move(made.wallet_id, delta, now=now, is_active_only=True)
    parts = book.burn(made.wallet_id, amount=made.amount, target=Bucket.HELD)
    entry.hold_id = made.pk
    book.write(entry, delta=delta, after=after, parts=parts)


def capture(hold: Hold, *, amount: int | None = None, reason: str, now: datetime | None = None) -> Entry:
    """Spend a hold, whole or in part; what is not spent returns in the same entry. Exactly once.

    A capture of nothing is a release. Raises `HoldAlreadyResolved` after a release, `InvalidAmount` above what is
    held, `IdempotencyConflict` after a capture of another amount. The `hold` passed in is not refreshed.
    """
    if amount is not None:
        amount = book.checked_amount(amount)
    return _resolve(hold, Entry.Kind.CAPTURE, captured=amount, reason=reason, actor=None, now=now)


def release(hold: Hold, *, reason: str, actor: User | None = None, now: datetime | None = None) -> Entry:
    """Give a hold back whole, to the grants it came from. Exactly once; raises `HoldAlreadyResolved` after a capture.

    A part whose grant expired meanwhile comes back with 24 hours of grace, once per grant; later it expires.
    """
    return _resolve(hold, Entry.Kind.RELEASE, captured=0, reason=reason, actor=actor, now=now)


class _Resolved(NamedTuple):
    wallet_id: int
    user_id: int
    reference: str
    amount: int
    captured: int


_RESOLVE = """
WITH resolved AS (
    UPDATE accounts_hold SET state = %(state)s, captured = coalesce(%(captured)s::bigint, amount), resolved_at = %(now)s
    WHERE id = %(hold)s AND state = 'held' AND coalesce(%(captured)s::bigint, amount) <= amount
    RETURNING id, wallet_id, user_id, reference, amount, captured
), locked AS (
    SELECT p.id FROM resolved
    JOIN accounts_holdbudget link ON link.hold_id = resolved.id
    JOIN accounts_budgetperiod p ON p.id = link.budget_period_id
    ORDER BY p.id FOR UPDATE OF p
), counted AS (
    UPDATE accounts_budgetperiod p SET held = p.held - resolved.amount, captured = p.captured + resolved.captured
    FROM resolved, locked WHERE p.id = locked.id
)
SELECT wallet_id, user_id, reference, amount, captured FROM resolved
"""

_STATE_OF = {Entry.Kind.CAPTURE: Hold.State.CAPTURED, Entry.Kind.RELEASE: Hold.State.RELEASED}


def _resolve(
    hold: Hold,
    kind: Entry.Kind,
    *,
    captured: int | None,
    reason: str,
    actor: User | None,
    now: datetime | None,
) -> Entry:
    now = now or clock.now()
    entry = Entry(kind=kind, hold_id=hold.pk, actor=actor, reason=book.checked_reason(reason), created_at=now)
    params = {"hold": hold.pk, "state": _STATE_OF[kind].value, "captured": captured, "now": now}
    with transaction.atomic():
        found = book.row(_RESOLVE, params)
        if found is None:
            return _already(hold, kind, captured=captured)
        done = _Resolved(*found)
        entry.wallet_id, entry.user_id, entry.reference = done.wallet_id, done.user_id, done.reference
        entry.idempotency_key = f"{kind}:{done.reference}"
        entry.parameters_sha256 = _digest(kind, done.reference, done.captured)
        return _settle(entry, done, now=now)


def _digest(kind: Entry.Kind, reference: str, captured: int) -> str:
    return book.digest(kind, reference=reference, captured=captured)


def _already(hold: Hold, kind: Entry.Kind, *, captured: int | None) -> Entry:
    """The entry of the same resolution made before, or the refusal that fits."""
    fresh = Hold.objects.get(pk=hold.pk)
    wanted = fresh.amount if captured is None else captured
    if fresh.is_open:
        raise InvalidAmount(f"{wanted} credits cannot be captured: {fresh.amount} were held.")
    if fresh.state != _STATE_OF[kind]:
        raise HoldAlreadyResolved(state=fresh.state)
    key = f"{kind}:{fresh.reference}"
    done = book.replayed(key, sha256=_digest(kind, fresh.reference, wanted))
    if done is None:
        raise HoldAlreadyResolved(state=fresh.state)
    return done


def _settle(entry: Entry, done: _Resolved, *, now: datetime) -> Entry:
    returned = done.amount - done.captured
    split = _split(_held_parts(entry), captured=done.captured)
    delta = Delta(held=-done.amount, captured=done.captured, available=returned)
    after = book.move(done.wallet_id, delta, now=now)
    lapsed = _give_back(split, now=now)
    parts = [Part(grant, Bucket.HELD, Bucket.CAPTURED, used) for grant, used, _ in split if used]
    for grant, _, back in split:
        if back:
            parts.append(
                Part(grant, Bucket.HELD, Bucket.EXPIRED if grant in lapsed.grants else Bucket.REMAINING, back)
            )
    if returned:
        delta, after = _account_for_lapse(done.wallet_id, delta, after, lapsed)
    return book.write(entry, delta=delta, after=after, parts=parts)


_HELD_PARTS = """
SELECT d.grant_id, d.amount FROM accounts_draw d JOIN accounts_entry e ON e.id = d.entry_id
WHERE e.hold_id = %(hold)s AND e.kind = 'hold' ORDER BY d.id
"""


def _held_parts(entry: Entry) -> list[tuple[int, int]]:
    """What the hold took, per grant, in the recorded order: today's expiries may be others."""
    return [(grant, amount) for grant, amount in book.rows(_HELD_PARTS, {"hold": entry.hold_id})]


def _split(parts: list[tuple[int, int]], *, captured: int) -> list[tuple[int, int, int]]:
    """(grant, captured, given back): what was taken first is spent first."""
    split, left = [], captured
    for grant, amount in parts:
        used = min(left, amount)
        split.append((grant, used, amount - used))
        left -= used
    return split


class _Lapse(NamedTuple):
    """What did not survive the way back: the grants and credits that expired, and the first expiry of the rest."""

    grants: set[int]
    credits: int
    first_expiry_at: datetime | None


_GIVE_BACK = """
UPDATE accounts_grant g SET
    held = g.held - part.used - part.back,
    captured = g.captured + part.used,
    remaining = g.remaining + CASE WHEN g.expires_at <= %(now)s AND g.is_grace_used THEN 0 ELSE part.back END,
    expired = g.expired + CASE WHEN g.expires_at <= %(now)s AND g.is_grace_used THEN part.back ELSE 0 END,
    expires_at = CASE WHEN part.back > 0 AND g.expires_at <= %(now)s AND NOT g.is_grace_used
                      THEN %(grace_until)s ELSE g.expires_at END,
    is_grace_used = g.is_grace_used OR coalesce(part.back > 0 AND g.expires_at <= %(now)s, false)
FROM unnest(%(grants)s::bigint[], %(used)s::bigint[], %(back)s::bigint[]) AS part (id, used, back)
WHERE g.id = part.id
RETURNING g.id, part.back, g.expires_at
"""


def _give_back(split: list[tuple[int, int, int]], *, now: datetime) -> _Lapse:
    """Under the wallet's lock, expiry settled: spend and return each grant's part."""
    params = {
        "grants": [grant for grant, _, _ in split],
        "used": [used for _, used, _ in split],
        "back": [back for _, _, back in split],
        "now": now,
        "grace_until": now + RELEASE_GRACE,
    }
    returned = [item for item in book.rows(_GIVE_BACK, params) if item[1]]
    dead = [(grant, back) for grant, back, expires_at in returned if expires_at and expires_at <= now]
    alive = [expires_at for _, _, expires_at in returned if expires_at and expires_at > now]
    return _Lapse({grant for grant, _ in dead}, sum(back for _, back in dead), min(alive, default=None))


_LAPSE = """
UPDATE accounts_wallet SET
    available = available - %(lapsed)s, expired = expired + %(lapsed)s,
    next_expiry_at = least(next_expiry_at, %(expires_at)s)
WHERE id = %(wallet)s RETURNING available
"""


def _account_for_lapse(wallet_id: int, delta: Delta, after: After, lapse: _Lapse) -> tuple[Delta, After]:
    """Rarely needed second touch of the locked wallet: credits came back with an expiry of their own, or too late."""
    known, first = after.next_expiry_at, lapse.first_expiry_at
    if not lapse.credits and (first is None or (known is not None and known <= first)):
        return delta, after
    params = {"wallet": wallet_id, "lapsed": lapse.credits, "expires_at": first}
    [(available,)] = book.rows(_LAPSE, params)
    lapsed = Delta(
        held=delta.held,
        captured=delta.captured,
        available=delta.available - lapse.credits,
        expired=lapse.credits,
    )
    return lapsed, after._replace(available=available)


_REFUND_HOLD = """
WITH refunded AS (
    UPDATE accounts_hold SET refunded = refunded + %(amount)s
    WHERE id = %(hold)s AND refunded + %(amount)s <= captured RETURNING id
), locked AS (
    SELECT p.id FROM refunded
    JOIN accounts_holdbudget link ON link.hold_id = refunded.id
    JOIN accounts_budgetperiod p ON p.id = link.budget_period_id
    ORDER BY p.id FOR UPDATE OF p
), counted AS (
    UPDATE accounts_budgetperiod p SET captured = p.captured - %(amount)s FROM locked WHERE p.id = locked.id
)
SELECT id FROM refunded
"""

_REFUNDABLE = """
SELECT d.grant_id, sum(CASE d.target WHEN 'captured' THEN d.amount ELSE -d.amount END)::bigint AS spent
FROM accounts_draw d JOIN accounts_entry e ON e.id = d.entry_id
WHERE e.hold_id = %(hold)s AND 'captured' IN (d.source, d.target)
GROUP BY d.grant_id ORDER BY min(d.id) DESC
"""

_REFUND_GRANTS = """
UPDATE accounts_grant g SET
    captured = g.captured - part.back, remaining = g.remaining + part.back,
    expires_at = CASE WHEN g.expires_at <= %(now)s THEN %(grace_until)s ELSE g.expires_at END
FROM unnest(%(grants)s::bigint[], %(back)s::bigint[]) AS part (id, back)
WHERE g.id = part.id RETURNING g.expires_at
"""


def refund(
    hold: Hold,
    *,
    amount: int,
    actor: User | None,
    reason: str,
    idempotency_key: str,
    now: datetime | None = None,
) -> Entry:
    """Give captured credits back, whole or in part, to the grants they came from, last spent first.

    A grant that has expired meanwhile lives 30 more days for what returns to it. The window of the hold's budget is
    credited, not today's. Raises `ReasonRequired` without actor or reason, `InvalidAmount` above what is captured.
    """
    now = now or clock.now()
    amount = book.checked_amount(amount)
    reason = book.checked_reason(reason)
    if actor is None:
        raise ReasonRequired
    with transaction.atomic():
        fresh = Hold.objects.select_for_update(no_key=True).get(pk=hold.pk)
        sha256 = book.digest("refund", hold=fresh.pk, amount=amount)
        if done := book.replayed(idempotency_key, sha256=sha256):
            return done
        entry = Entry(
            wallet_id=fresh.wallet_id,
            kind=Entry.Kind.REFUND,
            hold=fresh,
            user_id=fresh.user_id,
            actor=actor,
            reason=reason,
            reference=fresh.reference,
            idempotency_key=idempotency_key,
            parameters_sha256=sha256,
            created_at=now,
        )
        return _refund(entry, fresh, amount=amount, now=now)


def _refund(entry: Entry, hold: Hold, *, amount: int, now: datetime) -> Entry:
    if book.row(_REFUND_HOLD, {"hold": hold.pk, "amount": amount}) is None:
        left = hold.captured - hold.refunded
        raise InvalidAmount(
            f"{amount} credits cannot be refunded: {left} of this {hold.state} hold could be."
        )
    back = [(grant, used) for grant, used, _ in _split(_refundable(hold), captured=amount) if used]
    delta = Delta(captured=-amount, available=amount)
    after = book.move(hold.wallet_id, delta, now=now)
    params = {
        "grants": [grant for grant, _ in back],
        "back": [part for _, part in back],
        "now": now,
        "grace_until": now + REFUND_GRACE,
    }
    expiries = [expires_at for (expires_at,) in book.rows(_REFUND_GRANTS, params) if expires_at]
    lapse = _Lapse(set(), 0, min(expiries, default=None))
    delta, after = _account_for_lapse(hold.wallet_id, delta, after, lapse)
    parts = [Part(grant, Bucket.CAPTURED, Bucket.REMAINING, part) for grant, part in back]
    return book.write(entry, delta=delta, after=after, parts=parts)


def _refundable(hold: Hold) -> list[tuple[int, int]]:
    return [(grant, spent) for grant, spent in book.rows(_REFUNDABLE, {"hold": hold.pk})]
