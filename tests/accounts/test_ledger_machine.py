"""Random lives of a wallet, every operation sent twice, against a plain-Python model of the book.

The model knows nothing of rows, locks or entries: grants are small records in a list, and each rule of the ledger is
written a second time in the most naive way. After every step both must agree grant by grant, window by window, and the
book must prove itself. Each example has a wallet of its own, so nothing is flushed and the triggers stay on.
"""

from __future__ import annotations

import itertools
from datetime import timedelta
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
    GrantClosed,
    HoldAlreadyResolved,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidAmount,
    InvalidExpiry,
    LedgerError,
)
from accounts.ledger import check
from accounts.models import Budget, BudgetPeriod, Grant, Hold, Wallet
from tests.accounts.paper import Lot, Model
from tests.factories import TeamFactory, UserFactory

amounts = st.integers(1, 60)
periods = st.sampled_from(["day", "week", "month", "rolling", "never"])
numbers = itertools.count(1)


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

    def some_grant(self, which: int) -> tuple[Grant, Lot] | None:
        grants = list(Grant.objects.filter(wallet=self.wallet).order_by("pk"))
        place = which % len(grants) if grants else 0
        return (grants[place], self.model.lots[place]) if grants else None

    @rule(which=st.integers(0, 30))
    def void(self, which: int) -> None:
        if (found := self.some_grant(which)) is None:
            return
        grant, lot = found
        ledger.expire(self.wallet, now=self.model.now)
        self.model.settle()
        expected = GrantClosed if lot.is_voided or not (lot.remaining or lot.held) else None
        options = {"actor": self.admin, "reason": "Chargeback", "idempotency_key": f"void:{next(numbers)}"}
        self.agreed(lambda: ledger.void_grant(grant, now=self.model.now, **options), expected)
        if expected is None:
            lot.adjusted_out, lot.remaining, lot.is_voided = lot.adjusted_out + lot.remaining, 0, True

    @rule(which=st.integers(0, 30), hours=st.none() | st.integers(1, 600))
    def extend(self, which: int, hours: int | None) -> None:
        if (found := self.some_grant(which)) is None:
            return
        grant, lot = found
        now = self.model.now
        ledger.expire(self.wallet, now=now)
        self.model.settle()
        until = now + timedelta(hours=hours) if hours else None
        expected: type[LedgerError] | None = None
        is_empty = not (lot.remaining or lot.held)
        if lot.is_voided or is_empty or (lot.expires_at and lot.expires_at <= now):
            expected = GrantClosed
        elif lot.expires_at is None or (until and until <= lot.expires_at):
            expected = InvalidExpiry
        options = {"actor": self.admin, "reason": "Patience", "idempotency_key": f"extend:{next(numbers)}"}
        self.agreed(lambda: ledger.extend_grant(grant, expires_at=until, now=now, **options), expected)
        if expected is None:
            lot.expires_at = until

    @rule()
    def expire(self) -> None:
        ledger.expire(self.wallet, now=self.model.now)
        assert ledger.expire(self.wallet, now=self.model.now) is None
        self.model.settle()

    @rule(who=st.integers(0, 1), period=periods,
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
        self.model.set_budget(user, period, limit, is_hard=is_hard)

    @rule(who=st.integers(0, 1), period=periods)
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
            "original_expires_at",
        ]
        stored = list(
            Grant.objects.filter(wallet=self.wallet).order_by("pk").values_list(*names, "voided_at")
        )
        paper = [tuple(getattr(lot, name) for name in names) for lot in self.model.lots]
        assert [row[:-1] for row in stored] == paper
        assert [row[-1] is not None for row in stored] == [lot.is_voided for lot in self.model.lots]

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
                held, spent = self.model.taken(self.model.window(user.pk, period))
                limit, _ = self.model.budgets[user.pk, period]
                assert (shown.held, shown.spent, shown.left) == (held, spent, max(0, limit - held - spent))
            for told in ledger.taken_so_far(self.wallet, user, now=self.model.now):
                assert told.taken == self.model.taken_since(user, self.model.window(user.pk, told.period)[2])
        assert Budget.objects.filter(wallet=self.wallet, is_active=True).count() == len(self.model.budgets)


def lived(examples: int) -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.mark.slow
@pytest.mark.django_db
def test_the_book_agrees_with_paper_after_any_sequence_of_operations() -> None:
    lived(6)


@pytest.mark.long
@pytest.mark.django_db
def test_the_book_agrees_with_paper_after_a_hundred_lives() -> None:
    lived(100)
