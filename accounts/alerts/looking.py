"""Which thresholds are crossed as the rows stand: wallets, budgets and grants. Reads only; costs what moved costs.

A wallet's share is that of what was available right after the last credits came in: what is held, captured, expired or
taken out since is gone from it. Credits that come in are a new level and arm every threshold again. A budget's share
is what is held or captured in its window, of its limit; the next window, or another limit, arms it again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import F, Q

from accounts import clock, ledger
from accounts.alerts import burn
from accounts.alerts.rules import rules_of
from accounts.alerts.telling import Crossing, one_line, tell
from accounts.models import Alert, AlertCursor, Budget, Entry, Grant, User, Wallet
from accounts.models.money import Period

log = logging.getLogger(__name__)

BATCH = 200
DAYS_BEFORE_EXPIRY = (30, 7, 1)


def look(*, now: datetime | None = None) -> int:
    """Tell of everything that was crossed since the last look; how many alerts are new. Safe at any time, twice."""
    now = now or clock.now()
    moved = Wallet.objects.exclude(alert_cursor__seen_seq=F("seq")).select_related("team")
    told = sum(_looked_at(wallet, now=now) for wallet in moved.order_by("pk")[:BATCH])
    return told + tell(_expiring(now=now), now=now)


def _looked_at(wallet: Wallet, *, now: datetime) -> int:
    """The cursor is set to what was read first: whatever moves meanwhile is looked at again."""
    try:
        told = tell(list(_crossed(wallet, now=now)), now=now)
        AlertCursor.objects.update_or_create(wallet=wallet, defaults={"seen_seq": wallet.seq})
    except Exception:
        log.exception("the alerts of wallet %s could not be looked for; the others go on", wallet.pk)
        return 0
    return told


def _crossed(wallet: Wallet, *, now: datetime) -> Iterator[Crossing]:
    rules = rules_of(wallet.team_id)
    yield from _wallet(wallet, rules.wallet_percents)
    yield from _budgets(wallet, rules.budget_percents, now=now)
    if rules.is_burn_watched:
        yield from burn.unusual(wallet, now=now)


def _wallet(wallet: Wallet, percents: Sequence[int]) -> Iterator[Crossing]:
    last = Entry.objects.filter(wallet=wallet, granted_delta__gt=0).order_by("-seq").first()
    if last is None or last.available_after <= 0:
        return
    level = last.available_after
    for percent in _passed(percents, taken=level - wallet.available, of=level):
        yield Crossing(
            team_id=wallet.team_id,
            kind=Alert.Kind.WALLET,
            subject=f"wallet:{wallet.pk}",
            threshold=percent,
            window=f"entry:{last.seq}",
            text=(
                f"The wallet of {one_line(wallet.team)} is used up: nothing new can be made until credits come in."
                if wallet.available <= 0
                else f"{percent} % of the wallet of {one_line(wallet.team)} is used: "
                f"{_credits(wallet.available)} of {level:,} left."
            ),
        )


def _passed(percents: Sequence[int], *, taken: int, of: int) -> list[int]:
    return [percent for percent in percents if taken * 100 >= percent * of]


def _budgets(wallet: Wallet, percents: Sequence[int], *, now: datetime) -> Iterator[Crossing]:
    if not percents:
        return
    owners = User.objects.filter(
        pk__in=Budget.objects.filter(wallet=wallet, is_active=True, limit_credits__gt=0).values("user")
    )
    statuses = ledger.budget_statuses(wallet, owners, now=now)
    for owner in owners:
        for status in statuses[owner.pk]:
            if status.limit:
                yield from _budget(wallet, owner, status, percents)


def _budget(
    wallet: Wallet, owner: User, status: ledger.BudgetStatus, percents: Sequence[int]
) -> Iterator[Crossing]:
    taken = status.spent + status.held
    for percent in _passed(percents, taken=taken, of=status.limit):
        whose = f"{one_line(owner)}'s budget of {_credits(status.limit)} {Period(status.budget.period).per}"
        until = f" It starts again on {_day(status.resets_at)}." if status.resets_at else ""
        yield Crossing(
            team_id=wallet.team_id,
            kind=Alert.Kind.BUDGET,
            subject=f"budget:{status.budget.pk}",
            threshold=percent,
            window=f"{status.starts_at.astimezone(UTC):%Y-%m-%dT%H:%MZ} of {status.limit}",
            user_id=owner.pk,
            text=f"{percent} % of {whose} is used: {_credits(status.left)} left.{until}",
        )


def _expiring(*, now: datetime) -> Iterator[Crossing]:
    """Grants with something left, whose end is near; not those that were given for no longer than that."""
    rows = Grant.objects.filter(
        Q(is_open=True), expires_at__gt=now, expires_at__lte=now + timedelta(days=max(DAYS_BEFORE_EXPIRY))
    )
    for grant in rows.select_related("wallet__team"):
        if grant.expires_at is None:
            continue
        team = grant.wallet.team
        for days in DAYS_BEFORE_EXPIRY:
            lead = timedelta(days=days)
            if grant.expires_at > now + lead or grant.expires_at - grant.created_at <= lead:
                continue
            named = f", {one_line(grant.reference)}," if grant.reference else ""
            on = _day(grant.expires_at.astimezone(ZoneInfo(team.time_zone)))
            yield Crossing(
                team_id=team.pk,
                kind=Alert.Kind.GRANT,
                subject=f"grant:{grant.pk}",
                threshold=days,
                window=grant.expires_at.isoformat(),
                text=f"{_credits(grant.remaining)} of the {grant.get_source_display().lower()} grant{named} "
                f"expire within {days} {'day' if days == 1 else 'days'}, on {on}.",
            )


def _credits(amount: int) -> str:
    return f"{amount:,} {'credit' if amount == 1 else 'credits'}"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y, %H:%M}"
