"""What one member may take from the wallet per period: rules, their windows, and taking from a window.

Nothing runs at midnight. A window is a row keyed by the moment it begins, made by the first hold in it; a reset is
simply the next row. A hold stays in the windows it was made in, however late it is resolved. A team that changes its
time zone finishes the window it is in first, so that a change is no free reset. `ledger.rules` sets budgets.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from accounts import clock
from accounts.errors import BookOutOfBalance, BudgetExceeded
from accounts.ledger import book
from accounts.ledger.windows import Window, window
from accounts.models import Budget, User, Wallet
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

    @property
    def when(self) -> str:
        """ "today", "this week", "in all": the window in words, after an amount."""
        return when(self.budget.period)


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a member has taken in the window of one kind of period that runs now, whether a budget binds it or not."""

    period: str
    taken: int
    starts_at: datetime
    resets_at: datetime | None

    @property
    def when(self) -> str:
        return when(self.period)


class _Current(NamedTuple):
    """A budget with the window that covers a moment; `window_id` None where nobody has taken from it yet."""

    budget_id: int
    period: str
    anchor: datetime
    time_zone: str
    window_id: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    held: int
    captured: int


_CURRENT = """
SELECT b.id, b.period, b.created_at, t.time_zone, p.id, p.starts_at, p.ends_at,
       coalesce(p.held, 0), coalesce(p.captured, 0)
FROM accounts_budget b
JOIN accounts_wallet w ON w.id = b.wallet_id
JOIN accounts_team t ON t.id = w.team_id
LEFT JOIN LATERAL (
    SELECT * FROM accounts_budgetperiod
    WHERE budget_id = b.id AND starts_at <= %(now)s AND (ends_at IS NULL OR ends_at > %(now)s)
    ORDER BY starts_at DESC LIMIT 1
) p ON true
WHERE b.wallet_id = %(wallet)s AND b.user_id = ANY(%(users)s) AND (b.is_active OR %(is_removed_too)s)
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
  AND (NOT b.is_hard OR %(is_approved)s OR p.held + p.captured + %(amount)s <= b.limit_credits)
RETURNING b.is_hard AND p.held + p.captured > b.limit_credits, b.limit_credits
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


def take(
    *,
    wallet_id: int,
    user_id: int,
    hold_id: uuid.UUID,
    amount: int,
    now: datetime,
    is_approved: bool = False,
) -> list[str]:
    """Count a new hold in every window the member has at this moment. Raises `BudgetExceeded` naming the one.

    One that an admin approved is counted like any other and refused by none: those it went over are the answer, in
    words ("25 per day").
    """
    current = _current(wallet_id, [user_id], now=now)
    if any(budget.window_id is None for budget in current):
        _open_windows(current, now=now)
        current = _current(wallet_id, [user_id], now=now)
    windows = sorted((budget.window_id or 0, budget) for budget in current)
    over = []
    for window_id, budget in windows:
        over += _take_from(window_id, budget, amount=amount, is_approved=is_approved)
    if windows:
        _link(hold_id, [window_id for window_id, _ in windows])
    return over


def _current(
    wallet_id: int, user_ids: list[int], *, now: datetime, is_removed_too: bool = False
) -> list[_Current]:
    params = {"wallet": wallet_id, "users": user_ids, "now": now, "is_removed_too": is_removed_too}
    return [_Current(*found) for found in book.rows(_CURRENT, params)]


def _open_windows(current: list[_Current], *, now: datetime) -> None:
    for budget in current:
        if budget.window_id is None:
            opened = _window(budget, now=now)
            book.execute(
                _OPEN_WINDOW,
                {"budget": budget.budget_id, "starts_at": opened.starts_at, "ends_at": opened.ends_at},
            )


def _window(budget: _Current, *, now: datetime) -> Window:
    return window(budget.period, at=now, zone=ZoneInfo(budget.time_zone), anchor=budget.anchor)


def _take_from(window_id: int, budget: _Current, *, amount: int, is_approved: bool) -> list[str]:
    """The budget in words if this went over it, which only what is approved can."""
    # A miss is answered under the row lock: if there is room after all, somebody gave back while we waited.
    for _ in range(2):
        found = book.row(_TAKE, {"window": window_id, "amount": amount, "is_approved": is_approved})
        if found:
            is_over, limit = found
            return [f"{limit} {Period(budget.period).per}"] if is_over else []
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
    return budget_statuses(wallet, [user], now=now)[user.pk]


def budget_statuses(
    wallet: Wallet, users: Iterable[User], *, now: datetime | None = None
) -> dict[int, list[BudgetStatus]]:
    """`budget_status` of each of these members by their key, in two queries for all of them."""
    now = now or clock.now()
    found: dict[int, list[BudgetStatus]] = {user.pk: [] for user in users}
    active = Budget.objects.filter(wallet=wallet, user__in=found, is_active=True)
    budgets = {budget.pk: budget for budget in active}
    current = [item for item in _current(wallet.pk, list(found), now=now) if item.budget_id in budgets]
    for item in sorted(current, key=lambda item: Period.values.index(item.period)):
        budget = budgets[item.budget_id]
        found[budget.user_id].append(_status(budget, item, now=now))
    return found


def _status(budget: Budget, current: _Current, *, now: datetime) -> BudgetStatus:
    zone = ZoneInfo(current.time_zone)
    starts_at, ends_at = current.starts_at, current.ends_at
    if starts_at is None:
        starts_at, ends_at = _window(current, now=now)
    return BudgetStatus(
        budget=budget,
        limit=budget.limit_credits,
        spent=current.captured,
        held=current.held,
        left=max(0, budget.limit_credits - current.held - current.captured),
        starts_at=starts_at.astimezone(zone),
        resets_at=ends_at and ends_at.astimezone(zone),
    )


_LOCK_WINDOWS = """
SELECT p.id FROM accounts_budgetperiod p JOIN accounts_budget b ON b.id = p.budget_id
WHERE b.wallet_id = %(wallet)s AND b.user_id = %(user)s AND b.period = %(period)s AND NOT b.is_active
  AND p.starts_at <= %(now)s AND (p.ends_at IS NULL OR p.ends_at > %(now)s)
