"""What people change while work goes on: voids, extensions and first budgets against holds, captures and expiry.

The gap between two statements is held open with the wallet's own lock: each order is met, not hoped for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from accounts import clock, ledger
from accounts.errors import BudgetExceeded, GrantClosed, InsufficientCredits
from accounts.ledger import book, check
from accounts.models import Entry, Grant, Hold, HoldBudget, User, Wallet
from tests.concurrency.together import of_type, together
from tests.factories import TeamFactory, UserFactory, fill

pytestmark = [pytest.mark.concurrency, pytest.mark.django_db(transaction=True)]


def submit(wallet: Wallet, user: User, number: int, *, amount: int = 10) -> Hold:
    return ledger.hold(wallet, amount=amount, user=user, reference=f"race:{number}", reason="Clip")


def cap(wallet: Wallet, user: User, actor: User, *, limit: int = 25) -> Any:
    return ledger.set_budget(wallet, user=user, limit_credits=limit, period="day", actor=actor, reason="Plan")


def wait_until_blocked(number: int = 1) -> None:
    """Until so many others wait for a lock. Not pg_stat_activity, which stands still within a transaction."""
    for _ in range(600):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0] >= number:
                return
        time.sleep(0.05)
    raise AssertionError("Nobody waits.")


def while_the_budget_is_made(wallet: Wallet, user: User, act: Callable[[], Any]) -> Any:
    """`act` begins before a first budget is made and gets the wallet after it."""
    results: list[Any] = []
    with transaction.atomic():
        book.lock(wallet.pk)
        other = threading.Thread(target=lambda: results.extend(together([act])))
        other.start()
        wait_until_blocked()
        cap(wallet, user, UserFactory())
    other.join(timeout=60)
    assert check.breaches() == []
    return results[0]


def test_a_hold_that_looked_before_the_first_budget_was_made_is_held_against_it() -> None:
    wallet, user = TeamFactory(credits=100).wallet, UserFactory()
    refused = while_the_budget_is_made(wallet, user, lambda: submit(wallet, user, 1, amount=26))
    assert isinstance(refused, BudgetExceeded)
    assert Hold.objects.count() == 0


def test_a_hold_in_flight_when_the_first_budget_was_made_is_counted_once() -> None:
    wallet, user = TeamFactory(credits=100).wallet, UserFactory()
    made = while_the_budget_is_made(wallet, user, lambda: submit(wallet, user, 1, amount=20))
    assert HoldBudget.objects.filter(hold=made).count() == 1
    assert [status.left for status in ledger.budget_status(wallet, user)] == [5]


@pytest.mark.parametrize(("verb", "left"), [("capture", 5), ("release", 25), ("refund", 25)])
def test_what_ends_while_the_first_budget_is_made_ends_in_its_window(verb: str, left: int) -> None:
    wallet, user, staff = TeamFactory(credits=100).wallet, UserFactory(), UserFactory()
    hold = submit(wallet, user, 1, amount=20)
    if verb == "refund":
        ledger.capture(hold, reason="Stored")
    ends: dict[str, Callable[[], Any]] = {
        "capture": lambda: ledger.capture(hold, reason="Stored"),
        "release": lambda: ledger.release(hold, reason="Failed"),
        "refund": lambda: ledger.refund(hold, amount=20, actor=staff, reason="Bad", idempotency_key="r"),
    }
    assert isinstance(while_the_budget_is_made(wallet, user, ends[verb]), Entry)
    assert [status.left for status in ledger.budget_status(wallet, user)] == [left]


def test_a_first_budget_set_in_a_crowd_lets_nobody_over_it() -> None:
    wallet, user = TeamFactory(credits=10_000).wallet, UserFactory()
    acts: list[Callable[[], Any]] = [partial(submit, wallet, user, number) for number in range(20)]
    together([*acts[:10], partial(cap, wallet, user, UserFactory(), limit=80), *acts[10:]])
    [status] = ledger.budget_status(wallet, user)
    assert status.held == 10 * Hold.objects.count()
    with pytest.raises(BudgetExceeded):
        submit(wallet, user, 99, amount=status.left + 1)
    assert check.breaches() == []


def test_a_void_against_many_holds_gives_no_credit_twice() -> None:
    wallet, user, staff = TeamFactory().wallet, UserFactory(), UserFactory()
    fill(wallet, 100)
    grant = Grant.objects.get(wallet=wallet)
    void = partial(ledger.void_grant, grant, actor=staff, reason="Chargeback", idempotency_key="void")
    acts: list[Callable[[], Any]] = [partial(submit, wallet, user, number) for number in range(12)]
    results = together([*acts[:6], void, void, *acts[6:]])
    [entry] = {item.pk: item for item in of_type(results, Entry)}.values()
    made = of_type(results, Hold)
    assert len(made) * 10 + entry.adjusted_out_delta == 100
    assert len(of_type(results, InsufficientCredits)) == 12 - len(made)
    for hold in made:
        ledger.release(hold, reason="Failed")
    grant.refresh_from_db()
    assert (grant.adjusted_out, ledger.balance(wallet).available) == (100, 0)
    assert check.breaches() == []


def test_an_extension_against_the_expiry_is_one_or_the_other() -> None:
    """At the moment of expiry: the sweep and the extension carry times on either side of it."""
    for number in range(4):
        wallet, staff = TeamFactory().wallet, UserFactory()
        ends_at = clock.now() + timedelta(hours=1)
        fill(wallet, 50, expires_at=ends_at)
        grant = Grant.objects.get(wallet=wallet)
        extend = partial(
            ledger.extend_grant, grant, expires_at=ends_at + timedelta(days=9), actor=staff, reason="Late",
            idempotency_key=f"extend:{wallet.pk}:{number}", now=ends_at - timedelta(seconds=1),
        )  # fmt: skip
        expire = partial(ledger.expire, wallet, now=ends_at + timedelta(seconds=1))
        results = together([extend, expire, extend, expire])
        grant.refresh_from_db()
        if of_type(results, GrantClosed):
            assert (grant.remaining, grant.expired, grant.expires_at) == (0, 50, ends_at)
        else:
            assert (grant.remaining, grant.expired, grant.expires_at) == (50, 0, ends_at + timedelta(days=9))
        assert check.breaches() == []
