"""When failures close an engine: never by one generation, nor by one member while others have it work for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from generations.lifecycle.evidence import (
    LONGEST_WAIT,
    MOST_REMEMBERED,
    Failure,
    is_everybodys,
    probe_wait,
    remembered,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(seconds=600)
LEAST = 5


def failures(*who: tuple[str, int]) -> list[Failure]:
    return [Failure(generation, user, START) for generation, user in who]


@pytest.mark.parametrize(
    ("found", "has_others", "expected"),
    [
        ([("a", 1)] * 50, False, False),
        ([("a", 1), ("b", 1)] * 2, False, False),
        ([("a", 1), ("b", 1)] * 3, False, True),
        ([("a", 1), ("b", 1)] * 3, True, False),
        ([("a", 1)] * 4 + [("b", 2)], True, True),
    ],
)
def test_who_failed_decides(found: list[tuple[str, int]], has_others: bool, expected: bool) -> None:
    assert is_everybodys(failures(*found), least=LEAST, has_others=has_others) is expected


def test_what_is_written_is_read_back() -> None:
    failure = Failure("a", 1, START)
    assert Failure.read(failure.written) == failure


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**6))
def test_the_wait_between_probes_doubles_and_has_an_end(probes: int) -> None:
    first = timedelta(seconds=30)
    wait, after = (probe_wait(count, first=first) for count in (probes, probes + 1))
    assert first <= wait <= first * LONGEST_WAIT == timedelta(minutes=10)
    assert after == min(2 * wait, first * LONGEST_WAIT)


class Engine(RuleBasedStateMachine):
    """Any order of failures, successes and pauses, against a plain list of what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.kept: list[Failure] = []
        self.all: list[Failure] = []

    @rule(generation=st.sampled_from("abc"), user=st.integers(1, 2))
    def fail(self, generation: str, user: int) -> None:
        latest = Failure(f"{generation}{user}", user, self.now)
        self.kept = remembered(self.kept, latest, window=WINDOW)
        self.all.append(latest)

    @rule()
    def succeed(self) -> None:
        self.kept, self.all = [], []

    @rule(seconds=st.integers(1, 700))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def the_latest_of_the_window_are_kept(self) -> None:
        if self.all:
            since = self.all[-1].at - WINDOW
            assert self.kept == [each for each in self.all if each.at > since][-MOST_REMEMBERED:]

    @invariant()
    def one_generation_never_closes_it(self) -> None:
        opens = is_everybodys(self.kept, least=LEAST, has_others=False)
        assert opens == (len(self.kept) >= LEAST and len({each.generation for each in self.kept}) > 1)
        if len({each.user for each in self.kept}) < 2:
            assert not is_everybodys(self.kept, least=LEAST, has_others=True)


TestEngine = Engine.TestCase
TestEngine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
