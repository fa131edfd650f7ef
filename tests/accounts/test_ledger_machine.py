"""Random lives of a wallet, every operation sent twice, against a plain-Python model of the book.

The model knows nothing of rows, locks or entries: grants are small records in a list, and each rule of the ledger is
written a second time in the most naive way. After every step both must agree grant by grant, window by window, and the
book must prove itself. Each example has a wallet of its own, so nothing is flushed and the triggers stay on.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from accounts import ledger
from accounts.errors import (
    BudgetExceeded,
    HoldAlreadyResolved,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidAmount,
    LedgerError,
    WalletNotActive,
)
from accounts.ledger import check
from accounts.models import Budget, BudgetPeriod, Grant, Hold, Wallet
from tests.factories import TeamFactory, UserFactory

amounts = st.integers(1, 60)
numbers = itertools.count(1)


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


@dataclass
class Work:
    """A hold in the model: what it took from which lots, in order, and how it ended."""

    user: Any
    amount: int
    parts: list[tuple[Lot, int]]
    windows: list[tuple[int, str, datetime]]
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
        self.lots.append(Lot(amount, expires_at, amount))

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

    def window_start(self, period: str) -> datetime:
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        return {
            "day": midnight,
            "week": midnight - timedelta(days=midnight.weekday()),
            "month": midnight.replace(day=1),
            "never": datetime(1970, 1, 1, tzinfo=UTC),
        }[period]

    def taken(self, window: tuple[int, str, datetime]) -> tuple[int, int]:
        works = [work for work in self.works.values() if window in work.windows]
        return (
            sum(work.amount for work in works if work.state == "held"),
            sum(work.captured - work.refunded for work in works),
        )

    def hold(self, reference: str, user: Any, amount: int) -> type[LedgerError] | None:
        windows = [(who, period, self.window_start(period)) for who, period in self.budgets if who == user.pk]
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
        self.works[reference] = Work(user, amount, self.burn(amount, "held"), windows)
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
                lot.remaining += part
                if lot.expires_at and lot.expires_at <= self.now:
                    lot.expires_at = self.now + timedelta(days=30)


class LedgerMachine(RuleBasedStateMachine):
    holds = Bundle("holds")

    @initialize()
    def open(self) -> None:
        self.model = Model()
        self.wallet: Wallet = TeamFactory().wallet
        self.admin, *self.members = UserFactory.create_batch(3)

    def agreed(self, operation: Any, expected: type[LedgerError] | None = None) -> Any:
        """Do it twice, as a doubled webhook would: same answer, or the same refusal, and nothing the second time."""
        if expected is None:
            first = operation()
            seq = Wallet.objects.get(pk=self.wallet.pk).seq
            assert operation() == first
            assert Wallet.objects.get(pk=self.wallet.pk).seq == seq
            return first
        for _ in range(2):
            with pytest.raises(expected), transaction.atomic():
                operation()
        return None

    @rule(hours=st.integers(1, 200))
    def time_passes(self, hours: int) -> None:
        self.model.now += timedelta(hours=hours)

    @rule(amount=amounts, hours=st.none() | st.integers(1, 400))
    def grant(self, amount: int, hours: int | None) -> None:
        now, key = self.model.now, f"grant:{next(numbers)}"
        expires_at = now + timedelta(hours=hours) if hours else None
        options = {
            "source": "purchase",
            "reason": "Invoice",
            "idempotency_key": key,
            "expires_at": expires_at,
        }
        self.agreed(lambda: ledger.grant(self.wallet, amount=amount, now=now, **options))
        self.model.grant(amount, expires_at)
        self.agreed(
            lambda: ledger.grant(self.wallet, amount=amount + 1, now=now, **options), IdempotencyConflict
        )

    @rule(target=holds, amount=amounts, who=st.integers(0, 1))
    def hold(self, amount: int, who: int) -> str:
        reference, user, now = f"machine:{next(numbers)}", self.members[who], self.model.now
        expected = self.model.hold(reference, user, amount)
        self.agreed(
            lambda: (
                ledger.hold(
                    self.wallet, amount=amount, user=user, reference=reference, reason="Go", now=now
                ).pk
            ),
            expected,
        )
        assert Hold.objects.filter(reference=reference).exists() == (expected is None)
        return reference

    @rule(reference=holds, share=st.integers(1, 120))
    def capture(self, reference: str, share: int) -> None:
        if (work := self.model.works.get(reference)) is None:
            return
        hold, amount, now = (
            Hold.objects.get(reference=reference),
            max(1, work.amount * share // 100),
            self.model.now,
        )
        expected: type[LedgerError] | None = None
        if work.state == "released":
            expected = HoldAlreadyResolved
        elif work.state == "captured":
            expected = None if amount == work.captured else IdempotencyConflict
        elif amount > work.amount:
            expected = InvalidAmount
        self.agreed(lambda: ledger.capture(hold, amount=amount, reason="Stored", now=now), expected)
        if expected is None and work.state == "held":
            self.model.resolve(reference, amount)

    @rule(reference=holds)
    def release(self, reference: str) -> None:
        if (work := self.model.works.get(reference)) is None:
            return
        hold, now = Hold.objects.get(reference=reference), self.model.now
        expected = HoldAlreadyResolved if work.state == "captured" else None
        self.agreed(lambda: ledger.release(hold, reason="Failed", now=now), expected)
        if work.state == "held":
            self.model.resolve(reference, 0)

    @rule(reference=holds, amount=st.integers(1, 40))
    def refund(self, reference: str, amount: int) -> None:
        if (work := self.model.works.get(reference)) is None:
            return
        hold, now, key = Hold.objects.get(reference=reference), self.model.now, f"refund:{next(numbers)}"
        expected = InvalidAmount if amount > work.captured - work.refunded else None
        options = {"actor": self.admin, "reason": "Bad clip", "idempotency_key": key, "now": now}
        self.agreed(lambda: ledger.refund(hold, amount=amount, **options), expected)
        if expected is None:
            self.model.refund(reference, amount)

    @rule(amount=st.integers(-60, 60).filter(bool))
    def adjust(self, amount: int) -> None:
        now, key = self.model.now, f"adjust:{next(numbers)}"
        self.model.settle()
        expected = InsufficientCredits if self.model.available + amount < 0 else None
        options = {"actor": self.admin, "reason": "Count was off", "idempotency_key": key, "now": now}
        # A refusal rolls back, so the books may still show the expiry as due: settle it there too.
        ledger.expire(self.wallet, now=now)
        self.agreed(lambda: ledger.adjust(self.wallet, amount=amount, **options), expected)
        if expected is None and amount > 0:
            self.model.grant(amount, None)
        elif expected is None:
            self.model.burn(-amount, "adjusted_out")

    @rule()
    def expire(self) -> None:
        ledger.expire(self.wallet, now=self.model.now)
        assert ledger.expire(self.wallet, now=self.model.now) is None
        self.model.settle()

    @rule(who=st.integers(0, 1), period=st.sampled_from(["day", "week", "month", "never"]),
          limit=st.integers(0, 150), is_hard=st.booleans())  # fmt: skip
    def set_budget(self, who: int, period: str, limit: int, is_hard: bool) -> None:
        user = self.members[who]
        self.model.settle()
        ledger.expire(self.wallet, now=self.model.now)
        self.agreed(
            lambda: ledger.set_budget(
                self.wallet, user=user, limit_credits=limit, period=period, is_hard=is_hard, actor=self.admin,
                reason="Plan", now=self.model.now,
            )
        )  # fmt: skip
        self.model.budgets[user.pk, period] = (limit, is_hard)

    @rule(who=st.integers(0, 1), period=st.sampled_from(["day", "week", "month", "never"]))
    def remove_budget(self, who: int, period: str) -> None:
        user = self.members[who]
        ledger.expire(self.wallet, now=self.model.now)
        self.model.settle()
        ledger.remove_budget(
            self.wallet, user=user, period=period, actor=self.admin, reason="Plan", now=self.model.now
        )
        self.model.budgets.pop((user.pk, period), None)

    @rule()
    def freeze_or_unfreeze(self) -> None:
        self.model.settle()
        ledger.expire(self.wallet, now=self.model.now)
        turn = ledger.unfreeze if self.model.is_frozen else ledger.freeze
        assert turn(self.wallet, actor=self.admin, reason="Audit", now=self.model.now) is not None
        assert turn(self.wallet, actor=self.admin, reason="Audit", now=self.model.now) is None
        self.model.is_frozen = not self.model.is_frozen

    @invariant()
    def the_book_proves_itself(self) -> None:
        if hasattr(self, "wallet"):
            assert check.breaches(wallet=self.wallet) == []

    @invariant()
    def every_grant_is_as_on_paper(self) -> None:
        if not hasattr(self, "wallet"):
            return
        names = [
            "amount",
            "expires_at",
            "remaining",
            "held",
            "captured",
            "expired",
            "adjusted_out",
            "is_grace_used",
        ]
        stored = list(Grant.objects.filter(wallet=self.wallet).order_by("pk").values_list(*names))
        assert stored == [tuple(getattr(lot, name) for name in names) for lot in self.model.lots]

    @invariant()
    def the_balance_is_as_on_paper(self) -> None:
        if not hasattr(self, "wallet"):
            return
        balance = ledger.balance(self.wallet, now=self.model.now)
        lapsed = [lot for lot in self.model.lots if lot.expires_at and lot.expires_at <= self.model.now]
        assert balance.available == self.model.available - sum(lot.remaining for lot in lapsed)
        assert balance.held == sum(work.amount for work in self.model.works.values() if work.state == "held")
        assert balance.granted == sum(lot.amount for lot in self.model.lots)

    @invariant()
    def every_window_is_as_on_paper(self) -> None:
        if not hasattr(self, "wallet"):
            return
        for window in BudgetPeriod.objects.filter(budget__wallet=self.wallet).select_related("budget"):
            key = (window.budget.user_id, window.budget.period, window.starts_at)
            assert (window.held, window.captured) == self.model.taken(key)

    @invariant()
    def what_is_shown_of_budgets_is_as_on_paper(self) -> None:
        if not hasattr(self, "wallet"):
            return
        for user in self.members:
            for shown in ledger.budget_status(self.wallet, user, now=self.model.now):
                period = shown.budget.period
                held, spent = self.model.taken((user.pk, period, self.model.window_start(period)))
                limit, _ = self.model.budgets[user.pk, period]
                assert (shown.held, shown.spent, shown.left) == (held, spent, max(0, limit - held - spent))
        assert Budget.objects.filter(wallet=self.wallet, is_active=True).count() == len(self.model.budgets)


@pytest.mark.slow
@pytest.mark.django_db
def test_the_book_agrees_with_paper_after_any_sequence_of_operations() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=10,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
