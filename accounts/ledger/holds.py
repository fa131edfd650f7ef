"""Credits set aside for one piece of work, and the one way each hold ends: captured or released; refunds after."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import NamedTuple

from accounts import clock
from accounts.errors import HoldAlreadyResolved, InvalidAmount, ReasonRequired
from accounts.ledger import book, budgets, duty, returns
from accounts.ledger.book import Bucket, Delta, Part
from accounts.ledger.returns import Split
from accounts.models import Entry, Hold, User, Wallet

_INSERT_HOLD = """
INSERT INTO accounts_hold (id, wallet_id, user_id, reference, amount, captured, refunded, state, created_at)
VALUES (%(id)s, %(wallet)s, %(user)s, %(reference)s, %(amount)s, 0, 0, 'held', %(now)s)
ON CONFLICT (reference) DO NOTHING
RETURNING (SELECT budgets_made FROM accounts_wallet WHERE id = %(wallet)s)
"""


class Approval(NamedTuple):
    """Leave of an admin for one hold to go over its member's budgets; `request` names what was approved."""

    actor: User
    request: str


def hold(
    wallet: Wallet,
    *,
    amount: int,
    user: User,
    reference: str,
    reason: str,
    approval: Approval | None = None,
    now: datetime | None = None,
) -> Hold:
    """Set credits aside for `reference` ("generation:<id>"). A repeated reference answers with the first hold.

    With an `approval` no budget refuses it, and none is changed: it counts in each of their windows, and its entry
    says who approved which request, and which budgets it went over. The wallet refuses as always.

    Raises `InsufficientCredits`, `BudgetExceeded`, `WalletNotActive`, `InvalidAmount`, `IdempotencyConflict`, and
    `SelfDealing` for an approval of one's own work.
    """
    now = now or clock.now()
    amount = book.checked_amount(amount)
    entry = Entry(
        wallet_id=wallet.pk,
        kind=Entry.Kind.HOLD,
        user_id=user.pk,
        actor=approval.actor if approval else None,
        reason=book.checked_reason(reason),
        reference=reference,
        idempotency_key=f"hold:{reference}",
        parameters_sha256=book.digest(
            "hold", wallet=wallet.pk, amount=amount, user=user.pk, reference=reference
        ),
        created_at=now,
    )
    made = Hold(id=uuid.uuid4(), wallet=wallet, user=user, reference=reference, amount=amount, created_at=now)
    return book.repeated(lambda: _hold(made, entry, approval, now=now))


def _hold(made: Hold, entry: Entry, approval: Approval | None, *, now: datetime) -> Hold:
    seen = _insert(made)
    if seen is None:
        book.replayed(entry.idempotency_key, sha256=entry.parameters_sha256)
        return Hold.objects.get(reference=made.reference)
    _set_aside(made, entry, approval, seen=seen, now=now)
    return made


def _insert(made: Hold) -> int | None:
    """The wallet's `budgets_made` by then, or None if the reference has a hold.

    Waits for a twin that is being made at this moment.
    """
    params = {
        "id": made.pk,
        "wallet": made.wallet_id,
        "user": made.user_id,
        "reference": made.reference,
        "amount": made.amount,
        "now": made.created_at,
    }
    found = book.row(_INSERT_HOLD, params)
    made._state.adding = False
    return found[0] if found else None


def _set_aside(made: Hold, entry: Entry, approval: Approval | None, *, seen: int, now: datetime) -> None:
    over = budgets.take(
        wallet_id=made.wallet_id,
        user_id=made.user_id,
        hold_id=made.pk,
        amount=made.amount,
        now=now,
        is_approved=approval is not None,
    )
    if approval:
        entry.note = _approved(approval, made, over)
    delta = Delta(available=-made.amount, held=made.amount)
    after = book.move(made.wallet_id, delta, now=now, is_active_only=True)
    book.check_budgets(after, seen=seen)
    parts = book.burn(made.wallet_id, amount=made.amount, target=Bucket.HELD)
    entry.hold_id = made.pk
    book.write(entry, delta=delta, after=after, parts=parts)


