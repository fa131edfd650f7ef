"""The book told as stories, one figure after the other; the README's "life of a credit" is the first of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts import ledger
from accounts.errors import BudgetExceeded, HoldAlreadyResolved, InsufficientCredits
from accounts.ledger import check
from accounts.models import Hold, Wallet
from tests.factories import TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def buckets(wallet: Wallet, now: datetime = NOON) -> tuple[int, int, int]:
    balance = ledger.balance(wallet, now=now)
    return balance.available, balance.held, balance.captured


def left_of_grants(wallet: Wallet) -> list[int]:
    return list(wallet.grants.order_by("pk").values_list("remaining", flat=True))


def test_forty_nine_credits_for_a_clip_that_was_stored() -> None:
    """Ana's team has 500 credits. A Hailuo 2.3 Pro clip costs 49: held while it runs, captured when it is stored."""
    ana, wallet = UserFactory(), TeamFactory(credits=500).wallet
    hold = ledger.hold(wallet, amount=49, user=ana, reference="generation:1", reason="Generate", now=NOON)
    assert buckets(wallet) == (451, 49, 0)
    ledger.capture(hold, reason="Clip stored", now=NOON + timedelta(minutes=3))
    assert buckets(wallet) == (451, 0, 49)
    trail = wallet.entries.order_by("seq").values_list(
        "seq", "kind", "available_after", "held_after", "captured_after"
    )
    assert list(trail) == [(1, "grant", 500, 0, 0), (2, "hold", 451, 49, 0), (3, "capture", 451, 0, 49)]
    assert check.breaches() == []


def test_a_clip_that_failed_costs_nothing() -> None:
    ana, wallet = UserFactory(), TeamFactory(credits=500).wallet
    hold = ledger.hold(wallet, amount=49, user=ana, reference="generation:1", reason="Generate", now=NOON)
    entry = ledger.release(hold, reason="fal answered 500", now=NOON)
    assert buckets(wallet) == (500, 0, 0)
    assert (entry.available_delta, entry.held_delta, entry.captured_delta) == (49, -49, 0)
    with pytest.raises(HoldAlreadyResolved, match="already released"):
        ledger.capture(hold, reason="A late webhook", now=NOON)
    assert buckets(wallet) == (500, 0, 0)


def test_a_shorter_clip_than_quoted_returns_the_rest_in_the_same_entry() -> None:
    ana, wallet = UserFactory(), TeamFactory(credits=100).wallet
    hold = ledger.hold(wallet, amount=70, user=ana, reference="generation:1", reason="Ten seconds", now=NOON)
    entry = ledger.capture(hold, amount=35, reason="Five were made", now=NOON)
    assert (entry.held_delta, entry.captured_delta, entry.available_delta) == (-70, 35, 35)
    assert buckets(wallet) == (65, 0, 35)


def test_promotional_credits_that_expire_on_friday_are_burnt_before_paid_ones() -> None:
    """1000 paid credits never expire, 100 promotional ones expire on Friday, 50 more on Wednesday: 120 are held."""
    ana, wallet = UserFactory(), TeamFactory().wallet
    fill(wallet, 1000, now=NOON)
    fill(wallet, 100, expires_at=NOON + timedelta(days=4), now=NOON, source="promotional")
    fill(wallet, 50, expires_at=NOON + timedelta(days=2), now=NOON, source="promotional")
    hold = ledger.hold(wallet, amount=120, user=ana, reference="generation:1", reason="Generate", now=NOON)
    assert left_of_grants(wallet) == [1000, 30, 0]
    ledger.capture(hold, amount=60, reason="Half of it", now=NOON)
    assert left_of_grants(wallet) == [1000, 90, 0], "what was taken first is spent first"
    assert ledger.balance(wallet, now=NOON + timedelta(days=5)).available == 1000
    entry = ledger.expire(wallet, now=NOON + timedelta(days=5))
    assert entry is not None
    assert entry.expired_delta == 90
    assert check.breaches() == []


