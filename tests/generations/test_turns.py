"""Whose turn it is: shares are exact over a round, nobody waits longer than one, what is foretold comes."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from generations.lifecycle import turns
from generations.lifecycle.turns import Member, Standing

NOW = 1_000_000.0
weights = st.lists(st.integers(1, 12), min_size=2, max_size=7)
used = st.lists(st.floats(0, NOW), max_size=15).map(tuple)


def members(count: int) -> list[Member]:
    return [(number, number % 3) for number in range(count)]


@settings(max_examples=60, deadline=None)
@given(weights, st.integers(1, 10), st.data())
def test_over_many_rounds_each_gets_as_many_turns_as_its_weight_says(
    given_weights: list[int], places: int, data: st.DataObject
) -> None:
    standings = {
        member: Standing(weight, data.draw(used))
        for member, weight in zip(members(len(given_weights)), given_weights, strict=True)
    }
    round_length, rounds = sum(given_weights), 40
    line = turns.order(
        dict.fromkeys(standings, rounds * round_length), standings, held=[], places=places, now=NOW
    )
    served = list(islice(line, rounds * round_length))
    counted = Counter(served)
    for member, standing in standings.items():
        assert abs(counted[member] - rounds * standing.weight) <= max(places, 0.03 * counted[member])
        waits = [place for place, each in enumerate(served) if each == member]
        gaps = [after - before for before, after in zip([-1, *waits], [*waits, len(served)], strict=True)]
        assert max(gaps) <= round_length + places, "nobody waits for longer than a round"


def test_three_against_two_is_not_turn_and_turn_about() -> None:
    """What ageing alone (waiting time x weight) would make of it."""
    strong, weak = members(2)
    standings = {strong: Standing(3), weak: Standing(2)}
    line = turns.order({strong: 300, weak: 300}, standings, held=[], places=1, now=NOW)
    assert Counter(islice(line, 300)) == {strong: 180, weak: 120}


def test_whoever_was_never_served_goes_first_and_equals_go_by_id() -> None:
    first, second, third = members(3)
    standings = {first: Standing(1, (NOW - 1,)), second: Standing(), third: Standing()}
    line = turns.order(dict.fromkeys(standings, 1), standings, held=[], places=5, now=NOW)
    assert list(line) == [second, third, first]


def test_the_turns_of_somebody_new_are_spread_over_the_round() -> None:
    heavy, light, other = members(3)
    standings = {heavy: Standing(4), light: Standing(1), other: Standing(1)}
    line = turns.order({heavy: 4, light: 1, other: 1}, standings, held=[], places=1, now=NOW)
    assert list(line) == [heavy, heavy, light, other, heavy, heavy]


def test_slow_clips_do_not_come_to_hold_every_place() -> None:
    """The quick one's place came free: by turns alone the slow one would take it as well, and then hold both."""
    slow, quick = members(2)
    standings = {slow: Standing(1, (NOW - 9,)), quick: Standing(1, (NOW - 5,))}
    for held, served in (([slow], quick), ([], slow)):
        line = turns.order({slow: 5, quick: 5}, standings, held=held, places=2, now=NOW)
        assert next(line) == served


def test_a_place_nobody_else_wants_is_taken_whatever_one_holds_already() -> None:
    only, gone = members(2)
    standings = {only: Standing(), gone: Standing()}
    line = turns.order({only: 3}, standings, held=[only, only, gone], places=4, now=NOW)
    assert list(line) == [only] * 3


@settings(max_examples=100, deadline=None)
@given(weights, st.integers(1, 6), st.data())
def test_what_is_foretold_is_what_one_decision_after_the_other_comes_to(
    given_weights: list[int], places: int, data: st.DataObject
) -> None:
    """As dispatch does it: each time with the turns and places as they are by then."""
    everybody = members(len(given_weights))
    waiting = {member: data.draw(st.integers(0, 6)) for member in everybody}
    standings = {
        member: Standing(weight, data.draw(used))
        for member, weight in zip(everybody, given_weights, strict=True)
    }
    held = data.draw(st.lists(st.sampled_from(everybody), max_size=places))
    foretold = list(turns.order(waiting, standings, held=held, places=places, now=NOW))
    served: list[Member] = []
    while any(waiting.values()):
        if len(held) >= places:
            held = held[1:]
        now = NOW + 1 + len(served)
        chosen = next(turns.order(waiting, standings, held=held, places=places, now=now))
        served.append(chosen)
        waiting[chosen] -= 1
        held = [*held, chosen]
        old = standings[chosen]
        standings[chosen] = Standing(old.weight, (*old.served, now))
    assert served == foretold
