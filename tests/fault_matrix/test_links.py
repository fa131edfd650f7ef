"""The link to a finished clip leads nowhere, or to something that is no clip of ours."""

from __future__ import annotations

import pytest

from tests.fault_matrix import weather as kinds
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.weather import Weather

pytestmark = MATRIX


@pytest.mark.parametrize("faults", kinds.BAD_LINKS)
def test_a_link_that_stays_bad_is_retried_then_failed_released_and_listed_and_no_part_is_left(
    weather: Weather, faults: str
) -> None:
    """404, a web page, cut off, cut short, not a video, and (2 GB to a limit of 3 MB here) far too large."""
    tale = weather[faults]
    tale.assert_not_charged(kinds.BAD_LINKS[faults])
    tries = 1 if kinds.BAD_LINKS[faults] == "clip_too_large" else 3
    assert tale.attempt.fetch_failures == tries
    assert tale.jobs[0]["counts"]["download"] >= tries
    assert tale.attempt.is_maybe_billed, "fal made something and may bill it; the member is not"
    assert len(tale.posts) == 1, "nothing is made a second time"


@pytest.mark.parametrize("faults", kinds.PASSING_LINKS)
def test_a_link_that_is_slow_or_bad_for_a_while_is_a_clip_in_the_end(weather: Weather, faults: str) -> None:
    tale = weather[faults]
    tale.assert_charged()
    assert len(tale.posts) == 1


def test_no_file_in_the_making_is_left_of_any_of_them(weather: Weather, scratch_left: set[str]) -> None:
    assert scratch_left == set()
