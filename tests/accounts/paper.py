"""The book in plain Python, as one would keep it on paper: what `test_ledger_machine` holds the ledger against."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.errors import BudgetExceeded, InsufficientCredits, LedgerError, WalletNotActive


@dataclass
class Lot:
    amount: int
    expires_at: datetime | None
    remaining: int
    held: int = 0
    captured: int = 0
    expired: int = 0
    adjusted_out: int = 0
    is_grace_used: bool = False
    is_voided: bool = False
    original_expires_at: datetime | None = None


@dataclass
class Work:
    """A hold in the model: what it took from which lots, in order, and how it ended."""

    user: Any
    amount: int
    parts: list[tuple[Lot, int]]
    windows: list[tuple[int, str, datetime]]
    made_at: datetime
    state: str = "held"
    captured: int = 0
    spent: list[list[Any]] = field(default_factory=list)
    refunded: int = 0


class Model:
    """The book as one would keep it on paper."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 27, 9, tzinfo=UTC)
        self.lots: list[Lot] = []
        self.works: dict[str, Work] = {}
        self.budgets: dict[tuple[int, str], tuple[int, bool]] = {}
        self.first_set_at: dict[tuple[int, str], datetime] = {}
        self.is_frozen = False

    def settle(self) -> None:
        for lot in self.lots:
            if lot.expires_at and lot.expires_at <= self.now:
                lot.expired, lot.remaining = lot.expired + lot.remaining, 0

    @property
    def available(self) -> int:
        return sum(lot.remaining for lot in self.lots)

    def grant(self, amount: int, expires_at: datetime | None) -> None:
        self.settle()
        self.lots.append(Lot(amount, expires_at, amount, original_expires_at=expires_at))

    def burn(self, amount: int, bucket: str) -> list[tuple[Lot, int]]:
        parts = []
        far = datetime.max.replace(tzinfo=UTC)
        for lot in sorted(self.lots, key=lambda lot: lot.expires_at or far):
            part = min(amount, lot.remaining)
            if part:
                lot.remaining -= part
                setattr(lot, bucket, getattr(lot, bucket) + part)
                parts.append((lot, part))
                amount -= part
        return parts

    def window(self, who: int, period: str) -> tuple[int, str, datetime]:
        return who, period, self.window_start(period, self.first_set_at.get((who, period), self.now))

    def window_start(self, period: str, anchor: datetime) -> datetime:
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        if period == "rolling":
            # Day by day backwards: the anchor's day, or the last one of a month that has no such day.
            while midnight.day != anchor.day and not (
                midnight.day < anchor.day and (midnight + timedelta(days=1)).day == 1
            ):
                midnight -= timedelta(days=1)
            return midnight
        return {
            "day": midnight,
            "week": midnight - timedelta(days=midnight.weekday()),
            "month": midnight.replace(day=1),
            "never": datetime(1970, 1, 1, tzinfo=UTC),
        }[period]

    def set_budget(self, user: Any, period: str, limit: int, *, is_hard: bool) -> None:
        self.first_set_at.setdefault((user.pk, period), self.now)
        if (user.pk, period) not in self.budgets:
            window = self.window(user.pk, period)
            for work in self.works.values():
                if work.user == user and work.made_at >= window[2] and window not in work.windows:
                    work.windows.append(window)
        self.budgets[user.pk, period] = (limit, is_hard)

    def taken_since(self, user: Any, starts_at: datetime) -> int:
        works = [work for work in self.works.values() if work.user == user and work.made_at >= starts_at]
        return sum(work.amount if work.state == "held" else work.captured - work.refunded for work in works)

    def taken(self, window: tuple[int, str, datetime]) -> tuple[int, int]:
        works = [work for work in self.works.values() if window in work.windows]
        return (
            sum(work.amount for work in works if work.state == "held"),
            sum(work.captured - work.refunded for work in works),
        )

    def hold(self, reference: str, user: Any, amount: int) -> type[LedgerError] | None:
        windows = [self.window(who, period) for who, period in self.budgets if who == user.pk]
        for window in windows:
            limit, is_hard = self.budgets[window[:2]]
            if is_hard and sum(self.taken(window)) + amount > limit:
                return BudgetExceeded
        if self.is_frozen:
            return WalletNotActive
        if (
            sum(lot.remaining for lot in self.lots if not (lot.expires_at and lot.expires_at <= self.now))
            < amount
        ):
            return InsufficientCredits
        self.settle()
        self.works[reference] = Work(user, amount, self.burn(amount, "held"), windows, self.now)
        return None

    def resolve(self, reference: str, captured: int) -> None:
        self.settle()
        work, left = self.works[reference], captured
        for lot, part in work.parts:
            used = min(left, part)
            left -= used
            lot.held -= part
            lot.captured += used
            if used:
                work.spent.append([lot, used])
            self.give_back(lot, part - used)
        work.state, work.captured = ("captured" if captured else "released"), captured

    def give_back(self, lot: Lot, amount: int) -> None:
        if not amount:
            return
        if lot.is_voided:
            lot.adjusted_out += amount
            return
        if lot.expires_at and lot.expires_at <= self.now:
            if lot.is_grace_used:
                lot.expired += amount
                return
            lot.expires_at, lot.is_grace_used = self.now + timedelta(hours=24), True
        lot.remaining += amount

    def refund(self, reference: str, amount: int) -> None:
        self.settle()
        work = self.works[reference]
        work.refunded += amount
        for item in reversed(work.spent):
            lot, part = item[0], min(amount, item[1])
            item[1] -= part
            amount -= part
            if part:
                lot.captured -= part
                if lot.is_voided:
                    lot.adjusted_out += part
                    continue
                lot.remaining += part
                if lot.expires_at and lot.expires_at <= self.now:
                    lot.expires_at = self.now + timedelta(days=30)
