"""A member's own line is theirs to order, against nobody and against no dispatcher."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Membership
from generations import lifecycle
from generations.lifecycle import dispatching, leases, line
from generations.models import Generation
from generations.states import State
from tests.browser.people import eventually
from tests.concurrency.together import together
from tests.factories import MembershipFactory, TeamFactory, UserFactory
from tests.generations.views.conftest import advanced, ordered

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def short_memory() -> Iterator[None]:
    line.forget()
    yield
    line.forget()


@pytest.fixture
def member() -> Membership:
    return MembershipFactory.create(team=TeamFactory(credits=10_000))


@pytest.fixture
def four(member: Membership) -> list[Generation]:
    return [ordered(member, prompt=name) for name in "abcd"]


def own_line(member: Membership) -> str:
    found = lifecycle.waiting_line().rows
    names = dict(Generation.objects.filter(user=member.user).values_list("pk", "prompt"))
    return "".join(names[row.pk] for row in found if row.pk in names)


def move(generation: Generation, how: str) -> bool:
    return lifecycle.reorder(generation, move=how, actor=generation.user)


@pytest.mark.parametrize(
    ("which", "how", "after"),
    [
        (2, "first", "cabd"),
        (2, "sooner", "acbd"),
        (1, "later", "acbd"),
        (1, "last", "acdb"),
        (1, "sooner", "bacd"),
        (2, "later", "abdc"),
        (0, "sooner", "abcd"),
        (3, "last", "abcd"),
    ],
)
def test_each_move(member: Membership, four: list[Generation], which: int, how: str, after: str) -> None:
    assert move(four[which], how) == (after != "abcd")
    assert own_line(member) == after


def test_moves_add_up_and_what_comes_later_stands_behind(member: Membership, four: list[Generation]) -> None:
    for which, how in ((3, "first"), (3, "last"), (0, "last"), (2, "sooner")):
        move(four[which], how)
    assert own_line(member) == "cbda"
    ordered(member, prompt="e")
    assert own_line(member) == "cbdae"


def test_equal_times_are_told_apart(member: Membership, four: list[Generation]) -> None:
    Generation.objects.filter(user=member.user).update(queued_at=timezone.now())
    before = own_line(member)
    third = Generation.objects.get(prompt=before[2])
    assert move(third, "sooner")
    assert own_line(member) == before[0] + before[2] + before[1] + before[3]


def test_dispatch_takes_the_new_first(
    member: Membership, four: list[Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dispatching.Claim] = []
    monkeypatch.setattr(dispatching, "_send", sent.append)
    move(four[3], "first")
    lifecycle.dispatch()
    assert sent[0].generation_id == four[3].pk


def test_only_whoever_asked_for_it_and_no_admin_either(member: Membership, four: list[Generation]) -> None:
    admin = MembershipFactory.create(team=member.team, role="admin")
    with pytest.raises(lifecycle.NotYours):
        lifecycle.reorder(four[3], move="first", actor=admin.user)
    assert own_line(member) == "abcd"


@pytest.mark.parametrize("how", ["leased", "submitted", "canceled"])
def test_what_has_left_the_line_is_refused_in_a_sentence(
    member: Membership, four: list[Generation], how: str
) -> None:
    if how == "leased":
        assert leases.take(four[3].pk, owner="dispatch@here", states={State.REQUESTED})
    else:
        advanced(four[3], how)
    with pytest.raises(lifecycle.NotWaiting, match=r"left the line"):
        move(four[3], "first")
    with pytest.raises(ValueError, match="middle"):
        move(four[0], "middle")


def test_lines_of_two_teams_are_two(member: Membership, four: list[Generation]) -> None:
    elsewhere = MembershipFactory.create(user=member.user, team=TeamFactory(credits=1000))
    only = ordered(elsewhere, prompt="x")
    Generation.objects.filter(pk=only.pk).update(queued_at=only.queued_at - timedelta(hours=1))
    assert not move(only, "last"), "it is alone in that line"
    assert not move(four[0], "first")


@pytest.mark.concurrency
def test_many_moves_at_once_with_a_dispatcher_lose_nothing(
    member: Membership, four: list[Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever order they come in: each is sent once, refusals are the sentence and never a deadlock."""
    sent: list[str] = []
    monkeypatch.setattr(
        dispatching,
        "_send",
        lambda claim: sent.append(
            advanced(Generation.objects.get(pk=claim.generation_id), "submitted").prompt
        ),
    )
    moves = [lambda it=it, how=how: move(it, how) for it in four for how in ("first", "later", "last")]
    ends = together([*moves[:6], lifecycle.dispatch, *moves[6:]])
    refusals = [end for end in ends if isinstance(end, Exception)]
    assert all(isinstance(end, lifecycle.NotWaiting) for end in refusals), refusals
    while Generation.objects.filter(state=State.REQUESTED).exists():
        advanced(Generation.objects.at_fal().earliest("submitted_at"), "storing")
        lifecycle.dispatch()
    assert sorted(sent) == ["a", "b", "c", "d"]


@pytest.mark.concurrency
def test_a_dispatcher_that_has_begun_to_take_it_wins(four: list[Generation]) -> None:
    """The move waits for the dispatcher's commit, and then sees that the row has left the line."""
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert leases.take(four[3].pk, owner="dispatch@here", states={State.REQUESTED})
            ending = pool.submit(together, [lambda: move(four[3], "first")])
            eventually(somebody_waits_for_a_lock, what="the move waiting for the dispatcher")
        (end,) = ending.result(timeout=60)
    assert isinstance(end, lifecycle.NotWaiting), end
    assert Generation.objects.get(pk=four[3].pk).queued_at == four[3].queued_at


def somebody_waits_for_a_lock() -> bool:
    """By `pg_locks`: what pg_stat_activity shows stands still within a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_strangers_have_no_say(four: list[Generation]) -> None:
    with pytest.raises(lifecycle.NotYours):
        lifecycle.reorder(four[0], move="last", actor=UserFactory())
