"""Random lives of a wallet again, each page of the paper book kept: at the end the entries must still say every one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from accounts import ledger
from accounts.models import Wallet
from accounts.models.money import Period
from tests.accounts.test_ledger_machine import LedgerMachine

BUCKETS = ("seq", "granted", "available", "held", "captured", "expired", "adjusted_out")
Taken = dict[tuple[int, str], tuple[tuple[int, int], str]]


class PastMachine(LedgerMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[datetime, tuple[tuple[int, ...], Taken]] = {}
        self.made_at: dict[str, datetime] = {}

    @rule(hours=st.integers(1, 60))
    def a_page_is_turned(self, hours: int) -> None:
        row = Wallet.objects.values_list(*BUCKETS).get(pk=self.wallet.pk)
        self.pages[self.model.now] = (row, self.taken())
        self.time_passes(hours)

    @invariant()
    def new_work_has_its_moment(self) -> None:
        if hasattr(self, "model"):
            for reference in self.model.works:
                self.made_at.setdefault(reference, self.model.now)

    def taken(self) -> Taken:
        """By member and period: (held, spent) of the running window and the rule that binds, as on paper."""
        found: Taken = {}
        for user in self.members:
            for period in Period:
                since = self.model.window(user.pk, period)[2]
                works = [work for name, work in self.model.works.items()
                         if work.user == user and self.made_at[name] >= since]  # fmt: skip
                held = sum(work.amount for work in works if work.state == "held")
                spent = sum(work.captured - work.refunded for work in works)
                found[user.pk, period] = ((held, spent), self.rule_of(user, period))
        return found

    def rule_of(self, user: Any, period: Period) -> str:
        limit = self.model.budgets.get((user.pk, period))
        return f"{limit[0]} per {period.label}, {'hard' if limit[1] else 'soft'}" if limit else ""

    def teardown(self) -> None:
        for moment, (row, taken) in self.pages.items():
            was = ledger.balance_at(self.wallet, moment)
            assert tuple(getattr(was, name) for name in BUCKETS) == row
            for user in self.members:
                for period in Period:
                    past = ledger.budget_at(self.wallet, user, period, moment)
                    assert ((past.held, past.spent), past.rule) == taken[user.pk, period]


@pytest.mark.slow
@pytest.mark.django_db
def test_the_book_tells_every_past_page_as_it_was_written() -> None:
    run_state_machine_as_test(
        PastMachine,
        settings=settings(
            max_examples=3,
            stateful_step_count=35,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
