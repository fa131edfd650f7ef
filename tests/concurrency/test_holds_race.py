"""Many submits at once for the last credits: first without the ledger, to see the race, then with it."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from accounts import ledger
from accounts.errors import BudgetExceeded, HoldAlreadyResolved, InsufficientCredits, InvalidAmount
from accounts.ledger import check
from accounts.models import Entry, Hold, User, Wallet
from tests.concurrency.together import of_type, together
from tests.factories import TeamFactory, UserFactory

pytestmark = [pytest.mark.concurrency, pytest.mark.django_db(transaction=True)]
SUBMITS = 50
PRICE = 49


def submit(wallet: Wallet, user: User, number: int) -> Hold:
    return ledger.hold(wallet, amount=PRICE, user=user, reference=f"race:{number}", reason="Generate")


def holds_of(wallet: Wallet, number: int = 1) -> list[Hold]:
    user = UserFactory()
    return [submit(wallet, user, 1000 + place) for place in range(number)]


def test_reading_and_then_writing_gives_out_credits_that_are_not_there() -> None:
    wallet = TeamFactory(credits=10 * PRICE).wallet
    everybody_has_read = threading.Barrier(SUBMITS)

    def naive() -> bool:
        seen = Wallet.objects.get(pk=wallet.pk)
        everybody_has_read.wait(timeout=30)
        if seen.available < PRICE:
            return False
        left, held = seen.available - PRICE, seen.held + PRICE
        return Wallet.objects.filter(pk=wallet.pk).update(available=left, held=held) == 1

    assert together([naive] * SUBMITS).count(True) > 10
    assert check.breaches()


def test_fifty_parallel_submits_with_credits_for_ten_give_exactly_ten_holds() -> None:
    wallet, user = TeamFactory(credits=10 * PRICE).wallet, UserFactory()
    results = together([partial(submit, wallet, user, number) for number in range(SUBMITS)])
    refused = of_type(results, InsufficientCredits)
    assert (len(of_type(results, Hold)), len(refused)) == (10, 40)
    assert {(error.needed, error.available) for error in refused} == {(PRICE, 0)}
    assert Hold.objects.count() == 10
    assert ledger.balance(wallet).available == 0
    assert check.breaches() == []


def test_one_reference_submitted_many_times_at_once_is_one_hold() -> None:
    wallet, user = TeamFactory(credits=10 * PRICE).wallet, UserFactory()
    results = together([partial(submit, wallet, user, 7)] * 20)
    assert len({hold.pk for hold in results}) == 1
    assert ledger.balance(wallet).held == PRICE
    assert check.breaches() == []


@pytest.mark.parametrize(("pool", "made"), [(10, 8), (6, 6)])
def test_pool_and_member_cap_raced_together_both_hold(pool: int, made: int) -> None:
    """45 submits of a member capped at 3 against 5 of a free one: a wide pool gives 3 + 5, a narrow one what it has."""
    wallet, capped, free = TeamFactory(credits=pool * PRICE).wallet, UserFactory(), UserFactory()
    ledger.set_budget(
        wallet, user=capped, limit_credits=3 * PRICE, period="day", actor=free, reason="New here"
    )
    results = together(
        [partial(submit, wallet, free if number % 10 == 0 else capped, number) for number in range(SUBMITS)]
    )
    holds, refused = of_type(results, Hold), (BudgetExceeded, InsufficientCredits)
    assert (len(holds), len([error for error in results if isinstance(error, refused)])) == (
        made,
        SUBMITS - made,
    )
    [status] = ledger.budget_status(wallet, capped)
    assert status.held == PRICE * sum(hold.user == capped for hold in holds) <= 3 * PRICE
    assert check.breaches() == []


def test_a_members_cap_alone_refuses_when_the_pool_is_full() -> None:
    wallet, capped = TeamFactory(credits=100 * PRICE).wallet, UserFactory()
    ledger.set_budget(
        wallet, user=capped, limit_credits=10 * PRICE, period="month", actor=capped, reason="Cap"
    )
    ledger.set_budget(wallet, user=capped, limit_credits=11 * PRICE, period="day", actor=capped, reason="Cap")
    results = together([partial(submit, wallet, capped, number) for number in range(SUBMITS)])
    assert (len(of_type(results, Hold)), len(of_type(results, BudgetExceeded))) == (10, 40)
    assert check.breaches() == []


def test_capture_and_release_of_one_hold_race_and_one_wins() -> None:
    wallet = TeamFactory(credits=20 * PRICE).wallet
    holds = holds_of(wallet, 10)
    ways: list[Any] = []
    for hold in holds:
        ways += [
            partial(ledger.capture, hold, reason="Stored"),
            partial(ledger.release, hold, reason="Cancelled"),
        ]
    results = together(ways)
    assert (len(of_type(results, Entry)), len(of_type(results, HoldAlreadyResolved))) == (10, 10)
    for hold in holds:
        assert hold.entries.filter(kind__in=["capture", "release"]).count() == 1
    assert check.breaches() == []


def test_ten_webhooks_at_once_capture_once() -> None:
    wallet = TeamFactory(credits=PRICE).wallet
    [hold] = holds_of(wallet)
    results = together([partial(ledger.capture, hold, reason="Stored")] * 10)
    assert len({entry.pk for entry in results}) == 1
    assert ledger.balance(wallet).captured == PRICE


def test_settling_one_hold_does_not_disturb_another_open_one() -> None:
    wallet = TeamFactory(credits=2 * PRICE).wallet
    first, second = holds_of(wallet, 2)
    ways = [partial(ledger.capture, first, reason="Stored"), partial(ledger.release, second, reason="Failed")]
    assert len(of_type(together(ways * 4), Entry)) == 8
    balance = ledger.balance(wallet)
    assert (balance.available, balance.held, balance.captured) == (PRICE, 0, PRICE)
    assert check.breaches() == []


def test_two_admins_refunding_at_once_never_give_back_more_than_was_captured() -> None:
    wallet, admins = TeamFactory(credits=PRICE).wallet, UserFactory.create_batch(2)
    [hold] = holds_of(wallet)
    ledger.capture(hold, reason="Stored")
    ways = [
        partial(
            ledger.refund, hold, amount=30, actor=admin, reason="Bad clip", idempotency_key=f"by:{admin.pk}"
        )
        for admin in admins
    ]
    results = together(ways)
    assert (len(of_type(results, Entry)), len(of_type(results, InvalidAmount))) == (1, 1)
    assert ledger.balance(wallet).available == 30
    assert check.breaches() == []


def test_two_admins_setting_one_budget_at_once_both_leave_their_mark() -> None:
    wallet, member, admins = TeamFactory().wallet, UserFactory(), UserFactory.create_batch(2)
    ways = [
        partial(
            ledger.set_budget,
            wallet,
            user=member,
            limit_credits=limit,
            period="week",
            actor=admin,
            reason="Plan",
        )
        for admin, limit in zip(admins, [100, 200], strict=True)
    ]
    together(ways)
    first, second = wallet.entries.filter(kind="budget").order_by("seq").values_list("note", flat=True)
    assert first.startswith("no budget → ")
    assert second.startswith(first.removeprefix("no budget → "))
    assert check.breaches() == []


def test_the_same_grant_sent_at_once_from_two_tabs_comes_in_once() -> None:
    wallet = TeamFactory().wallet
    way = partial(
        ledger.grant, wallet, amount=500, source="purchase", reason="Invoice 7", idempotency_key="invoice:7"
    )
    assert len({entry.pk for entry in together([way] * 8)}) == 1
    assert ledger.balance(wallet).available == 500
