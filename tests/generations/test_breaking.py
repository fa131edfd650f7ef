"""What counts against an engine, what an open breaker holds back and what it lets go; races on a real PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from pytest_django.fixtures import Settings

from accounts import clock
from accounts.models import Hold, Membership, User
from generations import fal, lifecycle, queue
from generations.lifecycle import attempts, breaking, dispatching, line, lost, moves
from generations.models import Attempt, Breaker, Generation
from generations.states import AttemptState, State
from tests.bad_days.story import assert_books_are_whole
from tests.concurrency.together import together
from tests.factories import MembershipFactory, TeamFactory
from tests.generations.views.conftest import TEXT_ENGINE, ordered

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
FAL_500 = fal.AttemptFailed(
    "fal answered 500 internal_server_error",
    http_status=500,
    error_type="internal_server_error",
    phase=fal.Phase.RUN,
)
BUSY = fal.TryLater("fal answered 429", http_status=429)
POLICY = fal.AttemptFailed(
    "fal answered 422",
    http_status=422,
    detail=[{"type": "content_policy_violation"}],
    phase=fal.Phase.RESULT,
)


@pytest.fixture
def member(db: None) -> Membership:
    return MembershipFactory.create(team=TeamFactory(credits=5000))


@pytest.fixture
def colleague(member: Membership) -> Membership:
    return MembershipFactory.create(team=member.team)


def sent(member: Membership, generation: Generation | None = None) -> Attempt:
    """An attempt that fal has accepted."""
    row = moves.lock((generation or ordered(member)).pk)
    assert moves.submitted(row, now=clock.now())
    number = row.attempts.count() + 1
    return Attempt.objects.create(
        generation=row, number=number, state=AttemptState.ACCEPTED, request_id=f"{row.pk}-{number}"
    )


def fail(attempt: Attempt, error: fal.FalError = FAL_500) -> Generation:
    assert attempts.ended(attempt.pk, error)
    return Generation.objects.get(pk=attempt.generation_id)


def opened(engine: str = TEXT_ENGINE, *, probe_in: timedelta = MINUTE, failures: int = 5) -> Breaker:
    now = clock.now()
    return Breaker.objects.create(
        engine=engine,
        failures=failures,
        failing_since_at=now,
        opened_at=now,
        code="failing",
        reason="HTTP 500",
        probe_at=now + probe_in,
    )


def breaker() -> Breaker:
    return Breaker.objects.get(engine=TEXT_ENGINE)


def claimed() -> Generation | None:
    claim = dispatching._claim_next()
    return claim and Generation.objects.get(pk=claim.generation_id)


def test_five_failures_in_a_row_open_it_and_say_so_once(
    member: Membership, caplog: pytest.LogCaptureFixture
) -> None:
    flying = [sent(member) for _ in range(7)]
    for attempt in flying[:4]:
        fail(attempt)
    assert not breaker().is_open
    for attempt in flying[4:]:
        fail(attempt)
    found = breaker()
    assert (found.is_open, found.failures, found.code) == (True, 7, "failing")
    assert found.reason == "HTTP 500 internal_server_error"
    assert found.probe_at is not None
    assert found.opened_at is not None
    assert found.probe_at - found.opened_at == timedelta(seconds=30)
    assert [it.levelname for it in caplog.records if "BREAKER OPEN" in it.message] == ["ERROR"]


def test_one_generation_alone_never_opens_it(member: Membership, settings: Settings) -> None:
    settings.FAL_MAX_ATTEMPTS = 10
    made = ordered(member)
    for _ in range(10):
        made = fail(sent(member, made))
    assert (breaker().is_open, breaker().failures) == (False, 10)
    assert made.state == State.FAILED, "and its attempts are counted as ever"


def test_one_members_bad_prompts_do_not_close_the_engine_to_a_colleague(
    member: Membership, colleague: Membership
) -> None:
    other = sent(colleague)
    for _ in range(8):
        fail(sent(member))
    assert not breaker().is_open
    fail(other)
    assert breaker().is_open, "the colleague's fails as well"


def test_failures_older_than_the_window_are_forgotten(member: Membership, settings: Settings) -> None:
    for _ in range(4):
        fail(sent(member))
    settings.BREAKER_WINDOW_SECONDS = 0
    fail(sent(member))
    assert (breaker().is_open, breaker().failures) == (False, 1)


def test_a_result_ends_the_row_of_failures(member: Membership) -> None:
    good = sent(member)
    for _ in range(4):
        fail(sent(member))
    breaking.worked(good)
    fail(sent(member))
    assert (breaker().is_open, breaker().failures) == (False, 1)


@pytest.mark.parametrize("error", [BUSY, POLICY, fal.Refused("fal answered 422", http_status=422)])
def test_what_fal_refuses_or_puts_off_is_no_evidence(member: Membership, error: fal.FalError) -> None:
    fail(sent(member), error)
    assert not Breaker.objects.exists()


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (attempts.TIMED_OUT, True),
        (attempts.STOPPED, False),
        (lost.NEVER_ARRIVED, False),
        (lost.UNRESOLVED, False),
        (dispatching.PICTURE_UNREADABLE, False),
        (fal.NotSent("no route").outcome, False),
    ],
)
def test_our_own_judgements_count_where_they_are_about_fals_time(
    member: Membership, outcome: fal.Outcome, expected: bool
) -> None:
    attempts.given_up(sent(member).pk, outcome)
    assert Breaker.objects.filter(failures=1).exists() is expected


def test_a_request_that_is_stopped_because_it_took_too_long_counts(member: Membership) -> None:
    attempt = sent(member)
    Attempt.objects.filter(pk=attempt.pk).update(timed_out_at=clock.now())
    attempts.given_up(attempt.pk, attempts.STOPPED)
    assert breaker().failures == 1
    assert Generation.objects.get(pk=attempt.generation_id).failure_code == "timed_out"


def test_what_the_member_has_stopped_does_not_count(member: Membership) -> None:
    attempt = sent(member)
    lifecycle.cancel(attempt.generation, actor=member.user)
    assert fail(attempt).state == State.CANCELED
    assert not Breaker.objects.exists()


def test_a_failure_while_it_is_open_uses_up_no_attempt(member: Membership) -> None:
    opened()
    made = ordered(member)
    for _ in range(5):
        made = fail(sent(member, made))
        assert made.state == State.REQUESTED
    assert not made.attempts.filter(is_counted=True).exists()


def test_an_open_engine_waits_and_the_others_go_on_in_turn(member: Membership, colleague: Membership) -> None:
    opened()
    waiting = ordered(member)
    elsewhere = sent(colleague)
    Generation.objects.filter(pk=elsewhere.generation_id).update(engine="fal-ai/other")
    fail(elsewhere, BUSY)
    Generation.objects.filter(pk=elsewhere.generation_id).update(next_check_at=clock.now())
    assert lifecycle.waiting_position(Generation.objects.get(pk=elsewhere.generation_id)) == 0
    assert lifecycle.waiting_positions().get(waiting.pk) is None, "nobody can say"
    chosen = claimed()
    assert chosen is not None
    assert chosen.pk == elsewhere.generation_id
    assert claimed() is None
    assert line.holding_places(clock.now()).count() == 1, "what is held back takes no place"


def test_what_is_held_back_rings_no_bell(member: Membership) -> None:
    opened()
    ordered(member)
    assert lifecycle.ring_waiting() == 0
    Breaker.objects.update(probe_at=clock.now())
    assert lifecycle.ring_waiting() == 1


def test_one_probe_goes_at_its_time_and_the_next_waits_twice_as_long(member: Membership) -> None:
    opened()
    ordered(member), ordered(member)
    assert claimed() is None
    waits = []
    for _ in range(7):
        now = clock.now()
        Breaker.objects.update(probe_at=now)
        Generation.objects.update(lease_until=None)
        assert claimed() is not None
        assert claimed() is None, "one at a time"
        at = breaker().probe_at
        assert at is not None
        waits.append(round((at - now).total_seconds()))
    assert waits == [60, 120, 240, 480, 600, 600, 600]
    assert breaker().probes == 7


def test_without_anything_waiting_the_next_order_is_the_probe(member: Membership) -> None:
    opened(probe_in=-MINUTE)
    assert claimed() is None
    assert breaker().probes == 0, "nothing was sent, so nothing was used up"
    made = ordered(member)
    assert claimed() == made
    assert breaker().probes == 1


def test_probes_are_taken_from_one_member_and_generation_after_the_other(
    member: Membership, colleague: Membership
) -> None:
    poison, second = ordered(member), ordered(member)
    others = ordered(colleague)
    opened()
    tested = []
    for _ in range(4):
        Breaker.objects.update(probe_at=clock.now())
        Generation.objects.update(next_check_at=clock.now())
        chosen = claimed()
        assert chosen is not None
        tested.append(chosen.pk)
        Generation.objects.update(lease_until=None)
        fail(sent(member, chosen))
    assert tested[:3] == [poison.pk, others.pk, second.pk]


def test_a_probes_result_closes_it_and_an_older_one_only_hastens_the_probe(
    member: Membership, caplog: pytest.LogCaptureFixture
) -> None:
    older = sent(member)
    opened()
    breaking.worked(older)
    assert breaker().is_open
    assert breaker().is_probe_due(clock.now())
    caplog.set_level("INFO")
    breaking.worked(sent(member))
    found = breaker()
    assert (found.is_open, found.failures, found.evidence, found.probe_at) == (False, 0, [], None)
    assert [it.levelname for it in caplog.records if "breaker closed" in it.message] == ["INFO"]


def test_what_is_held_back_can_be_cancelled_at_once(member: Membership) -> None:
    opened()
    made = ordered(member)
    assert lifecycle.cancel(made, actor=member.user)
    made.refresh_from_db()
    assert (made.state, made.hold.state) == (State.CANCELED, Hold.State.RELEASED)
    assert_books_are_whole()


def test_patience_ends_with_the_credits_back(member: Membership, settings: Settings) -> None:
    settings.PATIENCE_SECONDS = 3600
    opened()
    old, young, leased, elsewhere = (ordered(member) for _ in range(4))
    now = clock.now()
    Generation.objects.exclude(pk=young.pk).update(created_at=now - timedelta(hours=2))
    Generation.objects.filter(pk=leased.pk).update(lease_until=now + MINUTE / 6)
    Generation.objects.filter(pk=elsewhere.pk).update(engine="fal-ai/other")
    assert breaking.run_out_of_patience() == 1
    ended = Generation.objects.select_related("hold").get(settled_at__isnull=False)
    assert (ended.pk, ended.state, ended.failure_code) == (old.pk, State.FAILED, "engine_unavailable")
    assert ended.hold.state == Hold.State.RELEASED
    assert "did not work at fal for too long" in ended.failure_message
    assert breaking.run_out_of_patience() == 0
    assert_books_are_whole()


def test_a_probe_that_is_pressed_for_goes_at_once(member: Membership) -> None:
    actor = User.objects.create_superuser("root@example.com", "correct horse battery")
    opened()
    made = ordered(member)
    assert lifecycle.probe_engine_now("fal-ai/other", actor=actor) is lifecycle.Probing.NOT_BROKEN
    assert lifecycle.probe_engine_now(TEXT_ENGINE, actor=actor) is lifecycle.Probing.DUE
    assert claimed() == made


@pytest.mark.django_db(transaction=True)
def test_open_pages_are_told_of_what_waits_when_it_opens_and_closes(
    member: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, str]] = []
    monkeypatch.setattr(queue, "_publish_all", told.extend)
    monkeypatch.setattr(breaking, "MOST_TOLD", 2)
    with_probe = [ordered(member) for _ in range(3)]
    told.clear()

    with transaction.atomic():
        breaking.refused(with_probe[0], FAL_500, now=clock.now())
    expected = [(member.team_id, str(each.pk)) for each in with_probe[:2]]
    assert told == expected
    breaking.forgive(Breaker.Code.NO_ACCESS)
    assert told == expected * 2


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_eight_failures_at_the_same_moment_are_all_counted_and_open_it_once(
    member: Membership, colleague: Membership, caplog: pytest.LogCaptureFixture
) -> None:

    with transaction.atomic():
        flying = [sent(who) for who in (member, colleague) for _ in range(4)]
    ends = together([lambda it=attempt: attempts.ended(it.pk, FAL_500) for attempt in flying])
    assert ends == [True] * 8
    assert (breaker().failures, breaker().is_open) == (8, True)
    assert sum("BREAKER OPEN" in it.message for it in caplog.records) == 1
    # The four before it opened were counted, as failures of one generation are; the others were not.
    assert Attempt.objects.filter(is_counted=True).count() == 4
    assert set(Generation.objects.values_list("state", flat=True)) == {State.REQUESTED}
    assert_books_are_whole()


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_eight_dispatchers_send_one_probe(member: Membership) -> None:
    opened(probe_in=-MINUTE)
    for _ in range(8):
        ordered(member)
    chosen = together([claimed] * 8)
    assert sum(isinstance(it, Generation) for it in chosen) == 1, chosen
    assert breaker().probes == 1