def _approved(approval: Approval, made: Hold, over: list[str]) -> str:
    """The note of a hold that was approved: "request 7f3…; over 25 per day"."""
    what = "approves their own request"
    mark = duty.mark(made.wallet_id, actor=approval.actor, gainer=made.user, what=what)
    limits = f"over {' and '.join(over)}" if over else "over no budget"
    return duty.noted(f"approved: {approval.request}; {limits}", mark)


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

    A part whose grant expired meanwhile comes back with 24 hours of grace, once per grant; later it expires. A part
    whose grant was voided meanwhile goes out of the wallet.
    """
    return _resolve(hold, Entry.Kind.RELEASE, captured=0, reason=reason, actor=actor, now=now)


class _Resolved(NamedTuple):
    wallet_id: int
    user_id: int
    reference: str
    amount: int
    captured: int
    budgets_made: int


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
SELECT wallet_id, user_id, reference, amount, captured,
       (SELECT w.budgets_made FROM accounts_wallet w WHERE w.id = resolved.wallet_id)
FROM resolved
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

    def attempt() -> Entry:
        found = book.row(_RESOLVE, params)
        if found is None:
            return _already(hold, kind, captured=captured)
        done = _Resolved(*found)
        entry.wallet_id, entry.user_id, entry.reference = done.wallet_id, done.user_id, done.reference
        entry.idempotency_key = f"{kind}:{done.reference}"
        entry.parameters_sha256 = _digest(kind, done.reference, done.captured)
        return _settle(entry, done, now=now)

    return book.repeated(attempt)


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
    book.check_budgets(after, seen=done.budgets_made)
    came = returns.from_hold(split, now=now)
    parts = [Part(grant, Bucket.HELD, Bucket.CAPTURED, used) for grant, used, _ in split if used]
    parts += [Part(grant, Bucket.HELD, came.targets[grant], back) for grant, _, back in split if back]
    if returned:
        delta, after = returns.account_for(done.wallet_id, delta, after, came)
    return book.write(entry, delta=delta, after=after, parts=parts)


_HELD_PARTS = """
SELECT d.grant_id, d.amount FROM accounts_draw d JOIN accounts_entry e ON e.id = d.entry_id
WHERE e.hold_id = %(hold)s AND e.kind = 'hold' ORDER BY d.id
"""


def _held_parts(entry: Entry) -> list[tuple[int, int]]:
    """What the hold took, per grant, in the recorded order: today's expiries may be others."""
    return [(grant, amount) for grant, amount in book.rows(_HELD_PARTS, {"hold": entry.hold_id})]


def _split(parts: list[tuple[int, int]], *, captured: int) -> Split:
    """(grant, captured, given back): what was taken first is spent first."""
    split, left = [], captured
    for grant, amount in parts:
        used = min(left, amount)
        split.append((grant, used, amount - used))
        left -= used
    return split


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
SELECT (SELECT w.budgets_made FROM accounts_wallet w WHERE w.id = %(wallet)s) FROM refunded
"""

_REFUNDABLE = """
SELECT d.grant_id, sum(CASE d.target WHEN 'captured' THEN d.amount ELSE -d.amount END)::bigint AS spent
FROM accounts_draw d JOIN accounts_entry e ON e.id = d.entry_id
WHERE e.hold_id = %(hold)s AND 'captured' IN (d.source, d.target)
GROUP BY d.grant_id ORDER BY min(d.id) DESC
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

    A grant that has expired meanwhile lives 30 more days for what returns to it; what returns to a voided one goes
    out. The window of the hold's budget is credited, not today's. Raises `ReasonRequired` without actor or reason,
    `InvalidAmount` above what is captured, `SelfDealing` for one's own work.
    """
    now = now or clock.now()
    amount = book.checked_amount(amount)
    reason = book.checked_reason(reason)
    if actor is None:
        raise ReasonRequired

    def attempt() -> Entry:
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
            note=duty.mark(fresh.wallet_id, actor=actor, gainer=fresh.user, what="refunds their own work"),
            reference=fresh.reference,
            idempotency_key=idempotency_key,
            parameters_sha256=sha256,
            created_at=now,
        )
        return _refund(entry, fresh, amount=amount, now=now)

    return book.repeated(attempt)


def _refund(entry: Entry, hold: Hold, *, amount: int, now: datetime) -> Entry:
    params = {"hold": hold.pk, "amount": amount, "wallet": hold.wallet_id}
    if (seen := book.row(_REFUND_HOLD, params)) is None:
        left = hold.captured - hold.refunded
        raise InvalidAmount(
            f"{amount} credits cannot be refunded: {left} of this {hold.state} hold could be."
        )
    back = [(grant, used) for grant, used, _ in _split(_refundable(hold), captured=amount) if used]
    delta = Delta(captured=-amount, available=amount)
    after = book.move(hold.wallet_id, delta, now=now)
    book.check_budgets(after, seen=seen[0])
    came = returns.from_capture(back, now=now)
    delta, after = returns.account_for(hold.wallet_id, delta, after, came)
    parts = [Part(grant, Bucket.CAPTURED, came.targets[grant], part) for grant, part in back]
    return book.write(entry, delta=delta, after=after, parts=parts)


def _refundable(hold: Hold) -> list[tuple[int, int]]:
    return [(grant, spent) for grant, spent in book.rows(_REFUNDABLE, {"hold": hold.pk})]
