"""One request decided by several at once: two tabs, two admins, and its member; on real rows and real locks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from accounts import ledger
from accounts.errors import BudgetExceeded
from accounts.ledger import check
from accounts.models import Entry, Hold
from generations import asking
from generations.asking import deciding
from generations.models import CreditRequest, CreditRequestStep, Generation
from tests.concurrency.together import of_type, together
from tests.generations.asking.conftest import PRICE, admin_of, asked, asker

pytestmark = [pytest.mark.concurrency, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def media_root(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


def decided_together(*acts: Callable[[CreditRequest], Any]) -> list[Any]:
    """What came of each; whatever won, it was decided once and the books are whole."""
    row = CreditRequest.objects.get()
    results = together([partial(act, row) for act in acts])
    assert CreditRequestStep.objects.exclude(kind="asked").count() == 1
    assert check.breaches() == []
    return results


def test_peers_e21_an_approval_used_twice_at_once_by_two_admins_in_two_tabs_runs_once() -> None:
    member = asker(available=1000)
    admins = [admin_of(member).user for _ in range(2)]
    asked(member)

    def approve(row: CreditRequest, *, actor: Any) -> Generation:
        return asking.approve(row.pk, actor=actor)

    results = decided_together(*(partial(approve, actor=admin) for admin in [*admins, *admins]))
    [made] = of_type(results, Generation)
    assert len(of_type(results, asking.AlreadyDecided)) == 3
    assert [hold.amount for hold in Hold.objects.all()] == [PRICE]
    assert Generation.objects.get() == made


def test_approving_declining_and_withdrawing_at_once_one_of_them_wins() -> None:
    member = asker(available=1000)
    first, second = admin_of(member).user, admin_of(member).user
    asked(member)
    results = decided_together(
        lambda row: asking.approve(row.pk, actor=first),
        lambda row: asking.decline(row.pk, actor=second, note="No"),
        lambda row: asking.withdraw(row.pk, actor=member.user),
    )
    assert len(of_type(results, asking.AlreadyDecided)) == 2
    is_approved = CreditRequest.objects.get().state == "approved"
    assert Hold.objects.count() == Generation.objects.count() == int(is_approved)


def test_two_that_raise_the_budget_at_once_raise_it_once() -> None:
    member = asker(available=1000)
    first, second = admin_of(member).user, admin_of(member).user
    asked(member)
    results = decided_together(
        lambda row: asking.approve(row.pk, actor=first, new_limit=asking.NewLimit("day", 100)),
        lambda row: asking.approve(row.pk, actor=second, new_limit=asking.NewLimit("day", 500)),
    )
    assert len(of_type(results, Generation)) == len(of_type(results, asking.AlreadyDecided)) == 1
    assert Entry.objects.filter(kind="budget").count() == 2, "the first one, and one raise"


def test_approvals_of_several_requests_and_new_orders_at_once_keep_the_windows_right() -> None:
    member = asker(available=3 * PRICE)
    admin = admin_of(member).user
    rows = [asked(member) for _ in range(4)]

    def order(number: int) -> Any:
        wallet = member.team.wallet
        return ledger.hold(wallet, amount=30, user=member.user, reference=f"t:{number}", reason="Clip")

    acts: list[Callable[[], Any]] = [partial(asking.approve, row.pk, actor=admin) for row in rows]
    acts += [partial(order, number) for number in range(2)]
    results = together(acts)
    assert len(of_type(results, Generation)) == 3, "as many as the wallet pays for"
    assert len(of_type(results, asking.StaysOpen)) == 1
    assert len(of_type(results, BudgetExceeded)) == 2
    assert check.breaches() == []
    [status] = ledger.budget_status(member.team.wallet, member.user)
    assert status.held == 3 * PRICE
    assert CreditRequest.objects.all().open().count() == 1


def test_without_the_lock_on_the_request_the_form_still_makes_one_generation() -> None:
    """The second guard: read without a lock, both admins find it open, and the form's own turn stops the second."""
    member = asker(available=1000)
    first, second = admin_of(member).user, admin_of(member).user
    row = asked(member)

    def unlocked(request_id: Any, _actor: Any) -> CreditRequest:
        return CreditRequest.objects.select_related("team", "user", "price_version").get(pk=request_id)

    with mock.patch.object(deciding, "_locked", unlocked):
        results = together([partial(asking.approve, row.pk, actor=it) for it in (first, second)])
    assert len(of_type(results, asking.OrderedMeanwhile)) == 1
    assert Hold.objects.count() == 1
