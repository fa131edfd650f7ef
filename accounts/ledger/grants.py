"""Credits that come in, go out by correction or expire; opening and freezing a wallet; reading its balance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Sum

from accounts import clock
from accounts.errors import InvalidAmount, InvalidExpiry, ReasonRequired
from accounts.ledger import book, duty
from accounts.ledger.book import Bucket, Delta, Part
from accounts.models import Entry, Grant, Team, User, Wallet
from accounts.models.money import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """A wallet's buckets in credits, with expiries that are due but not settled yet already taken off."""

    granted: int
    available: int
    held: int
    captured: int
    expired: int
    adjusted_out: int
    next_expiry_at: datetime | None


def open_wallet(team: Team) -> Wallet:
    """The team's wallet, made empty if it has none."""
    wallet, _ = Wallet.objects.get_or_create(team=team)
    return wallet


def balance(wallet: Wallet, *, now: datetime | None = None) -> Balance:
    """What the wallet has, from its own row: the cost does not grow with the book."""
    now = now or clock.now()
    fresh = Wallet.objects.get(pk=wallet.pk)
    due = 0
    if fresh.next_expiry_at is not None and fresh.next_expiry_at <= now:
        lapsed = Grant.objects.filter(wallet=fresh, is_open=True, expires_at__lte=now)
        due = lapsed.aggregate(total=Sum("remaining"))["total"] or 0
    return Balance(
        granted=fresh.granted,
        available=fresh.available - due,
        held=fresh.held,
        captured=fresh.captured,
        expired=fresh.expired + due,
        adjusted_out=fresh.adjusted_out,
        next_expiry_at=fresh.next_expiry_at,
    )


def grant(
    wallet: Wallet,
    *,
    amount: int,
    source: str,
    reason: str,
    idempotency_key: str,
    actor: User | None = None,
    expires_at: datetime | None = None,
    reference: str = "",
    note: str = "",
    now: datetime | None = None,
) -> Entry:
    """Put credits into the wallet as a grant of their own; `expires_at` None is never.

    `source` is a `Source`; `reference` names the invoice or campaign. Raises `InvalidAmount`, `InvalidExpiry`,
    `ReasonRequired`, `IdempotencyConflict`, and `SelfDealing` for an actor whose own team it is: see `ledger.duty`.
    """
    now = now or clock.now()
    amount = book.checked_amount(amount)
    if expires_at is not None and expires_at <= now:
        raise InvalidExpiry(expires_at=expires_at)
    entry = Entry(
        wallet_id=wallet.pk,
        kind=Entry.Kind.GRANT,
        actor=actor,
        reason=book.checked_reason(reason),
        reference=reference,
        note=note,
        idempotency_key=idempotency_key,
        parameters_sha256=book.digest(
            "grant", wallet=wallet.pk, amount=amount, source=Source(source).value, expires_at=expires_at
        ),
        created_at=now,
    )
    return _bring_in(entry, amount=amount, source=Source(source), expires_at=expires_at, now=now)


def adjust(
    wallet: Wallet,
    *,
    amount: int,
    actor: User | None,
    reason: str,
    idempotency_key: str,
    now: datetime | None = None,
) -> Entry:
    """Correct the wallet by a signed number of credits: up is a grant that never expires, down burns grants in order.

    Held credits are out of reach. Raises `ReasonRequired` without actor or reason, `InsufficientCredits`,
    `InvalidAmount`, `IdempotencyConflict`, and `SelfDealing` for an actor who adds to their own team's wallet.
    """
    now = now or clock.now()
    reason = book.checked_reason(reason)
    if actor is None:
        raise ReasonRequired
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise InvalidAmount(f"A correction is a whole number of credits, not {amount!r}.")
    size = book.checked_amount(abs(amount))
    entry = Entry(
        wallet_id=wallet.pk,
        kind=Entry.Kind.ADJUSTMENT,
        actor=actor,
        reason=reason,
        idempotency_key=idempotency_key,
        parameters_sha256=book.digest("adjustment", wallet=wallet.pk, amount=amount),
        created_at=now,
    )
    if amount > 0:
        return _bring_in(entry, amount=size, source=Source.ADJUSTMENT, expires_at=None, now=now)
    return _take_out(entry, amount=size, now=now)


