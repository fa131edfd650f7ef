"""What follows from a window's figures: percentiles, and what one core, one GiB and one generation come to."""

from __future__ import annotations

import pytest

from bench.figures import MEAN_SECONDS_AT_FAL, Figures, at_share
from tests.bench.rows import row


def test_the_median_and_the_tail_are_values_that_were_measured() -> None:
    values = [0.4, 0.1, 0.3, 0.2]
    assert at_share(values, 0.5) == 0.3
    assert at_share(values, 0.99) == 0.4
    assert at_share(range(1, 101), 0.95) == 96
    assert at_share([], 0.5) is None


def test_what_is_in_flight_is_told_per_core_and_per_gib() -> None:
    figures = row(in_flight=1_000, cores=0.25, mib=512.0)
    assert figures.per_core == 4_000
    assert figures.per_gib == 2_000


def test_questions_and_cpu_per_generation_follow_from_how_many_end_every_second() -> None:
    figures = row(in_flight=330, requests_per_second=20.0, cores=0.5)
    ended_per_second = 330 / MEAN_SECONDS_AT_FAL
    assert figures.requests_per_generation == pytest.approx(20.0 / ended_per_second)
    assert figures.cpu_seconds_per_generation == pytest.approx(0.5 / ended_per_second)


def test_with_nothing_in_flight_nothing_is_told_per_generation() -> None:
    figures = row(in_flight=0, cores=0.0)
    assert figures.per_core is None
    assert figures.requests_per_generation is None


def test_a_row_of_an_earlier_run_is_still_read() -> None:
    earlier = {
        "design": "watcher",
        "in_flight": 10,
        "cores": 0.1,
        "mib": 80.0,
        "requests_per_second": 1.0,
        "fullest_second": 2,
        "streams": 10,
        "noticed": 0,
        "delay_p50_seconds": None,
        "delay_p99_seconds": None,
    }
    figures = Figures.of(earlier)
    assert (figures.wanted, figures.server_cores) == (10, None)
