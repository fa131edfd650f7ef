"""Rules of spending: what counts before a budget, who may set it, what newcomers get, which engines are open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import ledger, people
from accounts.errors import BudgetExceeded, SelfDealing
from accounts.ledger import check
from accounts.models import BudgetPeriod, EngineRule, Entry, Grant, Membership, Team, User, Wallet
from accounts.models.people import Role
from tests.factories import MembershipFactory, TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)


@pytest.fixture
def admin() -> Membership:
    return MembershipFactory(team=TeamFactory(credits=1_000), role=Role.ADMIN)


@pytest.fixture
def wallet(admin: Membership) -> Wallet:
    return admin.team.wallet


@pytest.fixture
def mika(admin: Membership) -> User:
    return MembershipFactory(team=admin.team).user


@pytest.fixture(autouse=True)
def books_are_whole() -> Any:
    yield
    assert check.breaches() == []


def hold(wallet: Wallet, user: User, amount: int, *, now: datetime = NOW) -> Any:
    reference = f"generation:{wallet.holds.count()}"
    return ledger.hold(wallet, amount=amount, user=user, reference=reference, reason="Clip", now=now)


def cap(wallet: Wallet, user: User, actor: User, **options: Any) -> Any:
    rule = {"limit_credits": 100, "period": "month", "reason": "Plan", "now": NOW} | options
    return ledger.set_budget(wallet, user=user, actor=actor, **rule)


def taken(wallet: Wallet, user: User, *, now: datetime = NOW) -> dict[str, int]:
    return {each.period: each.taken for each in ledger.taken_so_far(wallet, user, now=now)}


def test_19_a_cap_added_after_spend_counts_what_its_window_has_seen_and_says_so_before(
    wallet: Wallet, admin: Membership, mika: User
) -> None:
    """Peers' failure 19 (LiteLLM): a cap set in mid-period began at zero, and nobody was told."""
    may, yesterday = NOW - timedelta(days=30), NOW - timedelta(days=1)
    hold(wallet, mika, 500, now=may)
    ledger.capture(hold(wallet, mika, 40, now=yesterday), amount=30, reason="Stored", now=yesterday)
    ledger.release(hold(wallet, mika, 90), reason="Failed", now=NOW)
    running = hold(wallet, mika, 7)
    assert taken(wallet, mika) == {"day": 7, "week": 37, "month": 37, "rolling": 7, "never": 537}
    cap(wallet, mika, admin.user)
    [status] = ledger.budget_status(wallet, mika, now=NOW)
    assert (status.spent, status.held, status.left) == (30, 7, 63)
    with pytest.raises(
        BudgetExceeded, match="63 left of your budget of 100 per month; it resets on 01 Jul 2026"
    ):
        hold(wallet, mika, 64)
    ledger.release(running, reason="Failed", now=NOW)
    hold(wallet, mika, 70)


def test_a_budget_that_comes_back_counts_what_was_taken_while_it_was_away_once(
    wallet: Wallet, admin: Membership, mika: User
) -> None:
    cap(wallet, mika, admin.user)
    hold(wallet, mika, 10)
    ledger.remove_budget(wallet, user=mika, period="month", actor=admin.user, reason="Rush", now=NOW)
    hold(wallet, mika, 25)
    cap(wallet, mika, admin.user)
    cap(wallet, mika, admin.user, limit_credits=200)
    [status] = ledger.budget_status(wallet, mika, now=NOW)
    assert (status.held, taken(wallet, mika)["month"]) == (35, 35)


def test_a_refund_of_work_older_than_the_budget_is_credited_to_its_window(
    wallet: Wallet, admin: Membership, mika: User
) -> None:
    done = hold(wallet, mika, 40)
    ledger.capture(done, reason="Stored", now=NOW)
    cap(wallet, mika, admin.user)
    ledger.refund(done, amount=15, actor=admin.user, reason="Bad", idempotency_key="r", now=NOW)
    [status] = ledger.budget_status(wallet, mika, now=NOW)
    assert status.spent == 25


@pytest.mark.parametrize("period", ["day", "week", "month", "rolling"])
def test_18_a_hold_stays_in_its_window_however_late_and_however_the_clocks_are_changed(period: str) -> None:
    """Peers' failure 18 (LiteLLM #30330): a reset in mid-flight lost spend or made it negative. DST falls in it."""
    team = TeamFactory(credits=1_000, time_zone="Europe/Berlin")
    boss, user, wallet = MembershipFactory(team=team, role=Role.ADMIN).user, UserFactory(), team.wallet
    late = datetime(2026, 3, 28, 22, 59, tzinfo=UTC)  # 23:59 of the evening before the clocks go forward
    cap(wallet, user, boss, period=period, now=late)
    flying = hold(wallet, user, 60, now=late)
    after = late + timedelta(days=40)
    ledger.capture(flying, reason="Stored", now=after)
    hold(wallet, user, 100, now=after)
    figures = BudgetPeriod.objects.filter(budget__wallet=wallet).order_by("starts_at")
    assert list(figures.values_list("held", "captured")) == [(0, 60), (100, 0)]


