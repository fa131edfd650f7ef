"""What the book said at a moment that is gone: balances and budgets, from the entries alone. Reads only.

Entries are numbered in the order in which they happened to the wallet; the moment of one was read just before it took
its turn, so that neighbours may stand a little out of order. What an entry says it left behind was true of the wallet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Q, Sum

from accounts.ledger import book
from accounts.ledger.windows import window
from accounts.models import Budget, Entry, User, Wallet
from accounts.models.money import Period

# No operation waits for its turn longer than this after it has read the time.
OUT_OF_ORDER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class PastBalance:
    """A wallet's buckets after the last entry (`seq`, 0 before the first) of that moment, in credits.

    An expiry counts from its own entry on: what was due to expire and not settled yet is still available here.
    """

    at: datetime
    seq: int = 0
    granted: int = 0
    available: int = 0
    held: int = 0
    captured: int = 0
    expired: int = 0
    adjusted_out: int = 0


@dataclass(frozen=True, kw_only=True)
class PastBudget:
    """What a member had taken in the window that ran then. `rule` is the limit in the book's words, "" for none."""

    period: str
    rule: str
    held: int
    spent: int
    starts_at: datetime
    resets_at: datetime | None


def balance_at(wallet: Wallet, moment: datetime) -> PastBalance:
    """From the last entry and the few that brought credits in or took them out: the rest of the book costs nothing."""
    last = _last_entry(wallet, moment)
    if last is None:
        return PastBalance(at=moment)
    in_or_out = Q(granted_delta__gt=0) | Q(adjusted_out_delta__gt=0)
    sums = Entry.objects.filter(in_or_out, wallet=wallet, seq__lte=last.seq).aggregate(
        granted=Sum("granted_delta", default=0), adjusted_out=Sum("adjusted_out_delta", default=0)
    )
    granted, adjusted_out = int(sums["granted"]), int(sums["adjusted_out"])
    kept = last.available_after + last.held_after + last.captured_after
    return PastBalance(
        at=moment,
        seq=last.seq,
        granted=granted,
        available=last.available_after,
        held=last.held_after,
        captured=last.captured_after,
        expired=granted - kept - adjusted_out,
        adjusted_out=adjusted_out,
    )


def _last_entry(wallet: Wallet, moment: datetime) -> Entry | None:
    """The highest number among the entries of then, found by two index bounds rather than by walking back to them."""
    by_time = Entry.objects.filter(wallet=wallet, created_at__lte=moment)
    newest = by_time.order_by("-created_at").values_list("created_at", flat=True).first()
    if newest is None:
        return None
    return by_time.filter(created_at__gte=newest - OUT_OF_ORDER).order_by("-seq").first()


_TAKEN = """
SELECT coalesce(sum(e.held_delta), 0)::bigint, coalesce(sum(e.captured_delta), 0)::bigint
FROM accounts_hold h JOIN accounts_entry e ON e.hold_id = h.id
WHERE h.wallet_id = %(wallet)s AND h.user_id = %(user)s AND h.created_at >= %(starts_at)s
  AND h.created_at <= %(moment)s AND e.created_at <= %(moment)s
"""


def budget_at(wallet: Wallet, user: User, period: str, moment: datetime) -> PastBudget:
    """The member's `period` (a `Period`) that ran at `moment`, by the team's calendar of today.

    A rolling month that was never set runs from the day of `moment`.

    A hold counts in the window it was made in, however late it was captured, released or refunded.
    """
    zone = ZoneInfo(wallet.team.time_zone)
    known = Budget.objects.filter(wallet=wallet, user=user, period=period).first()
    ran = window(period, at=moment, zone=zone, anchor=known.created_at if known else None)
    params = {"wallet": wallet.pk, "user": user.pk, "starts_at": ran.starts_at, "moment": moment}
    [(held, spent)] = book.rows(_TAKEN, params)
    return PastBudget(
        period=period,
        rule=_rule(wallet, user, period, moment),
        held=held,
        spent=spent,
        starts_at=ran.starts_at.astimezone(zone),
        resets_at=ran.ends_at and ran.ends_at.astimezone(zone),
    )


def _rule(wallet: Wallet, user: User, period: str, moment: datetime) -> str:
    """The right-hand side of the last change of this period's budget: "100 per day, hard"."""
    changes = Entry.objects.filter(
        wallet=wallet, user=user, kind=Entry.Kind.BUDGET, created_at__lte=moment
    ).order_by("-seq")
    named = f" per {Period(period).label}, "
    for note in changes.values_list("note", flat=True):
        if named in note:
            after = note.partition("→")[2].strip()
            return after if named in after else ""
    return ""