ORDER BY p.id FOR UPDATE OF p
"""

_COUNT_EARLIER = """
WITH earlier AS (
    SELECT h.id, h.amount, h.state, h.captured - h.refunded AS spent
    FROM accounts_budgetperiod p
    JOIN accounts_hold h ON h.wallet_id = %(wallet)s AND h.user_id = %(user)s
         AND h.created_at >= p.starts_at AND (p.ends_at IS NULL OR h.created_at < p.ends_at)
    WHERE p.id = %(window)s AND NOT EXISTS (
        SELECT FROM accounts_holdbudget link JOIN accounts_budgetperiod other ON other.id = link.budget_period_id
        WHERE link.hold_id = h.id AND other.budget_id = p.budget_id
    )
), linked AS (
    INSERT INTO accounts_holdbudget (hold_id, budget_period_id) SELECT id, %(window)s FROM earlier
), total AS (
    SELECT coalesce(sum(amount) FILTER (WHERE state = 'held'), 0) AS held, coalesce(sum(spent), 0) AS captured
    FROM earlier
), counted AS (
    UPDATE accounts_budgetperiod p SET held = p.held + total.held, captured = p.captured + total.captured
    FROM total WHERE p.id = %(window)s AND (total.held > 0 OR total.captured > 0)
)
UPDATE accounts_wallet SET budgets_made = budgets_made + 1 WHERE id = %(wallet)s
"""


def lock_windows(wallet: Wallet, *, user: User, period: str, now: datetime) -> None:
    """The running windows of a budget that was removed: they are locked before the wallet is, as everywhere."""
    book.rows(_LOCK_WINDOWS, {"wallet": wallet.pk, "user": user.pk, "period": period, "now": now})


def count_earlier(budget: Budget, *, now: datetime) -> None:
    """Under the wallet's lock, when a budget begins to bind: count what its member took in the running window before.

    Work that is being held or resolved at this moment waits for the wallet and then starts over: `book.repeated`.
    """
    for _ in range(2):
        running = _current(budget.wallet_id, [budget.user_id], now=now)
        mine = [item for item in running if item.budget_id == budget.pk]
        _open_windows(mine, now=now)
    params = {"wallet": budget.wallet_id, "user": budget.user_id, "window": mine[0].window_id}
    book.execute(_COUNT_EARLIER, params)


_TAKEN = """
SELECT w.period, coalesce(sum(CASE h.state WHEN 'held' THEN h.amount ELSE h.captured - h.refunded END), 0)::bigint
FROM unnest(%(periods)s::text[], %(starts)s::timestamptz[]) AS w (period, starts_at)
LEFT JOIN accounts_hold h
       ON h.wallet_id = %(wallet)s AND h.user_id = %(user)s AND h.created_at >= w.starts_at AND h.created_at <= %(now)s
GROUP BY w.period
"""


def taken_so_far(wallet: Wallet, user: User, *, now: datetime | None = None) -> list[Taken]:
    """What a budget of each kind of period would start with, or has counted: shown before it is set."""
    now = now or clock.now()
    zone = ZoneInfo(wallet.team.time_zone)
    known = {item.period: item for item in _current(wallet.pk, [user.pk], now=now, is_removed_too=True)}
    counted = {status.budget.period: status for status in budget_status(wallet, user, now=now)}
    windows = {}
    for period in Period.values:
        item = known.get(period)
        if item is None:
            windows[period] = window(period, at=now, zone=zone)
        elif item.starts_at is None:
            windows[period] = _window(item, now=now)
        else:
            windows[period] = Window(item.starts_at, item.ends_at)
    params = {
        "wallet": wallet.pk, "user": user.pk, "now": now,
        "periods": list(windows), "starts": [each.starts_at for each in windows.values()],
    }  # fmt: skip
    sums: dict[str, int] = dict(book.rows(_TAKEN, params))
    for period, status in counted.items():
        sums[period] = status.spent + status.held
    return [
        Taken(
            period=period,
            taken=sums[period],
            starts_at=each.starts_at.astimezone(zone),
            resets_at=each.ends_at and each.ends_at.astimezone(zone),
        )
        for period, each in windows.items()
    ]


def when(period: str) -> str:
    if period == Period.NEVER:
        return "in all"
    return "today" if period == Period.DAY else f"this {Period(period).label}"
