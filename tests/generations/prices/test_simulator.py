"""What the last weeks would have cost, and who would have been stopped when, under a draft that is never applied."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from accounts import ledger
from accounts.models import Entry, Membership, Team
from accounts.models.money import Period
from generations.models import Generation, PriceProposal
from generations.prices import Cap, Draft, Outcome, simulate
from generations.states import State
from tests.factories import MembershipFactory, TeamFactory, UserFactory, fill
from tests.generations.spend.conftest import asked, ended, refunded

pytestmark = pytest.mark.django_db
BOATS = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
NOW = datetime.now(UTC)
DOUBLED = {BOATS: {"quantity": {"kind": "one"}, "rate": {"usd": "1.00"}}}


@pytest.fixture
def ana() -> Membership:
    team = TeamFactory()
    fill(team.wallet, 500, now=NOW - timedelta(days=80))
    return MembershipFactory(team=team)


def clips(member: Membership, *days_ago: float, state: State = State.SUCCEEDED) -> list[Generation]:
    """A clip of 50 credits each, done a minute later."""
    made = []
    for days in days_ago:
        at = NOW - timedelta(days=days)
        work = asked(member.team.wallet, member.user, at=at)
        made.append(ended(work, state, at=at + timedelta(minutes=1)))
    return made


def said(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.total.before, outcome.total.after, outcome.total.stopped


def test_without_a_draft_all_is_as_it_was(ana: Membership) -> None:
    clips(ana, 50, 40, 3)
    clips(ana, 2, state=State.FAILED)
    outcome = simulate(Draft())
    assert said(outcome) == (150, 150, 0)
    assert outcome.by_member[ana.team_id, ana.user_id].orders == 4


def test_a_dearer_list_makes_the_sum_dearer_and_what_failed_stays_free(ana: Membership) -> None:
    clips(ana, 50, 40)
    clips(ana, 30, state=State.FAILED)
    assert said(simulate(Draft(DOUBLED))) == (100, 200, 0)
    assert said(simulate(Draft(DOUBLED), days=45)) == (50, 100, 0)


def test_a_wallet_that_runs_dry_under_the_draft_stops_whoever_comes_after(ana: Membership) -> None:
    clips(ana, 60, 50, 40, 30, 20, 10)
    outcome = simulate(Draft(DOUBLED))
    assert said(outcome) == (300, 500, 1)
    [stop] = outcome.stops
    assert (stop.by, stop.left, stop.credits, stop.user_id) == ("wallet", 0, 100, ana.user_id)
    assert stop.at == NOW - timedelta(days=10)
    fill(ana.team.wallet, 100, now=NOW - timedelta(days=15))
    assert said(simulate(Draft(DOUBLED))) == (300, 600, 0)


def test_a_draft_cap_stops_in_its_own_windows_and_names_when_it_resets(ana: Membership) -> None:
    clips(ana, 20, 20 - 0.001, 20 - 0.002, 12)
    outcome = simulate(Draft(caps=[Cap(100, Period.ROLLING)]))
    assert said(outcome) == (200, 100, 2)
    assert outcome.stops[0].by == "budget per rolling month"
    assert outcome.stops[0].resets_at is not None
    assert said(simulate(Draft(caps=[Cap(50, Period.NEVER, ana.user_id)]))) == (200, 50, 3)
    assert said(simulate(Draft(caps=[Cap(50, Period.NEVER, ana.user_id + 1)]))) == (200, 200, 0)


def test_todays_budgets_bind_unless_the_draft_has_one_of_the_period(ana: Membership) -> None:
    clips(ana, 20, 12)
    ledger.set_budget(
        ana.team.wallet, user=ana.user, limit_credits=150, period="never", actor=None, reason="Cap"
    )
    assert said(simulate(Draft())) == (100, 100, 0)
    assert said(simulate(Draft(DOUBLED))) == (100, 100, 1)
    assert said(simulate(Draft(DOUBLED, [Cap(1000, Period.NEVER)]))) == (100, 200, 0)


def test_a_failure_gives_back_to_the_window_it_was_counted_in_before_the_next_order(ana: Membership) -> None:
    clips(ana, 20, state=State.FAILED)
    clips(ana, 20 - 0.01)
    assert said(simulate(Draft(caps=[Cap(50, Period.NEVER)]))) == (50, 50, 0)
    # Two at once: the first is still open when the second is asked for.
    at = NOW - timedelta(days=5)
    first, second = (asked(ana.team.wallet, ana.user, at=at + timedelta(seconds=n)) for n in range(2))
    for work in (first, second):
        ended(work, State.FAILED, at=at + timedelta(minutes=5))
    assert simulate(Draft(caps=[Cap(100, Period.NEVER)])).total.stopped == 1


def test_what_ran_before_the_period_counts_as_it_was_paid(ana: Membership) -> None:
    clips(ana, 70, 35, 10)
    outcome = simulate(Draft(DOUBLED, [Cap(150, Period.NEVER)]), days=30)
    assert said(outcome) == (50, 0, 1)  # 50 and 50 earlier, then 100
    assert said(simulate(Draft(DOUBLED, [Cap(200, Period.NEVER)]), days=30)) == (50, 100, 0)


def test_a_refund_is_the_same_share_of_the_draft_price(ana: Membership) -> None:
    [work] = clips(ana, 10)
    refunded(work, 25, UserFactory(), at=NOW)
    assert said(simulate(Draft(DOUBLED))) == (25, 50, 0)


def test_orders_without_a_draft_price_are_counted_and_taken_as_paid(ana: Membership) -> None:
    clips(ana, 10)
    only_long = {"quantity": {"kind": "seconds", "param": "duration"}, "rate": {"usd": "1"}}
    outcome = simulate(Draft({BOATS: only_long}))
    assert (said(outcome), outcome.unpriced) == ((50, 50, 0), 1)


def test_another_team_is_left_out_where_one_is_named(ana: Membership) -> None:
    other: Team = TeamFactory(credits=100)
    clips(ana, 10)
    assert said(simulate(Draft(DOUBLED), team=other)) == (0, 0, 0)


def test_open_proposals_are_a_draft(ana: Membership) -> None:
    work = clips(ana, 10)[0]
    PriceProposal.objects.create(
        engine=BOATS, source="fal", rule=DOUBLED[BOATS], replaces=work.price_version, why="Up"
    )
    assert said(simulate(Draft(Draft.of_proposals()))) == (50, 100, 0)


def test_the_command_says_before_and_after_by_member_and_who_was_stopped(
    ana: Membership, tmp_path: Path
) -> None:
    clips(ana, 60, 50, 40, 30, 20, 10)
    entries = Entry.objects.count()
    file = tmp_path / "draft.json"
    file.write_text(json.dumps(DOUBLED))
    out = io.StringIO()
    call_command("simulate_prices", "--prices", str(file), "--cap", f"{ana.user.email}=300/never", stdout=out)
    shown = out.getvalue()
    assert "credits: 300 before, 300 after; 3 orders stopped" in shown
    assert f"{ana.user.email}: 300 -> 300 credits, 3 of 6 stopped" in shown
    out = io.StringIO()
    call_command("simulate_prices", "--prices", str(file), "--json", stdout=out)
    assert json.loads(out.getvalue())["stops"][0]["member"] == ana.user.email
    assert Entry.objects.count() == entries
    for wrong in (["--cap", "many"], ["--team", "nobody"], ["--days", "0"], ["--prices", "/nowhere"]):
        with pytest.raises((CommandError, SystemExit)):
            call_command("simulate_prices", *wrong)


@pytest.mark.django_db(transaction=True)
def test_the_database_itself_refuses_a_simulator_that_writes(
    ana: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips(ana, 10)

    def writes(*_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM generations_priceproposal")

    monkeypatch.setattr("generations.prices.simulator._Replay.ask", writes)
    with pytest.raises(DatabaseError, match="read-only"):
        simulate(Draft())
