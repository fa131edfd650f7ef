"""The line as the pages foretell it is the line as dispatch serves it, on PostgreSQL, and cheap however long it is."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import Membership
from generations import lifecycle
from generations.lifecycle import attempts, dispatching, line, moves
from generations.models import Attempt, Generation
from tests.factories import MembershipFactory, TeamFactory, UserFactory
from tests.generations.views.conftest import advanced, ordered

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def short_memory() -> Iterator[None]:
    line.forget()
    yield
    line.forget()


@pytest.fixture
def places(settings: Settings) -> Settings:
    """Two places, and a POST that always arrives: what is sent is the business of other tests."""
    settings.FAL_CONCURRENCY, settings.FAL_LEAD = 2, 0
    return settings


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """What dispatch sent, in order; whoever held a place longest gives it back when the next one needs it."""
    found: list[uuid.UUID] = []

    def send(claim: dispatching.Claim) -> None:
        with transaction.atomic():
            assert moves.submitted(moves.lock(claim.generation_id), now=timezone.now())
        found.append(claim.generation_id)

    monkeypatch.setattr(dispatching, "_send", send)
    return found


def team_of(weight: int, people: int = 1) -> list[Membership]:
    team = TeamFactory(credits=100_000, share_weight=weight)
    return [MembershipFactory.create(team=team) for _ in range(people)]


def serve(sent: list[uuid.UUID]) -> None:
    """One more: fill a place, after the oldest at fal has given up its own."""
    before = len(sent)
    if Generation.objects.at_fal().count() >= line.places():
        advanced(Generation.objects.at_fal().earliest("submitted_at"), "storing")
    lifecycle.dispatch()
    assert len(sent) > before


@pytest.mark.parametrize("seed", [1, 2])
def test_dispatch_serves_in_the_order_the_pages_foretold(
    places: Settings, sent: list[uuid.UUID], seed: int
) -> None:
    dice = random.Random(seed)
    people = [*team_of(1, 2), *team_of(3, 1), *team_of(2, 2)]
    people.append(MembershipFactory.create(user=people[0].user, team=people[2].team))
    for membership in dice.choices(people, k=6):
        advanced(ordered(membership), "submitted", "storing")
    for membership in dice.choices(people, k=16):
        ordered(membership)
    lifecycle.dispatch()
    foretold = [row.pk for row in lifecycle.waiting_line().rows]
    assert len(foretold) == 14
    del sent[:]
    while Generation.objects.filter(state="requested").exists():
        serve(sent)
    assert sent == foretold


def test_a_member_of_a_team_of_weight_two_gets_two_turns_for_one(
    places: Settings, sent: list[uuid.UUID]
) -> None:
    places.FAL_CONCURRENCY = 1
    (heavy,), (light,) = team_of(20), team_of(10)
    for membership in (heavy, light):
        for _ in range(8):
            ordered(membership)
    while len(sent) < 9:
        serve(sent)
    served = Counter(Generation.objects.filter(pk__in=sent).values_list("user", flat=True))
    assert served == {heavy.user_id: 6, light.user_id: 3}


def test_one_person_in_two_teams_has_a_line_in_each(places: Settings) -> None:
    """The weight is the team's, and so is the credit that is spent: two teams, two members."""
    person = UserFactory()
    one, two = (MembershipFactory.create(user=person, team=TeamFactory(credits=1000)) for _ in range(2))
    (other,) = team_of(1)
    rows = [ordered(one), ordered(one), ordered(two), ordered(other)]
    order = [row.pk for row in lifecycle.waiting_line().rows]
    assert order.index(rows[1].pk) == 3, "behind one of everybody's, the person's own other team too"


def test_a_retry_keeps_its_place_and_others_pass_while_it_may_not_go(
    places: Settings, sent: list[uuid.UUID]
) -> None:
    (member,) = team_of(1)
    first, second, third = (ordered(member) for _ in range(3))
    lifecycle.dispatch()
    assert sent == [first.pk, second.pk]
    row = Generation.objects.get(pk=first.pk)
    attempt = Attempt.objects.create(generation=row, number=1, state="accepted", request_id="r")
    assert attempts.put_back(attempt.pk, reason="locked", delay_seconds=30)
    assert [row.pk for row in lifecycle.waiting_line().rows] == [first.pk, third.pk]
    lifecycle.dispatch()
    assert sent[2:] == [third.pk], "not before its time"
    Generation.objects.filter(pk=first.pk).update(next_check_at=timezone.now() - timedelta(seconds=1))
    advanced(Generation.objects.get(pk=second.pk), "storing")
    ordered(member)
    lifecycle.dispatch()
    assert sent[3:] == [first.pk]


def test_what_is_being_sent_this_moment_is_ahead_of_all_and_has_used_a_turn(places: Settings) -> None:
    places.FAL_CONCURRENCY = 10  # room enough: what decides is the turn
    (one,), (two,) = team_of(1), team_of(1)
    rows = [ordered(one), ordered(one), ordered(two)]
    Generation.objects.filter(pk=rows[0].pk).update(lease_until=timezone.now() + timedelta(minutes=1))
    assert [row.pk for row in lifecycle.waiting_line().rows] == [rows[0].pk, rows[2].pk, rows[1].pk]


def test_the_statements_do_not_grow_with_the_line(places: Settings) -> None:
    counts = []
    for _ in range(2):
        for membership in [*team_of(2, 2), *team_of(1, 2)]:
            ordered(membership), ordered(membership)
        with CaptureQueriesContext(connection) as asked:
            lifecycle.waiting_line()
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 5


def test_a_long_line_is_read_once_in_two_seconds_unless_somebody_new_is_asked_for(
    places: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LONG", 2)
    (member,) = team_of(1)
    for _ in range(3):
        ordered(member)
    lifecycle.waiting_line()
    with CaptureQueriesContext(connection) as asked:
        lifecycle.waiting_line()
    assert not asked.captured_queries
    newest = ordered(member)
    assert lifecycle.waiting_position(newest) == 3