def test_credits_held_past_their_expiry_are_still_good_for_the_clip() -> None:
    ana, wallet = UserFactory(), TeamFactory().wallet
    fill(wallet, 49, expires_at=NOON + timedelta(minutes=1), now=NOON)
    hold = ledger.hold(wallet, amount=49, user=ana, reference="generation:1", reason="Generate", now=NOON)
    ledger.capture(hold, reason="Stored", now=NOON + timedelta(hours=2))
    assert buckets(wallet, NOON + timedelta(hours=2)) == (0, 0, 49)


def test_credits_that_expired_while_held_come_back_for_a_day_once() -> None:
    ana, wallet = UserFactory(), TeamFactory().wallet
    fill(wallet, 49, expires_at=NOON + timedelta(minutes=1), now=NOON)
    hold = ledger.hold(wallet, amount=49, user=ana, reference="generation:1", reason="Generate", now=NOON)
    failed_at = NOON + timedelta(hours=2)
    ledger.release(hold, reason="fal answered 500", now=failed_at)
    assert buckets(wallet, failed_at) == (49, 0, 0)
    again = ledger.hold(wallet, amount=49, user=ana, reference="generation:2", reason="Again", now=failed_at)
    too_late = failed_at + timedelta(hours=25)
    entry = ledger.release(again, reason="fal answered 500", now=too_late)
    assert (entry.available_delta, entry.expired_delta) == (0, 49)
    assert buckets(wallet, too_late) == (0, 0, 0)
    assert check.breaches() == []


def test_the_grace_of_a_release_wakes_no_other_credits_of_the_same_grant() -> None:
    """104 credits expire, one of them is held meanwhile: its release brings back one credit and not 104."""
    ana, wallet = UserFactory(), TeamFactory().wallet
    fill(wallet, 104, expires_at=NOON + timedelta(hours=5), now=NOON)
    hold = ledger.hold(wallet, amount=1, user=ana, reference="generation:1", reason="Generate", now=NOON)
    later = NOON + timedelta(hours=192)
    ledger.release(hold, reason="Lost", now=later)
    assert buckets(wallet, later) == (1, 0, 0)
    assert check.breaches() == []


def test_a_refund_goes_back_to_the_grants_it_was_spent_from_last_first() -> None:
    ana, admin, wallet = UserFactory(), UserFactory(), TeamFactory().wallet
    fill(wallet, 30, expires_at=NOON + timedelta(days=1), now=NOON)
    fill(wallet, 100, now=NOON)
    hold = ledger.hold(wallet, amount=50, user=ana, reference="generation:1", reason="Generate", now=NOON)
    ledger.capture(hold, reason="Stored", now=NOON)
    ledger.refund(hold, amount=25, actor=admin, reason="Half is black", idempotency_key="r1", now=NOON)
    assert left_of_grants(wallet) == [5, 100]
    assert buckets(wallet) == (105, 0, 25)
    late = NOON + timedelta(days=3)
    ledger.refund(hold, amount=25, actor=admin, reason="So is the rest", idempotency_key="r2", now=late)
    assert left_of_grants(wallet) == [25, 100], "the 5 had expired by then; the 25 live thirty days more"
    assert ledger.balance(wallet, now=late + timedelta(days=29)).available == 125
    assert ledger.balance(wallet, now=late + timedelta(days=30)).available == 100
    assert Hold.objects.get(pk=hold.pk).refunded == 50
    assert check.breaches() == []


def test_the_refusal_says_how_much_is_needed_and_how_much_is_there() -> None:
    ana, wallet = UserFactory(), TeamFactory(credits=48).wallet
    with pytest.raises(InsufficientCredits, match="needs 49 credits; your team has 48 available"):
        ledger.hold(wallet, amount=49, user=ana, reference="generation:1", reason="Generate", now=NOON)
    assert not Hold.objects.filter(wallet=wallet).exists()
    assert wallet.entries.count() == 1