def _bring_in(
    entry: Entry, *, amount: int, source: Source, expires_at: datetime | None, now: datetime
) -> Entry:
    with transaction.atomic():
        book.lock(entry.wallet_id)
        if done := book.replayed(entry.idempotency_key, sha256=entry.parameters_sha256):
            return done
        mark = duty.mark_income(
            entry.wallet_id, actor=entry.actor, what="adds credits to the wallet of their own team"
        )
        note = entry.note or entry.reason
        entry.note = duty.noted(entry.note, mark)
        delta = Delta(granted=amount, available=amount)
        after = book.move(entry.wallet_id, delta, now=now, expires_at=expires_at)
        made = Grant.objects.create(
            wallet_id=entry.wallet_id,
            source=source,
            amount=amount,
            remaining=amount,
            expires_at=expires_at,
            original_expires_at=expires_at,
            note=note,
            reference=entry.reference,
            created_at=now,
        )
        parts = [Part(made.pk, Bucket.OUTSIDE, Bucket.REMAINING, amount)]
        return book.write(entry, delta=delta, after=after, parts=parts)


def _take_out(entry: Entry, *, amount: int, now: datetime) -> Entry:
    with transaction.atomic():
        book.lock(entry.wallet_id)
        if done := book.replayed(entry.idempotency_key, sha256=entry.parameters_sha256):
            return done
        delta = Delta(available=-amount, adjusted_out=amount)
        after = book.move(entry.wallet_id, delta, now=now)
        parts = book.burn(entry.wallet_id, amount=amount, target=Bucket.ADJUSTED_OUT)
        return book.write(entry, delta=delta, after=after, parts=parts)


def expire(wallet: Wallet, *, now: datetime | None = None) -> Entry | None:
    """Settle what has expired; None if nothing had. Any other operation does it by itself: this is for tidiness."""
    with transaction.atomic():
        book.lock(wallet.pk)
        return book.settle_expiry(wallet.pk, now=now or clock.now())


def expire_due(*, now: datetime | None = None, limit: int = 200) -> int:
    """Settle every wallet whose expiry has come, at most `limit`; how many it were. For the sweep."""
    now = now or clock.now()
    due = Wallet.objects.filter(next_expiry_at__lte=now).order_by("next_expiry_at")[:limit]
    for wallet in due:
        expire(wallet, now=now)
    return len(due)


def freeze(wallet: Wallet, *, actor: User, reason: str, now: datetime | None = None) -> Entry | None:
    """Refuse new holds from now on; what is held still resolves. None if it was frozen already."""
    return _turn(wallet, Wallet.Status.FROZEN, Entry.Kind.FREEZE, actor=actor, reason=reason, now=now)


def unfreeze(wallet: Wallet, *, actor: User, reason: str, now: datetime | None = None) -> Entry | None:
    """Allow new holds again. None if they were allowed already."""
    return _turn(wallet, Wallet.Status.ACTIVE, Entry.Kind.UNFREEZE, actor=actor, reason=reason, now=now)


def _turn(
    wallet: Wallet, status: Wallet.Status, kind: Entry.Kind, *, actor: User, reason: str, now: datetime | None
) -> Entry | None:
    reason = book.checked_reason(reason)
    now = now or clock.now()
    with transaction.atomic():
        was = book.lock(wallet.pk).status
        if was == status:
            return None
        after = book.move(wallet.pk, Delta(), now=now)
        Wallet.objects.filter(pk=wallet.pk).update(status=status)
        entry = Entry(
            wallet_id=wallet.pk,
            kind=kind,
            actor=actor,
            reason=reason,
            idempotency_key=f"{kind}:{wallet.pk}:{after.seq}",
            created_at=now,
        )
        change = ({"status": str(was)}, {"status": str(status)})
        return book.write(entry, delta=Delta(), after=after, change=change)
