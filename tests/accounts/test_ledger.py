"""What the ledger refuses, what it repeats, and what reading it costs. The stories are in tests/worked_examples."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import ledger
from accounts.errors import (
    BudgetExceeded,
    HoldAlreadyResolved,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidAmount,
    InvalidExpiry,
    ReasonRequired,
    WalletNotActive,
)
from accounts.ledger import check
from accounts.models import Entry, Hold, Wallet
from tests.factories import TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet() -> Wallet:
    return TeamFactory(credits=100).wallet


@pytest.fixture
def ana() -> Any:
    return UserFactory()


@pytest.fixture
def hold(wallet: Wallet, ana: Any) -> Hold:
    return ledger.hold(wallet, amount=40, user=ana, reference="generation:1", reason="Generate")


@pytest.mark.parametrize("amount", [0, -1, 1.0, 1.5, float("nan"), float("inf"), True, "5", None, 10**12 + 1])
def test_an_amount_is_a_positive_whole_number(wallet: Wallet, ana: Any, amount: Any) -> None:
    with pytest.raises(InvalidAmount):
        ledger.hold(wallet, amount=amount, user=ana, reference="x", reason="Generate")
    with pytest.raises(InvalidAmount):
        ledger.grant(wallet, amount=amount, source="purchase", reason="x", idempotency_key="x")
    assert wallet.entries.count() == 1


def test_opening_a_wallet_twice_gives_the_same_one(wallet: Wallet) -> None:
    assert ledger.open_wallet(wallet.team) == wallet


def test_more_than_was_held_cannot_be_captured(hold: Hold) -> None:
    with pytest.raises(InvalidAmount, match="41 credits cannot be captured: 40 were held"):
        ledger.capture(hold, amount=41, reason="Stored")
    assert Hold.objects.get(pk=hold.pk).is_open


def test_a_capture_of_nothing_is_refused_because_it_is_a_release(hold: Hold) -> None:
    with pytest.raises(InvalidAmount):
        ledger.capture(hold, amount=0, reason="Stored")


def test_a_captured_hold_cannot_be_released(hold: Hold) -> None:
    ledger.capture(hold, reason="Stored")
    with pytest.raises(HoldAlreadyResolved) as refusal:
        ledger.release(hold, reason="Late failure")
    assert refusal.value.state == "captured"


def test_a_second_capture_answers_with_the_first_unless_the_amount_differs(hold: Hold) -> None:
    first = ledger.capture(hold, amount=30, reason="Webhook")
    assert ledger.capture(hold, amount=30, reason="Poll") == first
    with pytest.raises(IdempotencyConflict):
        ledger.capture(hold, reason="Poll")


def test_a_reference_held_again_gives_the_same_hold_unless_something_differs(
    hold: Hold, wallet: Wallet
) -> None:
    again = ledger.hold(wallet, amount=40, user=hold.user, reference="generation:1", reason="Double click")
    assert again == hold
    for other in [{"amount": 41}, {"user": UserFactory()}, {"wallet": TeamFactory(credits=100).wallet}]:
        same = {"wallet": wallet, "amount": 40, "user": hold.user, "reference": "generation:1", "reason": "x"}
        options = same | other
        with pytest.raises(IdempotencyConflict):
            ledger.hold(options.pop("wallet"), **options)


def test_one_key_serves_one_operation_only(wallet: Wallet, ana: Any) -> None:
    ledger.adjust(wallet, amount=5, actor=ana, reason="Count", idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        ledger.adjust(wallet, amount=6, actor=ana, reason="Count", idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        ledger.adjust(TeamFactory().wallet, amount=5, actor=ana, reason="Count", idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        ledger.grant(wallet, amount=5, source="purchase", reason="Count", idempotency_key="k")


def test_corrections_need_an_actor_and_a_reason(wallet: Wallet, hold: Hold, ana: Any) -> None:
    ledger.capture(hold, reason="Stored")
    for actor, reason in [(None, "Because"), (ana, "  ")]:
        with pytest.raises(ReasonRequired):
            ledger.adjust(wallet, amount=-1, actor=actor, reason=reason, idempotency_key="a")
        with pytest.raises(ReasonRequired):
            ledger.refund(hold, amount=1, actor=actor, reason=reason, idempotency_key="r")


def test_a_correction_downwards_stops_at_what_is_available(wallet: Wallet, hold: Hold, ana: Any) -> None:
    with pytest.raises(InsufficientCredits, match="61 credits; your team has 60"):
        ledger.adjust(wallet, amount=-61, actor=ana, reason="Charge-back", idempotency_key="a")
    ledger.adjust(wallet, amount=-60, actor=ana, reason="Charge-back", idempotency_key="a")
    assert ledger.balance(wallet).adjusted_out == 60
    assert check.breaches() == []


def test_only_what_was_captured_can_be_refunded(hold: Hold, ana: Any) -> None:
    with pytest.raises(InvalidAmount, match="0 of this held hold"):
        ledger.refund(hold, amount=1, actor=ana, reason="x", idempotency_key="r")
    ledger.capture(hold, amount=30, reason="Stored")
    with pytest.raises(InvalidAmount, match="30 of this captured hold"):
        ledger.refund(hold, amount=31, actor=ana, reason="x", idempotency_key="r")


def test_a_refund_gives_the_member_their_budget_back(wallet: Wallet, ana: Any) -> None:
    ledger.set_budget(wallet, user=ana, limit_credits=50, period="day", actor=ana, reason="Cap")
    hold = ledger.hold(wallet, amount=40, user=ana, reference="generation:2", reason="Generate")
    ledger.capture(hold, reason="Stored")
    ledger.refund(hold, amount=15, actor=ana, reason="Bad clip", idempotency_key="r")
    [status] = ledger.budget_status(wallet, ana)
    assert (status.spent, status.held, status.left) == (25, 0, 25)


def test_a_grant_cannot_arrive_expired(wallet: Wallet) -> None:
    with pytest.raises(InvalidExpiry):
        fill(wallet, 10, expires_at=timezone.now() - timedelta(seconds=1))


def test_a_frozen_wallet_refuses_new_holds_and_lets_old_ones_end(
    wallet: Wallet, hold: Hold, ana: Any
) -> None:
    entry = ledger.freeze(wallet, actor=ana, reason="Card was stolen")
    assert entry is not None
    assert (entry.kind, entry.actor, entry.available_delta) == ("freeze", ana, 0)
    with pytest.raises(WalletNotActive, match="frozen"):
        ledger.hold(wallet, amount=1, user=ana, reference="generation:2", reason="Generate")
    ledger.capture(hold, reason="Stored")
    ledger.unfreeze(wallet, actor=ana, reason="New card")
    ledger.hold(wallet, amount=1, user=ana, reference="generation:2", reason="Generate")
    assert check.breaches() == []


def test_a_refusal_leaves_nothing_behind_in_wallet_or_budget(wallet: Wallet, ana: Any) -> None:
    ledger.set_budget(wallet, user=ana, limit_credits=1000, period="day", actor=ana, reason="Cap")
    before = Wallet.objects.filter(pk=wallet.pk).values().get()
    with pytest.raises(InsufficientCredits):
        ledger.hold(wallet, amount=101, user=ana, reference="generation:2", reason="Generate")
    assert Wallet.objects.filter(pk=wallet.pk).values().get() == before
    assert [(status.held, status.left) for status in ledger.budget_status(wallet, ana)] == [(0, 1000)]
    assert not Hold.objects.exists()


def test_a_budget_of_nothing_refuses_everything_and_bad_ones_are_refused(wallet: Wallet, ana: Any) -> None:
    ledger.set_budget(wallet, user=ana, limit_credits=0, period="never", actor=ana, reason="Left us")
    with pytest.raises(BudgetExceeded, match=r"0 left of your budget of 0 per ever\.$"):
        ledger.hold(wallet, amount=1, user=ana, reference="generation:2", reason="Generate")
    for wrong in [{"limit_credits": -1}, {"period": "fortnight"}, {"limit_credits": float("nan")}]:
        rule = {"limit_credits": 1, "period": "day"} | wrong
        with pytest.raises(InvalidAmount):
            ledger.set_budget(wallet, user=ana, actor=ana, reason="x", **rule)


def test_setting_the_budget_that_is_set_writes_no_entry(wallet: Wallet, ana: Any) -> None:
    for _ in range(2):
        ledger.set_budget(wallet, user=ana, limit_credits=5, period="day", actor=ana, reason="Cap")
    assert wallet.entries.filter(kind="budget").count() == 1
    assert ledger.remove_budget(wallet, user=ana, period="week", actor=ana, reason="None there") is None


def test_entries_say_whose_work_it_was_and_who_did_it(wallet: Wallet, hold: Hold, ana: Any) -> None:
    admin = UserFactory()
    ledger.release(hold, reason="Cancelled by an admin", actor=admin)
    entry = Entry.objects.get(kind="release")
    assert (entry.user, entry.actor, entry.reason) == (ana, admin, "Cancelled by an admin")
    assert (entry.reference, entry.idempotency_key) == ("generation:1", "release:generation:1")


def test_holding_and_capturing_take_few_statements(
    wallet: Wallet, ana: Any, django_assert_num_queries: Any
) -> None:
    """Each statement under the wallet's lock is time nobody else has. Two are the savepoint of this very test."""
    with django_assert_num_queries(7):
        hold = ledger.hold(wallet, amount=10, user=ana, reference="generation:9", reason="Generate")
    with django_assert_num_queries(7):
        ledger.capture(hold, reason="Stored")
    with django_assert_num_queries(1):
        ledger.balance(wallet)


def test_reading_budgets_costs_the_same_however_many_holds_there_are(
    wallet: Wallet, ana: Any, django_assert_num_queries: Any
) -> None:
    for period in ["day", "week", "month", "never"]:
        ledger.set_budget(wallet, user=ana, limit_credits=100, period=period, actor=ana, reason="Cap")
    for number in range(3):
        ledger.hold(wallet, amount=1, user=ana, reference=f"many:{number}", reason="Generate")
    with django_assert_num_queries(2):
        statuses = ledger.budget_status(wallet, ana)
    assert [(status.budget.period, status.left) for status in statuses] == [
        ("day", 97), ("week", 97), ("month", 97), ("never", 97),
    ]  # fmt: skip


def test_the_sweep_settles_wallets_that_nobody_touches(wallet: Wallet) -> None:
    soon = timezone.now() + timedelta(hours=1)
    fill(wallet, 30, expires_at=soon)
    assert ledger.expire_due(now=soon - timedelta(seconds=1)) == 0
    assert ledger.expire_due(now=soon) == 1
    assert ledger.expire_due(now=soon) == 0
    wallet.refresh_from_db()
    assert (wallet.available, wallet.expired, wallet.next_expiry_at) == (100, 30, None)
