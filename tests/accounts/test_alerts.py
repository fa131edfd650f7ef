"""Alerts: each crossing is told once, by whom it concerns it is seen, and it is armed again by what should arm it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail

from accounts import alerts, clock, ledger
from accounts.alerts import sending
from accounts.models import Alert, AlertCursor, Membership, Notice, Team, User
from accounts.models.people import Role
from tests.factories import MembershipFactory, TeamFactory, fill

pytestmark = pytest.mark.django_db

NOW = datetime(2031, 5, 14, 12, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def admin() -> Membership:
    return MembershipFactory(team=TeamFactory(name="Studio", credits=1000), role=Role.ADMIN)


@pytest.fixture
def member(admin: Membership) -> Membership:
    return MembershipFactory(team=admin.team)


def spend(membership: Membership, amount: int, *, now: datetime | None = None) -> None:
    wallet = membership.team.wallet
    number = wallet.holds.count()
    hold = ledger.hold(
        wallet,
        amount=amount,
        user=membership.user,
        reference=f"clip:{wallet.pk}:{number}",
        reason="Clip",
        now=now,
    )
    ledger.capture(hold, reason="Stored", now=now)


def cap(
    member: Membership, admin: Membership, limit: int, *, period: str = "day", now: datetime | None = None
) -> None:
    ledger.set_budget(
        member.team.wallet, user=member.user, limit_credits=limit, period=period, actor=admin.user,
        reason="Plan", now=now,
    )  # fmt: skip


def told(kind: str) -> list[int]:
    return list(Alert.objects.filter(kind=kind).order_by("pk").values_list("threshold", flat=True))


def rules(team: Team, **changes: Any) -> None:
    said = alerts.rules_of(team.pk)
    kept = {
        name: getattr(said, name)
        for name in ("wallet_percents", "budget_percents", "is_burn_watched", "is_mailed", "is_member_mailed")
    }
    alerts.change_rules(team, **(kept | {"mailed_users": []} | changes))


def test_each_threshold_of_the_wallet_is_told_once_and_not_once_per_generation(member: Membership) -> None:
    for amount in [100] * 9 + [50, 50]:
        spend(member, amount)
        alerts.look()
    assert told("wallet") == [50, 80, 100]
    assert "used up" in Alert.objects.filter(kind="wallet").latest("pk").text


def test_a_jump_over_several_thresholds_tells_of_the_highest_alone(member: Membership) -> None:
    spend(member, 850)
    alerts.look()
    assert told("wallet") == [80]


def test_credits_that_come_in_arm_the_thresholds_again(member: Membership) -> None:
    spend(member, 600)
    alerts.look()
    fill(member.team.wallet, 600)
    alerts.look()
    assert told("wallet") == [50]
    spend(member, 600)
    alerts.look()
    assert told("wallet") == [50, 50]


def test_a_hold_that_comes_and_goes_tells_of_a_budget_once_in_its_window(
    admin: Membership, member: Membership
) -> None:
    cap(member, admin, 100)
    for number in range(4):
        hold = ledger.hold(
            member.team.wallet, amount=60, user=member.user, reference=f"try:{number}", reason="Clip"
        )
        alerts.look()
        ledger.release(hold, reason="Failed")
        alerts.look()
    assert told("budget") == [50]


def test_the_next_window_and_another_limit_arm_a_budget_again(admin: Membership, member: Membership) -> None:
    cap(member, admin, 100, now=NOW)
    spend(member, 60, now=NOW)
    alerts.look(now=NOW)
    cap(member, admin, 120, now=NOW)
    alerts.look(now=NOW)
    spend(member, 60, now=NOW + timedelta(days=1))
    alerts.look(now=NOW + timedelta(days=1))
    windows = Alert.objects.filter(kind="budget").order_by("pk").values_list("window", flat=True)
    assert [str(window) for window in windows] == [
        "2031-05-14T00:00Z of 100",
        "2031-05-14T00:00Z of 120",
        "2031-05-15T00:00Z of 120",
    ]


def test_a_wallet_that_did_not_move_is_not_looked_at_again(member: Membership) -> None:
    spend(member, 600)
    assert alerts.look() == 1
    seen = AlertCursor.objects.get(wallet=member.team.wallet).seen_seq
    member.team.wallet.refresh_from_db()
    assert seen == member.team.wallet.seq
    rules(member.team, wallet_percents=[10])
    assert AlertCursor.objects.get(wallet=member.team.wallet).seen_seq == -1


def weeks_of_work(member: Membership, *, daily: int = 100) -> None:
    """Every workday of the four weeks before NOW."""
    for day in range(28, 0, -1):
        at = NOW - timedelta(days=day)
        if at.weekday() < 5:
            spend(member, daily, now=at)


def test_a_day_far_above_the_own_usual_is_told_once(admin: Membership, member: Membership) -> None:
    fill(admin.team.wallet, 10_000)
    rules(admin.team, wallet_percents=[])
    weeks_of_work(member)
    spend(member, 299, now=NOW)
    alerts.look(now=NOW)
    assert told("burn") == []
    spend(member, 1, now=NOW)
    alerts.look(now=NOW)
    spend(member, 100, now=NOW)
    alerts.look(now=NOW)
    [alert] = Alert.objects.filter(kind="burn")
    assert alert.user == member.user
    assert alert.text.endswith(
        "has taken 300 credits today; their usual day in the last 4 weeks is about 100."
    )


def test_one_wild_day_in_the_past_does_not_become_the_measure(admin: Membership, member: Membership) -> None:
    fill(admin.team.wallet, 10_000)
    weeks_of_work(member)
    spend(member, 3_000, now=NOW - timedelta(days=9))
    spend(member, 400, now=NOW)
    alerts.look(now=NOW)
    assert Alert.objects.filter(kind="burn", subject=f"member:{member.user_id} by day").count() == 1


def test_who_has_no_history_has_no_usual(admin: Membership, member: Membership) -> None:
    fill(admin.team.wallet, 10_000)
    for day in range(1, 8):
        spend(member, 10, now=NOW - timedelta(days=day))
    spend(member, 5_000, now=NOW)
    alerts.look(now=NOW)
    assert told("burn") == []


def test_a_grant_is_told_of_30_7_and_1_days_before_it_expires_and_anew_when_it_is_extended(
    admin: Membership,
) -> None:
    grants = admin.team.wallet.grants
    fill(admin.team.wallet, 80, expires_at=NOW, now=NOW - timedelta(days=60), reference="INV-7")
    for days in (31, 30, 29, 7, 6, 1, 0.5):
        alerts.look(now=NOW - timedelta(days=days))
    assert told("grant") == [30, 7, 1]
    grant = grants.get(amount=80)
    later = NOW + timedelta(days=90)
    ledger.extend_grant(
        grant,
        expires_at=later,
        actor=admin.user,
        reason="More",
        idempotency_key="x",
        now=NOW - timedelta(hours=2),
    )
    for days in (31, 30, 29):
        alerts.look(now=later - timedelta(days=days))
    assert told("grant") == [30, 7, 1, 30]
    assert "80 credits of the purchase grant, INV-7, expire within 30 days" in Alert.objects.latest("pk").text


def test_a_grant_given_for_a_week_is_not_told_of_at_birth(admin: Membership) -> None:
    fill(admin.team.wallet, 80, expires_at=NOW + timedelta(days=7), now=NOW)
    alerts.look(now=NOW)
    assert told("grant") == []


def test_a_locked_account_is_told_once_per_pause_to_every_team(admin: Membership) -> None:
    MembershipFactory(role=Role.ADMIN)
    since = clock.now()
    assert [alerts.account_locked("Balance is empty.", since=since) for _ in range(3)] == [2, 0, 0]
    assert alerts.account_locked("Balance is empty.", since=since + timedelta(hours=1)) == 2


def test_a_low_balance_is_told_once_until_it_was_above(admin: Membership) -> None:
    low, well = Decimal("19.99"), Decimal(20)
    assert [alerts.account_balance(amount) for amount in (well, low, low, well, low)] == [0, 1, 0, 0, 1]


def test_members_see_their_own_budget_and_nothing_of_the_others(
    admin: Membership, member: Membership
) -> None:
    other = MembershipFactory(team=admin.team)
    for each in (member, other):
        cap(each, admin, 10)
        spend(each, 10)
    alerts.look()
    assert [alert.user for alert in Alert.objects.unread_by(member)] == [member.user]
    assert Alert.objects.unread_by(admin).count() == 2
    assert Alert.objects.unread_by(MembershipFactory(role=Role.ADMIN)).count() == 0


def mailed() -> set[User]:
    return {notice.user for notice in Notice.objects.filter(channel="mail") if notice.user}


def test_mail_goes_to_admins_and_to_whom_the_budget_is(admin: Membership, member: Membership) -> None:
    MembershipFactory(team=admin.team)
    cap(member, admin, 10)
    spend(member, 10)
    alerts.look()
    assert mailed() == {admin.user, member.user}


def test_chosen_people_get_the_mail_instead_of_the_admins_unless_they_left(
    admin: Membership, member: Membership
) -> None:
    rules(admin.team, mailed_users=[member.user])
    spend(member, 600)
    alerts.look()
    assert mailed() == {member.user}
    Membership.objects.filter(pk=member.pk).update(is_active=False)
    spend(member, 300)
    alerts.look()
    assert mailed() == {member.user, admin.user}


def test_a_burst_is_one_mail_and_the_next_comes_a_quarter_of_an_hour_later(
    admin: Membership, member: Membership
) -> None:
    for _ in range(25):
        alerts.send_test(admin)
    assert alerts.deliver() == 25
    [first] = mail.outbox
    assert (first.to, first.subject) == ([admin.user.email], "Studio: 25 alerts")
    assert first.body.count("\n- ") == sending.DIGEST_LINES + 1
    assert "and 5 more" in first.body
    alerts.send_test(admin)
    assert alerts.deliver() == 0
    Notice.objects.filter(state="sent").update(sent_at=clock.now() - timedelta(minutes=16))
    assert alerts.deliver() == 1
    assert len(mail.outbox) == 2


def test_mail_that_cannot_be_sent_is_tried_again_and_given_up_in_the_end(
    admin: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise ConnectionRefusedError("no mail server")

    alerts.send_test(admin)
    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    for tries in range(1, 9):
        assert alerts.deliver() == 0
        notice = Notice.objects.get()
        assert notice.tries == tries
        assert notice.next_try_at > clock.now()
        Notice.objects.update(next_try_at=clock.now())
    assert (notice.state, notice.said) == ("failed", "Not mailed: no mail server")


def test_nothing_is_mailed_to_whoever_has_left(admin: Membership) -> None:
    alerts.send_test(admin)
    User.objects.filter(pk=admin.user_id).update(is_active=False)
    assert alerts.deliver() == 0
    assert mail.outbox == []
    assert Notice.objects.get().state == "failed"
