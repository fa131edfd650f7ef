"""What one member may take from the wallet per period: rules, their windows, and taking from a window.

Nothing runs at midnight. A window is a row keyed by the moment it begins, made by the first hold in it; a reset is
simply the next row. A hold stays in the windows it was made in, however late it is resolved. A team that changes its
time zone finishes the window it is in first, so that a change is no free reset.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import transaction

from accounts import clock
from accounts.errors import BookOutOfBalance, BudgetExceeded, InvalidAmount
from accounts.ledger import book
from accounts.ledger.book import Delta
from accounts.ledger.windows import window
from accounts.models import Budget, Entry, User, Wallet
from accounts.models.money import Period


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetStatus:
    """One budget of a member right now, in credits; times in the team's zone, `resets_at` None is never."""

    budget: Budget
    limit: int
    spent: int
    held: int
    left: int
    starts_at: datetime
    resets_at: datetime | None


class _Current(NamedTuple):
    """A budget with the window that covers a moment; `window_id` None where nobody has taken from it yet."""

    budget_id: int
    period: str
    time_zone: str
    window_id: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    held: int
    captured: int


_CURRENT = """
SELECT b.id, b.period, t.time_zone, p.id, p.starts_at, p.ends_at, coalesce(p.held, 0), coalesce(p.captured, 0)
FROM accounts_budget b
JOIN accounts_wallet w ON w.id = b.wallet_id
JOIN accounts_team t ON t.id = w.team_id
LEFT JOIN LATERAL (
    SELECT * FROM accounts_budgetperiod
    WHERE budget_id = b.id AND starts_at <= %(now)s AND (ends_at IS NULL OR ends_at > %(now)s)
    ORDER BY starts_at DESC LIMIT 1
) p ON true
WHERE b.wallet_id = %(wallet)s AND b.user_id = %(user)s AND b.is_active
ORDER BY b.id
"""

_OPEN_WINDOW = """
INSERT INTO accounts_budgetperiod (budget_id, starts_at, ends_at, held, captured)
VALUES (%(budget)s, %(starts_at)s, %(ends_at)s, 0, 0)
ON CONFLICT (budget_id, starts_at) DO NOTHING
"""

_TAKE = """
UPDATE accounts_budgetperiod p SET held = p.held + %(amount)s
FROM accounts_budget b
WHERE p.id = %(window)s AND b.id = p.budget_id
  AND (NOT b.is_hard OR p.held + p.captured + %(amount)s <= b.limit_credits)
RETURNING p.id
"""

_LOCKED_FIGURES = """
SELECT b.limit_credits, p.held + p.captured, p.ends_at
FROM accounts_budgetperiod p JOIN accounts_budget b ON b.id = p.budget_id
WHERE p.id = %(window)s FOR UPDATE OF p
"""

_LINK = """
INSERT INTO accounts_holdbudget (hold_id, budget_period_id)
SELECT %(hold)s, id FROM unnest(%(windows)s::bigint[]) AS id
"""


def take(*, wallet_id: int, user_id: int, hold_id: uuid.UUID, amount: int, now: datetime) -> None:
    """Count a new hold in every window the member has at this moment. Raises `BudgetExceeded` naming the one."""
    current = _current(wallet_id, user_id, now=now)
    if any(budget.window_id is None for budget in current):
        _open_windows(current, now=now)
        current = _current(wallet_id, user_id, now=now)
    windows = sorted((budget.window_id or 0, budget) for budget in current)
    for window_id, budget in windows:
        _take_from(window_id, budget, amount=amount)
    if windows:
        _link(hold_id, [window_id for window_id, _ in windows])


def _current(wallet_id: int, user_id: int, *, now: datetime) -> list[_Current]:
    return [
        _Current(*found) for found in book.rows(_CURRENT, {"wallet": wallet_id, "user": user_id, "now": now})
    ]


def _open_windows(current: list[_Current], *, now: datetime) -> None:
    for budget in current:
        if budget.window_id is None:
            opened = window(budget.period, at=now, zone=ZoneInfo(budget.time_zone))
            book.execute(
                _OPEN_WINDOW,
                {"budget": budget.budget_id, "starts_at": opened.starts_at, "ends_at": opened.ends_at},
            )


def _take_from(window_id: int, budget: _Current, *, amount: int) -> None:
    # A miss is answered under the row lock: if there is room after all, somebody gave back while we waited.
    for _ in range(2):
        if book.row(_TAKE, {"window": window_id, "amount": amount}):
            return
        figures = book.row(_LOCKED_FIGURES, {"window": window_id})
        if figures and figures[1] + amount > figures[0]:
            raise _exceeded(budget, limit=figures[0], taken=figures[1], resets_at=figures[2], amount=amount)
    raise BookOutOfBalance(f"Budget window {window_id} refuses credits that it has.")


