"""How long it will take is learned from what came, plays the line through, and says nothing where nobody can know."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from accounts.models import Hold, Membership
from generations import estimates, lifecycle
from generations.estimates import history, times
from generations.lifecycle import line
from generations.models import Breaker, DispatchPause, Generation, PriceVersion
from generations.states import State
from generations.views import picker, words
from tests.factories import MembershipFactory, TeamFactory
from tests.generations.views.conftest import TEXT_ENGINE, advanced, engine, form, ordered, signed_in

OTHER = "fal-ai/wan/v2.2-a14b/text-to-video"
STORED_SECONDS = 4.0


@pytest.fixture(autouse=True)
def short_memory() -> Iterator[None]:
    estimates.forget()
    line.forget()
    yield
    estimates.forget()
    line.forget()


@pytest.fixture
def member(db: None, settings: Settings) -> Membership:
    settings.FAL_IS_SANDBOX = False
    settings.FAL_CONCURRENCY, settings.FAL_LEAD = 2, 0
    return MembershipFactory.create(team=TeamFactory(credits=100_000))


def past(
    member: Membership,
    run_seconds: Sequence[float],
    *,
    engine: str = TEXT_ENGINE,
    inputs: dict[str, Any] | None = None,
    start_seconds: float = 1.0,
) -> None:
    """Clips that came, the first the newest, a minute apart."""
    version = PriceVersion.objects.current(TEXT_ENGINE)
    now = timezone.now()
    made = []
    for age, seconds in enumerate(run_seconds, start=1):
        settled = now - timedelta(minutes=age)
        completed = settled - timedelta(seconds=STORED_SECONDS)
        started = completed - timedelta(seconds=seconds)
        hold = Hold(
            wallet=member.team.wallet,
            user=member.user,
            reference=f"test:{uuid.uuid4()}",
            amount=1,
            captured=1,
            state=Hold.State.CAPTURED,
            resolved_at=settled,
        )
        made.append(
            Generation(
                team=member.team,
                user=member.user,
                engine=engine,
                inputs=inputs or {},
                form_token=uuid.uuid4(),
                price_version=version,
                quote_credits=1,
                hold=hold,
                state=State.SUCCEEDED,
                created_at=started - timedelta(seconds=start_seconds),
                submitted_at=started - timedelta(seconds=start_seconds),
                started_at=started,
                completed_at=completed,
                settled_at=settled,
                next_check_at=None,
            )
        )
    Hold.objects.bulk_create([each.hold for each in made])
    Generation.objects.bulk_create(made)
    estimates.forget()


def told(generation: Generation) -> estimates.Estimate:
    found = told_or_none(generation)
    assert found is not None
    return found


def told_or_none(generation: Generation) -> estimates.Estimate | None:
    fresh = Generation.objects.get(pk=generation.pk)
    return estimates.of([fresh]).get(fresh.pk)


def of_new(member: Membership, engine: str = TEXT_ENGINE, **params: Any) -> estimates.Estimate | None:
    return estimates.of_new(user=member.user, team=member.team, engine=engine, params=params)


def running_for(member: Membership, seconds: float) -> Generation:
    row = advanced(ordered(member), "submitted", "running")
    Generation.objects.filter(pk=row.pk).update(started_at=timezone.now() - timedelta(seconds=seconds))
    return row


def test_without_history_it_is_the_catalogue_s_word_and_says_so(member: Membership) -> None:
    low, high = engine(TEXT_ENGINE).timing.typical_seconds or (0, 0)
    found = of_new(member)
    assert found and not found.is_learned
    assert found.run_seconds == pytest.approx((low + high) / 2, rel=0.1)
    assert "not a promise" in words.wait_of_new(found)


def test_the_sandbox_s_clips_teach_nothing_of_fal_and_the_catalogue_nothing_of_the_sandbox(
    member: Membership, settings: Settings
) -> None:
    past(member, [30.0] * 10)
    settings.FAL_IS_SANDBOX = True
    estimates.forget()
    assert of_new(member) is None


def test_it_learns_from_what_came(member: Membership) -> None:
    past(member, [30.0] * 20)
    found = of_new(member)
    assert found and found.is_learned
    assert found.typical_seconds == pytest.approx(1 + 30 + STORED_SECONDS, abs=0.5)
    assert words.wait_of_new(found) == "Usually less than a minute."


def test_what_came_lately_weighs_more(member: Membership) -> None:
    past(member, [60.0] * 60 + [20.0] * 140)
    assert of_new(member) is not None
    assert of_new(member).run_seconds == 60  # type: ignore[union-attr]


def test_longer_and_larger_clips_have_their_own_times_once_there_are_enough(member: Membership) -> None:
    past(member, [100.0] * 8, inputs={"duration": "10"})
    past(member, [40.0] * 30, inputs={"duration": "6"})
    past(member, [70.0] * 2, inputs={"duration": "8"})
    seconds = {it: of_new(member, duration=it).run_seconds for it in ("10", "6", "8")}  # type: ignore[union-attr]
    assert seconds == {"10": 100, "6": 40, "8": 40}, "two clips are too few: the engine's in all"


def test_an_engine_s_times_are_its_own(member: Membership) -> None:
    past(member, [200.0] * 20, engine=OTHER)
    found = of_new(member)
    assert found and not found.is_learned and found.run_seconds < 200


def test_the_line_ahead_is_played_through_the_places(member: Membership) -> None:
    """Two places, runs of 30 s: the fifth of five starts after two rounds."""
    past(member, [30.0] * 20)
    rows = [ordered(member) for _ in range(5)]
    run, rest = 1 + 30.0, 1 + 30 + STORED_SECONDS
    seconds = [told(row).typical_seconds for row in rows]
    assert seconds == pytest.approx([rest, rest, run + rest, run + rest, 2 * run + rest], abs=1)
    newcomer = of_new(member)
    assert newcomer and newcomer.ahead == 5
    assert newcomer.typical_seconds == pytest.approx(2 * run + rest, abs=1)
    assert words.wait_of_new(newcomer) == "About 2 minutes with the 5 ahead of you."


def test_what_is_at_fal_counts_with_what_is_left_of_it(member: Membership) -> None:
    past(member, [100.0] * 20)
    running_for(member, 90)
    advanced(ordered(member), "submitted")
    waiting = ordered(member)
    assert told(waiting).typical_seconds == pytest.approx(10 + 1 + 100 + STORED_SECONDS, abs=2)


def test_another_member_s_turn_comes_before_one_s_own_second(member: Membership) -> None:
    past(member, [30.0] * 20)
    Generation.objects.all().update(is_simulated=False)
    rows = [ordered(member), ordered(member), ordered(member)]
    other = MembershipFactory.create(team=TeamFactory(credits=1000))
    found = of_new(other)
    assert found and found.ahead == 0, "never served, and nobody has a turn before it"
    assert told(rows[2]).typical_seconds == pytest.approx(31 + 35, abs=1)


def test_while_it_runs_the_time_it_has_run_is_known(member: Membership) -> None:
    past(member, [40.0, 60.0, 80.0, 100.0, 120.0] * 8)
    assert told(running_for(member, 0)).typical_seconds == pytest.approx(80 + STORED_SECONDS, abs=2)
    late = told(running_for(member, 90))
    assert 5 <= late.typical_seconds - STORED_SECONDS <= 31
    assert told(running_for(member, 50)).upper_seconds > told(running_for(member, 50)).typical_seconds


def test_past_all_experience_it_is_longer_than_usual(member: Membership) -> None:
    past(member, [40.0] * 20)
    row = running_for(member, 200)
    assert told(row).is_late
    row.estimate = told(row)  # type: ignore[attr-defined]
    assert words.wait(row) == "Longer than usual"


def test_while_it_is_stored_only_the_storing_is_left(member: Membership) -> None:
    past(member, [40.0] * 20)
    row = advanced(ordered(member), "submitted", "running", "storing")
    assert told(row).typical_seconds == pytest.approx(STORED_SECONDS, abs=1)
    assert told_or_none(advanced(row, "succeeded")) is None


def test_what_is_paused_gets_no_time_and_is_in_nobody_s_way(member: Membership) -> None:
    past(member, [30.0] * 20)
    past(member, [500.0] * 20, engine=OTHER)
    stopped = [ordered(member) for _ in range(4)]
    Generation.objects.filter(pk__in=[row.pk for row in stopped]).update(engine=OTHER)
    waiting = ordered(member)
    assert told(waiting).typical_seconds > 500
    now = timezone.now()
    Breaker.objects.create(engine=OTHER, failures=5, opened_at=now, probe_at=now)
    assert told(waiting).typical_seconds < 60
    assert told_or_none(stopped[0]) is None and of_new(member, OTHER) is None
    DispatchPause.objects.create(pk=1, reason="locked", code="locked", probe_at=now)
    assert told_or_none(waiting) is None and of_new(member) is None


def test_what_was_told_is_kept_with_the_order_and_never_changed(member: Membership) -> None:
    past(member, [30.0] * 20)
    asked: dict[str, Any] = {"user": member.user, "team": member.team, "engine": TEXT_ENGINE}
    asked["params"] = {"prompt": "A boat"}
    told_seconds = estimates.expected_seconds(**asked)
    made = lifecycle.request(**asked, form_token=uuid.uuid4(), expected_seconds=told_seconds)
    assert made.expected_at == made.created_at + timedelta(seconds=told_seconds or 0)
    done = advanced(made, "submitted", "running", "storing", "succeeded")
    assert done.expected_at == made.expected_at
    assert estimates.expected_seconds(**{**asked, "params": {"duration": "a week"}}) is None


def test_it_costs_the_same_with_one_and_with_many(member: Membership) -> None:
    counts = []
    for _ in range(2):
        past(member, [30.0] * 10)
        rows = [ordered(member), ordered(member), running_for(member, 1)]
        with CaptureQueriesContext(connection) as asked:
            assert len(estimates.of([Generation.objects.get(pk=row.pk) for row in rows])) == 3
        counts.append(len(asked) - len(rows))
        with CaptureQueriesContext(connection) as again:
            estimates.of(list(Generation.objects.filter(pk__in=[row.pk for row in rows])))
        assert len(again) == len(asked) - len(rows), "what was learned is kept"
    assert counts[0] == counts[1] <= 6


@hypothesis_settings(deadline=None)
@given(st.lists(st.floats(0, 1000), min_size=1, max_size=60), st.floats(0, 1200))
def test_the_rest_is_never_negative_and_never_beyond_the_longest(seconds: list[float], passed: float) -> None:
    sample = times.sample(seconds)
    middle, upper = sample.rest(times.MIDDLE, passed), sample.rest(times.UPPER, passed)
    assert 0 <= middle <= upper <= max(max(seconds) - passed, 0)
    assert sample.mean_rest(passed) <= max(max(seconds) - passed, 0) + 1e-6


def test_quantiles_of_equal_weights_are_the_usual_ones() -> None:
    usual = times.usual(100, 150)
    assert usual.rest(times.MIDDLE) == pytest.approx(125, rel=0.03)
    assert usual.rest(times.UPPER) == pytest.approx(162, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "less than a minute"),
        (59, "less than a minute"),
        (60, "about 1 minute"),
        (100, "about 2 minutes"),
        (500, "about 8 minutes"),
        (599, "about 10 minutes"),
        (760, "about 15 minutes"),
        (5400, "about 90 minutes"),
        (7300, "about 2 hours"),
    ],
)
def test_no_time_is_said_more_exactly_than_it_is_known(seconds: float, said: str) -> None:
    assert words.span(seconds) == said


@pytest.mark.parametrize(
    ("typical", "upper", "said"),
    [
        (40, 50, "Less than a minute"),
        (40, 80, "Usually less than a minute"),
        (40, 120, "Less than a minute, rarely more than 2 minutes"),
        (65, 85, "About 1 minute"),
        (180, 300, "About 3 minutes, rarely more than 5 minutes"),
    ],
)
def test_the_bound_is_said_only_where_it_adds_something(
    member: Membership, typical: float, upper: float, said: str
) -> None:
    row: Any = ordered(member)
    row.estimate = estimates.Estimate(typical, upper, typical, is_learned=True)
    assert words.wait(row) == said


def test_the_picker_says_what_the_button_says(member: Membership) -> None:
    facts = picker.facts(engine(TEXT_ENGINE)).replace("\xa0", " ")
    told = estimates.usual_seconds(TEXT_ENGINE)
    assert told and words.span(told) in facts and words.span(told) in words.wait_of_new(of_new(member))
    past(member, [300.0] * 20)
    estimates.forget()
    facts = picker.facts(engine(TEXT_ENGINE)).replace("\xa0", " ")
    assert "about 5 minutes" in facts
    assert words.wait_of_new(of_new(member)) == "Usually about 5 minutes."


def test_the_pages_say_it_on_the_card_beside_the_button_and_on_the_generation_s_own(
    member: Membership,
) -> None:
    past(member, [90.0] * 20)
    site = signed_in(member.user)
    assert "Usually about 2 minutes." in site.get(f"/?engine={TEXT_ENGINE}").content.decode()
    row = running_for(member, 10)
    page = site.get(f"/?engine={TEXT_ENGINE}").content.decode()
    assert '<p class="small muted wait">About 1 minute' in page
    assert 'data-expected="90"' in page, "the bar goes by what was learned"
    assert "About 1 minute" in site.get(f"/generations/{row.pk}/").content.decode()


def test_an_order_on_the_page_keeps_what_the_page_told(member: Membership) -> None:
    past(member, [90.0] * 20)
    sent = form(member, engine=TEXT_ENGINE, shown_engine=TEXT_ENGINE, image_url=None)
    assert signed_in(member.user).post("/generate/", sent).status_code == 302
    made = Generation.objects.get(state=State.REQUESTED)
    assert made.expected_at is not None
    assert (made.expected_at - made.created_at).total_seconds() == pytest.approx(95, abs=1)


def row(
    created_at: float, submitted_at: float, *, told: float | None = None, took: float = 60.0
) -> history.Row:
    return history.Row("e", None, None, 50.0, 1.0, 4.0, created_at, submitted_at, told, took)


def test_who_comes_later_and_goes_before_is_reckoned_with() -> None:
    """Before each that waited stood one, and one more came and went first: half as many again, the start counted."""
    one_by_one = [row(at, at + 20) for at in range(0, 1000, 10)]
    assert history.of_rows(one_by_one).crowding == 1
    overtaken = [
        each
        for at in range(0, 4000, 100)
        for each in (row(at, at + 30), row(at + 1, at + 60), row(at + 2, at + 40), row(at + 3, at + 41))
    ]
    assert 1.1 < history.of_rows(overtaken).crowding < 2


def test_the_bound_is_by_how_orders_that_were_told_as_much_were_kept() -> None:
    rows = [row(at, at, told=55.0, took=55.0 * (2 if at % 5 == 0 else 1)) for at in range(40)]
    rows += [row(at, at, told=200.0, took=100.0) for at in range(19)]
    known = history.of_rows(rows)
    assert known.kept.keys() == {False}, "of those that had to wait too few came"
    assert known.kept[False].rest(times.UPPER) == 2


def test_a_bound_learned_from_kept_words_is_what_a_new_order_is_told(member: Membership) -> None:
    past(member, [50.0] * 30)
    before = of_new(member)
    Generation.objects.filter(state=State.SUCCEEDED).update(
        expected_at=F("created_at") + (F("settled_at") - F("created_at")) / 2
    )
    estimates.forget()
    after = of_new(member)
    assert before and after and before.typical_seconds == after.typical_seconds
    assert after.upper_seconds == pytest.approx(2 * after.typical_seconds, rel=0.01)
    assert after.upper_seconds > before.upper_seconds
