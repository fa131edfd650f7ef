"""Balances and budgets of a past moment, from entries that were written out of order and refunded since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import ledger
from accounts.models import Wallet
from tests.factories import TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def wallet() -> Wallet:
    return TeamFactory().wallet


def test_before_the_first_entry_there_is_nothing(wallet: Wallet) -> None:
    fill(wallet, 100, now=NOON)
    was = ledger.balance_at(wallet, NOON - HOUR)
    assert (was.seq, was.granted, was.available) == (0, 0, 0)


def test_each_bucket_is_what_it_was_and_they_add_up(wallet: Wallet) -> None:
    admin, member = UserFactory.create_batch(2)
    fill(wallet, 100, now=NOON)
    fill(wallet, 50, now=NOON + HOUR, expires_at=NOON + 10 * HOUR)
    hold = ledger.hold(wallet, amount=60, user=member, reference="w:1", reason="Go", now=NOON + 2 * HOUR)
    ledger.adjust(wallet, amount=-15, actor=admin, reason="Off", idempotency_key="a", now=NOON + 3 * HOUR)
    ledger.capture(hold, amount=40, reason="Stored", now=NOON + 4 * HOUR)
    ledger.refund(hold, amount=5, actor=admin, reason="Bad", idempotency_key="r", now=NOON + 5 * HOUR)
    ledger.expire(wallet, now=NOON + 11 * HOUR)

    def was(hours: int) -> tuple[int, ...]:
        past = ledger.balance_at(wallet, NOON + hours * HOUR)
        return (
            past.granted, past.available, past.held, past.captured, past.expired, past.adjusted_out,
        )  # fmt: skip

    assert was(0) == (100, 100, 0, 0, 0, 0)
    assert was(2) == (150, 90, 60, 0, 0, 0)
    assert was(3) == (150, 75, 60, 0, 0, 15)
    assert was(4) == (150, 95, 0, 40, 0, 15)
    assert was(5) == (150, 100, 0, 35, 0, 15)
    wallet.refresh_from_db()
    assert was(99) == (150, wallet.available, 0, 35, wallet.expired, 15)
    assert wallet.expired > 0


def test_an_entry_that_waited_for_its_turn_is_not_lost(wallet: Wallet) -> None:
    """Two at once: the second in the book read the time first."""
    fill(wallet, 10, now=NOON)
    fill(wallet, 5, now=NOON - timedelta(seconds=2))
    assert ledger.balance_at(wallet, NOON).available == 15
    assert ledger.balance_at(wallet, NOON - timedelta(seconds=1)).seq == 2


def test_a_budget_of_the_past_is_told_with_its_rule_of_then(wallet: Wallet) -> None:
    admin, member = UserFactory.create_batch(2)
    fill(wallet, 1000, now=NOON - 100 * HOUR)
    for limit, at in ((100, NOON), (300, NOON + 5 * HOUR)):
        ledger.set_budget(
            wallet, user=member, limit_credits=limit, period="day", actor=admin, reason="Cap", now=at
        )
    ledger.set_budget(
        wallet, user=member, limit_credits=7, period="month", actor=admin, reason="Cap", is_hard=False,
        now=NOON + 6 * HOUR,
    )  # fmt: skip
    hold = ledger.hold(wallet, amount=60, user=member, reference="w:1", reason="Go", now=NOON + HOUR)
    ledger.capture(hold, amount=40, reason="Stored", now=NOON + 20 * HOUR)
    ledger.remove_budget(wallet, user=member, period="day", actor=admin, reason="Free", now=NOON + 30 * HOUR)

    def was(hours: int) -> tuple[str, int, int]:
        past = ledger.budget_at(wallet, member, "day", NOON + hours * HOUR)
        return past.rule, past.held, past.spent

    assert was(-1) == ("", 0, 0)
    assert was(1) == ("100 per day, hard", 60, 0)
    assert was(7) == ("300 per day, hard", 60, 0)
    assert was(21) == ("300 per day, hard", 0, 0), "the next day began empty"
    assert was(31) == ("", 0, 0)
    assert ledger.budget_at(wallet, member, "month", NOON + 31 * HOUR).spent == 40


def test_a_past_balance_reads_no_more_for_a_longer_book(wallet: Wallet) -> None:
    fill(wallet, 1000, now=NOON)
    with CaptureQueriesContext(connection) as queries:
        ledger.balance_at(wallet, NOON)
    assert len(queries) == 3
