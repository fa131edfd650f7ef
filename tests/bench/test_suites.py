"""Every suite that `make bench` names is there, and a name that is none is refused before anything is measured."""

from __future__ import annotations

import pytest
from celery import current_app

from bench.suites import SUITES, suite


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_can_be_measured(name: str) -> None:
    assert callable(suite(name))


def test_measuring_the_naive_design_leaves_our_own_bells_alone() -> None:
    suite("lives")
    assert current_app.main == "clipledger"


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(SystemExit, match="no suite 'ledgers'"):
        suite("ledgers")