def test_a_rolling_month_runs_from_the_day_it_was_set_in_the_teams_zone() -> None:
    team = TeamFactory(credits=1_000, time_zone="Pacific/Auckland")
    wallet, user = team.wallet, UserFactory()
    at = datetime(2026, 1, 30, 20, tzinfo=UTC)  # the 31st there
    cap(wallet, user, UserFactory(), period="rolling", now=at)
    days = []
    for _ in range(3):
        [status] = ledger.budget_status(wallet, user, now=at)
        assert status.resets_at is not None
        days.append((f"{status.starts_at:%d %b %H:%M}", f"{status.resets_at:%d %b %H:%M}"))
        at = status.resets_at
    assert days == [
        ("31 Jan 00:00", "28 Feb 00:00"), ("28 Feb 00:00", "31 Mar 00:00"), ("31 Mar 00:00", "30 Apr 00:00")
    ]  # fmt: skip
    hold(wallet, user, 90, now=at)
    with pytest.raises(
        BudgetExceeded, match="10 left of your budget of 100 per rolling month; it resets on 31 May"
    ):
        hold(wallet, user, 11, now=at)


def test_a_budget_that_only_warns_refuses_nothing_and_shows_what_went_over(
    wallet: Wallet, admin: Membership, mika: User
) -> None:
    cap(wallet, mika, admin.user, is_hard=False)
    hold(wallet, mika, 130)
    [status] = ledger.budget_status(wallet, mika, now=NOW)
    assert (status.held, status.left) == (130, 0)


@pytest.fixture
def bo(admin: Membership) -> User:
    """A second admin."""
    return MembershipFactory(team=admin.team, role=Role.ADMIN, user=UserFactory(name="Bo")).user


def verbs(wallet: Wallet, me: User) -> dict[str, Any]:
    """Everything that gives something to `me`, done by `me`."""
    said = {"actor": me, "reason": "I like it", "idempotency_key": "mine", "now": NOW}
    done = hold(wallet, me, 10)
    ledger.capture(done, reason="Stored", now=NOW)
    expiring = Grant.objects.filter(wallet=wallet, expires_at__isnull=False).get()
    return {
        "grant": lambda: ledger.grant(wallet, amount=5, source="purchase", **said),
        "add": lambda: ledger.add_credits(wallet, amount=5, source="purchase", days=9, **said),
        "adjust": lambda: ledger.adjust(wallet, amount=5, **said),
        "refund": lambda: ledger.refund(done, amount=5, **said),
        "extend": lambda: ledger.extend_grant(expiring, expires_at=None, **said),
        "raise": lambda: cap(wallet, me, me, limit_credits=400),
        "soften": lambda: cap(wallet, me, me, is_hard=False),
        "reset": lambda: ledger.remove_budget(
            wallet, user=me, period="month", actor=me, reason="Mine", now=NOW
        ),
    }


VERBS = ["grant", "add", "adjust", "refund", "extend", "raise", "soften", "reset"]


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_gives_to_themselves_and_the_refusal_names_who_can(
    wallet: Wallet, admin: Membership, bo: User, verb: str
) -> None:
    fill(wallet, 30, now=NOW, expires_at=NOW + timedelta(days=3))
    is_hard = verb not in ("grant", "add", "adjust", "extend")
    cap(wallet, admin.user, bo, is_hard=is_hard)
    act = verbs(wallet, admin.user)[verb]
    before = Entry.objects.count()
    with pytest.raises(SelfDealing, match="ask Bo, or staff who are not of this team"):
        act()
    assert Entry.objects.count() == before


@pytest.mark.parametrize("verb", VERBS)
def test_the_only_active_admin_may_and_the_book_says_so(
    wallet: Wallet, admin: Membership, bo: User, verb: str
) -> None:
    fill(wallet, 30, now=NOW, expires_at=NOW + timedelta(days=3))
    is_hard = verb not in ("grant", "add", "adjust", "extend")
    cap(wallet, admin.user, bo, is_hard=is_hard)
    act = verbs(wallet, admin.user)[verb]
    User.objects.filter(pk=bo.pk).update(is_active=False)
    act()
    assert "sole admin" in wallet.entries.latest("seq").note