def test_a_member_in_berlin_is_stopped_on_the_last_day_of_the_month_and_goes_on_after_midnight_there() -> (
    None
):
    """Her cap is 100 a month. What she holds before midnight counts in May, even if the clip is done in June."""
    ana, admin = UserFactory(), UserFactory()
    wallet = TeamFactory(credits=1000, time_zone="Europe/Berlin").wallet
    ledger.set_budget(wallet, user=ana, limit_credits=100, period="month", actor=admin, reason="Trial")
    last_minute = datetime(2026, 5, 31, 21, 59, tzinfo=UTC)
    held = ledger.hold(
        wallet, amount=70, user=ana, reference="generation:1", reason="Generate", now=last_minute
    )
    with pytest.raises(BudgetExceeded) as refusal:
        ledger.hold(wallet, amount=49, user=ana, reference="generation:2", reason="Generate", now=last_minute)
    assert str(refusal.value) == (
        "This needs 49 credits; you have 30 left of your budget of 100 per month; it resets on 01 Jun 2026 00:00 CEST."
    )
    june = datetime(2026, 5, 31, 22, 1, tzinfo=UTC)
    ledger.hold(wallet, amount=49, user=ana, reference="generation:3", reason="Generate", now=june)
    ledger.capture(held, reason="Stored", now=june)
    [status] = ledger.budget_status(wallet, ana, now=june)
    assert (status.spent, status.held, status.left) == (0, 49, 51)
    [may] = ledger.budget_status(wallet, ana, now=last_minute)
    assert (may.spent, may.held, may.left) == (70, 0, 30)
    assert check.breaches() == []


def test_several_caps_bind_at_once_and_the_one_that_refuses_is_named() -> None:
    ana, wallet = UserFactory(), TeamFactory(credits=1000).wallet
    for period, limit in [("day", 60), ("month", 500)]:
        ledger.set_budget(
            wallet, user=ana, limit_credits=limit, period=period, actor=ana, reason="Caps", now=NOON
        )
    ledger.hold(wallet, amount=49, user=ana, reference="generation:1", reason="Generate", now=NOON)
    with pytest.raises(BudgetExceeded, match="11 left of your budget of 60 per day"):
        ledger.hold(wallet, amount=49, user=ana, reference="generation:2", reason="Generate", now=NOON)
    day, month = ledger.budget_status(wallet, ana, now=NOON)
    assert (day.left, month.left) == (11, 451), "a refusal takes nothing from either"


def test_a_soft_budget_shows_but_does_not_refuse() -> None:
    ana, wallet = UserFactory(), TeamFactory(credits=1000).wallet
    ledger.set_budget(
        wallet, user=ana, limit_credits=10, period="day", is_hard=False, actor=ana, reason="Watch", now=NOON
    )
    ledger.hold(wallet, amount=49, user=ana, reference="generation:1", reason="Generate", now=NOON)
    [status] = ledger.budget_status(wallet, ana, now=NOON)
    assert (status.held, status.left) == (49, 0)


def test_taking_a_cap_off_and_on_again_is_no_fresh_start() -> None:
    ana, admin, wallet = UserFactory(), UserFactory(), TeamFactory(credits=1000).wallet
    cap = {"user": ana, "period": "day", "actor": admin, "reason": "Cap", "now": NOON}
    ledger.set_budget(wallet, limit_credits=60, **cap)
    ledger.hold(wallet, amount=49, user=ana, reference="generation:1", reason="Generate", now=NOON)
    ledger.remove_budget(wallet, **cap)
    assert ledger.budget_status(wallet, ana, now=NOON) == []
    ledger.set_budget(wallet, limit_credits=60, **cap)
    with pytest.raises(BudgetExceeded, match="11 left"):
        ledger.hold(wallet, amount=49, user=ana, reference="generation:2", reason="Generate", now=NOON)
    notes = wallet.entries.filter(kind="budget").order_by("seq").values_list("note", flat=True)
    assert list(notes) == [
        "no budget → 60 per day, hard",
        "60 per day, hard → no budget",
        "no budget → 60 per day, hard",
    ]


def test_moving_the_team_to_another_time_zone_is_no_fresh_start() -> None:
    ana = UserFactory()
    team = TeamFactory(credits=1000, time_zone="Europe/Berlin")
    ledger.set_budget(
        team.wallet, user=ana, limit_credits=60, period="day", actor=ana, reason="Cap", now=NOON
    )
    ledger.hold(team.wallet, amount=49, user=ana, reference="generation:1", reason="Generate", now=NOON)
    team.time_zone = "Pacific/Auckland"
    team.save()
    with pytest.raises(BudgetExceeded):
        ledger.hold(team.wallet, amount=49, user=ana, reference="generation:2", reason="Generate", now=NOON)