def _exceeded(
    budget: _Current, *, limit: int, taken: int, resets_at: datetime | None, amount: int
) -> BudgetExceeded:
    return BudgetExceeded(
        needed=amount,
        left=max(0, limit - taken),
        limit=limit,
        period=Period(budget.period).label,
        resets_at=resets_at and resets_at.astimezone(ZoneInfo(budget.time_zone)),
    )


def _link(hold_id: uuid.UUID, windows: list[int]) -> None:
    book.execute(_LINK, {"hold": hold_id, "windows": windows})


def budget_status(wallet: Wallet, user: User, *, now: datetime | None = None) -> list[BudgetStatus]:
    """Every active budget of a member with what is spent, held and left in its running window, shortest first."""
    now = now or clock.now()
    budgets = {
        budget.pk: budget for budget in Budget.objects.filter(wallet=wallet, user=user, is_active=True)
    }
    found = [item for item in _current(wallet.pk, user.pk, now=now) if item.budget_id in budgets]
    found.sort(key=lambda item: Period.values.index(item.period))
    return [_status(budgets[item.budget_id], item, now=now) for item in found]


def _status(budget: Budget, current: _Current, *, now: datetime) -> BudgetStatus:
    zone = ZoneInfo(current.time_zone)
    starts_at, ends_at = current.starts_at, current.ends_at
    if starts_at is None:
        starts_at, ends_at = window(current.period, at=now, zone=zone)
    return BudgetStatus(
        budget=budget,
        limit=budget.limit_credits,
        spent=current.captured,
        held=current.held,
        left=max(0, budget.limit_credits - current.held - current.captured),
        starts_at=starts_at.astimezone(zone),
        resets_at=ends_at and ends_at.astimezone(zone),
    )


def set_budget(
    wallet: Wallet,
    *,
    user: User,
    limit_credits: int,
    period: str,
    is_hard: bool = True,
    actor: User,
    reason: str,
    now: datetime | None = None,
) -> Budget:
    """Let a member take at most `limit_credits` per period; hard budgets refuse, soft ones only show.

    It binds at once and counts what was taken in the running window before. A change is kept in the book as an entry
    that moves nothing; setting what is set already writes none. Raises `InvalidAmount`, `ReasonRequired`.
    """
    reason = book.checked_reason(reason)
    if limit_credits != 0:
        limit_credits = book.checked_amount(limit_credits)
    if period not in Period.values:
        raise InvalidAmount(f"{period!r} is no budget period.")
    rule = {"limit_credits": limit_credits, "is_hard": is_hard, "is_active": True}
    return _change(wallet, user=user, period=period, rule=rule, actor=actor, reason=reason, now=now)


def remove_budget(
    wallet: Wallet, *, user: User, period: str, actor: User, reason: str, now: datetime | None = None
) -> Budget | None:
    """Stop a budget from binding; its windows stay, so that setting it again is no reset. None if there was none."""
    reason = book.checked_reason(reason)
    if not Budget.objects.filter(wallet=wallet, user=user, period=period).exists():
        return None
    return _change(
        wallet, user=user, period=period, rule={"is_active": False}, actor=actor, reason=reason, now=now
    )


def _change(
    wallet: Wallet,
    *,
    user: User,
    period: str,
    rule: dict[str, int | bool],
    actor: User,
    reason: str,
    now: datetime | None,
) -> Budget:
    now = now or clock.now()
    with transaction.atomic():
        # Under the wallet's lock, so that two admins' changes come one after the other, in the book's order.
        book.lock(wallet.pk)
        budget = Budget.objects.filter(wallet=wallet, user=user, period=period).first()
        before = _describe(budget)
        if budget and all(getattr(budget, name) == value for name, value in rule.items()):
            return budget
        budget, _ = Budget.objects.update_or_create(wallet=wallet, user=user, period=period, defaults=rule)
        after = book.move(wallet.pk, Delta(), now=now)
        entry = Entry(
            wallet_id=wallet.pk,
            kind=Entry.Kind.BUDGET,
            user=user,
            actor=actor,
            reason=reason,
            note=f"{before} → {_describe(budget)}",
            idempotency_key=f"budget:{wallet.pk}:{after.seq}",
            created_at=now,
        )
        book.write(entry, delta=Delta(), after=after)
    return budget


def _describe(budget: Budget | None) -> str:
    if budget is None or not budget.is_active:
        return "no budget"
    kind = "hard" if budget.is_hard else "soft"
    return f"{budget.limit_credits} per {Period(budget.period).label}, {kind}"