def test_an_admin_under_a_hard_budget_may_fill_the_wallet_for_the_others(
    wallet: Wallet, admin: Membership, bo: User
) -> None:
    cap(wallet, admin.user, bo)
    entry = ledger.grant(
        wallet, amount=5, source="purchase", actor=admin.user, reason="Invoice", idempotency_key="g", now=NOW
    )
    assert "sole admin" not in entry.note


def test_staff_who_are_not_of_the_team_may_do_all_of_it_and_taking_away_is_free(
    wallet: Wallet, admin: Membership, bo: User, mika: User
) -> None:
    staff = UserFactory(is_staff=True)
    said = {"reason": "Invoice", "now": NOW}
    ledger.grant(wallet, amount=5, source="purchase", actor=staff, idempotency_key="g", **said)
    cap(wallet, admin.user, staff)
    ledger.adjust(wallet, amount=-5, actor=mika, idempotency_key="a", **said)
    assert not wallet.entries.filter(note__contains="sole admin").exists()


def join(admin: Membership, **budget: Any) -> Membership:
    email = f"new{User.objects.count()}@example.com"
    _, token = people.invite(admin.team, email=email, role="member", invited_by=admin.user, **budget)
    return people.accept(token, name="New", password="correct horse battery")


def test_who_joins_gets_the_teams_default_unless_the_invitation_has_a_budget(
    wallet: Wallet, admin: Membership
) -> None:
    def budgets(who: Membership) -> list[tuple[int, str, bool]]:
        return [
            (each.limit, each.budget.period, each.budget.is_hard)
            for each in ledger.budget_status(wallet, who.user)
        ]

    assert budgets(join(admin)) == []
    rule = {"limit_credits": 50, "period": "week", "is_hard": False}
    for _ in range(2):
        ledger.set_default_budget(wallet, actor=admin.user, reason="Plan", **rule)
    logged = wallet.entries.filter(kind="rule")
    assert [entry.note for entry in logged] == ["Budget of new members: none → 50 per week, soft"]
    newcomer = join(admin)
    assert budgets(newcomer) == [(50, "week", False)]
    assert wallet.entries.latest("seq").reason == "The team's budget of new members"
    assert budgets(join(admin, budget_credits=9, budget_period="day")) == [(9, "day", True)]
    ledger.set_default_budget(wallet, limit_credits=None, actor=admin.user, reason="Plan")
    assert budgets(join(admin)) == []


def test_who_comes_back_keeps_the_budget_they_left_with(wallet: Wallet, admin: Membership) -> None:
    gone = join(admin, budget_credits=9, budget_period="week")
    people.remove(gone)
    ledger.set_default_budget(wallet, limit_credits=500, period="week", actor=admin.user, reason="Plan")
    _, token = people.invite(admin.team, email=gone.user.email, role="member", invited_by=admin.user)
    people.accept(token, user=gone.user)
    [status] = ledger.budget_status(wallet, gone.user)
    assert status.limit == 9


@pytest.mark.parametrize(
    ("rules", "hidden"),
    [
        ({}, set()),
        ({("", "a"): False}, {"a"}),
        ({("admin", "a"): False}, set()),
        ({("", "a"): False, ("member", "a"): True}, set()),
        ({("", "*"): False, ("", "b"): True}, {"a"}),
        ({("member", "*"): False, ("", "a"): True}, {"b"}),
        ({("", "*"): False, ("member", "*"): True}, set()),
    ],
)
def test_the_rule_nearest_to_role_and_engine_counts(
    wallet: Wallet, admin: Membership, mika: User, rules: dict[tuple[str, str], bool], hidden: set[str]
) -> None:
    for (role, engine), is_allowed in rules.items():
        ledger.set_engine_rule(
            wallet, endpoint_id=engine, role=role, is_allowed=is_allowed, actor=admin.user, reason="Plan"
        )
    membership = Membership.objects.get(user=mika)
    assert EngineRule.objects.hidden_from(membership, ["a", "b"]) == hidden
    assert EngineRule.objects.hidden_from(MembershipFactory(), ["a", "b"]) == set(), "another team"


def test_a_rule_about_an_engine_is_kept_in_the_book_and_can_be_taken_back(
    wallet: Wallet, admin: Membership
) -> None:
    for is_allowed in (False, False, True, None):
        ledger.set_engine_rule(
            wallet, endpoint_id="x", role="member", is_allowed=is_allowed, actor=admin.user, reason="Plan"
        )
    assert [entry.note for entry in wallet.entries.filter(kind="rule").order_by("seq")] == [
        "x for member: nothing said → hidden", "x for member: hidden → allowed",
        "x for member: allowed → nothing said",
    ]  # fmt: skip
    assert not EngineRule.objects.exists()
    assert Team.objects.get(pk=admin.team_id).engine_rules.count() == 0
