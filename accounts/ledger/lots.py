"""What is done to a grant after it came in, and the terms on which people bring new ones in.

Voiding takes out what is left. What is held of the grant stays held, for that work was agreed; it may be captured, and
what is given back of it, by a release or a refund, goes out of the wallet in that same entry: see `ledger.returns`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction

from accounts import clock
from accounts.errors import GrantClosed, InvalidExpiry, ReasonRequired
from accounts.ledger import book, duty, grants
from accounts.ledger.book import Bucket, Delta, Part
from accounts.models import Entry, Grant, User, Wallet
from accounts.models.money import Source

PURCHASE_DAYS = 365
PROMOTIONAL_DAYS = range(7, 366)


def add_credits(
    wallet: Wallet,
    *,
    amount: int,
    source: str,
    days: int | None,
    reason: str,
    actor: User,
    idempotency_key: str,
    reference: str = "",
    note: str = "",
    now: datetime | None = None,
) -> Entry:
    """Grant credits that last to the end of the `days`th day from today in the team's zone; None is for ever.

    Promotional credits last from 7 to 365 days. Raises `InvalidExpiry`, and what `grants.grant` raises.
    """
    now = now or clock.now()
    if source == Source.PROMOTIONAL and days not in PROMOTIONAL_DAYS:
        raise InvalidExpiry(text="Promotional credits last from 7 to 365 days.")
    if days is not None and not 0 < days <= 3660:
        raise InvalidExpiry(text="Credits last from 1 to 3660 days, or for ever.")
    expires_at = None
    if days is not None:
        zone = ZoneInfo(wallet.team.time_zone)
        expires_at = end_of(now.astimezone(zone).date() + timedelta(days=days), zone)
    return grants.grant(
        wallet,
        amount=amount,
        source=source,
        reason=reason,
        idempotency_key=idempotency_key,
        actor=actor,
        expires_at=expires_at,
        reference=reference,
        note=note,
        now=now,
    )


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """The moment after the last of a day there."""
    return datetime.combine(day + timedelta(days=1), time.min, tzinfo=zone)


def void_grant(
    grant: Grant, *, actor: User | None, reason: str, idempotency_key: str, now: datetime | None = None
) -> Entry:
    """Take what is left of a grant out of the wallet, for good: now, and later what comes back to it.

    Raises `ReasonRequired` without actor or reason, `GrantClosed` if nothing of it is left or held,
    `IdempotencyConflict`.
    """
    entry = _entry(grant, Entry.Kind.VOID, actor=actor, reason=reason, key=idempotency_key, now=now)
    return _once(entry, lambda: _void(entry, grant.pk))


def _void(entry: Entry, grant_id: int) -> Entry:
    fresh = _open(entry, grant_id)
    left = fresh.remaining
    entry.note = f"{left} of {fresh.amount} taken out" + (f", {fresh.held} still held" if fresh.held else "")
    delta = Delta(available=-left, adjusted_out=left)
    after = book.move(entry.wallet_id, delta, now=entry.created_at)
    Grant.objects.filter(pk=grant_id).update(
        remaining=0, adjusted_out=fresh.adjusted_out + left, voided_at=entry.created_at
    )
    parts = [Part(grant_id, Bucket.REMAINING, Bucket.ADJUSTED_OUT, left)] if left else []
    return book.write(entry, delta=delta, after=after, parts=parts)


def extend_grant(
    grant: Grant,
    *,
    expires_at: datetime | None,
    actor: User | None,
    reason: str,
    idempotency_key: str,
    now: datetime | None = None,
) -> Entry:
    """Let a grant live longer, None for ever; what was said when it came in stays in `original_expires_at`.

    Raises `ReasonRequired` without actor or reason, `InvalidExpiry` if it is not later, `GrantClosed` for one that was
    voided, is used up or has expired, `SelfDealing` for an actor whose own team it is, `IdempotencyConflict`.
    """
    entry = _entry(
        grant,
        Entry.Kind.EXTENSION,
        actor=actor,
        reason=reason,
        key=idempotency_key,
        now=now,
        until=expires_at,
    )
    return _once(entry, lambda: _extend(entry, grant.pk, expires_at))


def _extend(entry: Entry, grant_id: int, expires_at: datetime | None) -> Entry:
    fresh = _open(entry, grant_id)
    if fresh.expires_at is not None and fresh.expires_at <= entry.created_at:
        raise GrantClosed("This grant has expired: what was left of it is gone.")
    if fresh.expires_at is None or (expires_at is not None and expires_at <= fresh.expires_at):
        raise InvalidExpiry(
            text=f"An extension ends later than the grant does now ({_words(fresh.expires_at)})."
        )
    mark = duty.mark_income(
        entry.wallet_id, actor=entry.actor, what="makes the credits of their own team last longer"
    )
    entry.note = duty.noted(f"{_words(fresh.expires_at)} → {_words(expires_at)}", mark)
    after = book.move(entry.wallet_id, Delta(), now=entry.created_at)
    Grant.objects.filter(pk=grant_id).update(expires_at=expires_at)
    change = ({"expires_at": fresh.expires_at}, {"expires_at": expires_at})
    return book.write(entry, delta=Delta(), after=after, change=change)


def _words(expires_at: datetime | None) -> str:
    return f"{expires_at:%Y-%m-%d %H:%M %Z}" if expires_at else "never"


def _entry(
    grant: Grant,
    kind: Entry.Kind,
    *,
    actor: User | None,
    reason: str,
    key: str,
    now: datetime | None,
    **parameters: object,
) -> Entry:
    if actor is None:
        raise ReasonRequired
    return Entry(
        wallet_id=grant.wallet_id,
        kind=kind,
        actor=actor,
        reason=book.checked_reason(reason),
        reference=f"grant:{grant.pk}",
        idempotency_key=key,
        parameters_sha256=book.digest(kind, grant=grant.pk, **parameters),
        created_at=now or clock.now(),
    )


def _once(entry: Entry, write: Callable[[], Entry]) -> Entry:
    """Under the wallet's lock, with what has expired settled: the entry of this key from before, or a new one."""
    with transaction.atomic():
        book.lock(entry.wallet_id)
        if done := book.replayed(entry.idempotency_key, sha256=entry.parameters_sha256):
            return done
        book.settle_expiry(entry.wallet_id, now=entry.created_at)
        return write()


def _open(entry: Entry, grant_id: int) -> Grant:
    fresh = Grant.objects.get(pk=grant_id, wallet_id=entry.wallet_id)
    if fresh.voided_at is not None:
        raise GrantClosed("This grant was voided before.")
    if not fresh.remaining and not fresh.held:
        raise GrantClosed("Nothing is left of this grant: it is used up or has expired.")
    return fresh
