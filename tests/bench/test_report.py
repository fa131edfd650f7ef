"""bench/latest.json: a suite alone leaves the others' figures, a whole run leaves nothing of an earlier one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import report
from bench.report import Measurement

ONE = Measurement(name="one", value=1.0, unit="s", versus="other: 2 s", ratio=0.5, runs=3, conditions="-")


@pytest.fixture(autouse=True)
def latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "LATEST", tmp_path / "latest.json")
    return tmp_path / "latest.json"


def test_a_suite_alone_replaces_its_own_figures_only(latest: Path) -> None:
    report.write([ONE, replace(ONE, name="two")], is_whole_run=True)
    report.write([replace(ONE, value=9.0)], is_whole_run=False)
    assert {each["name"]: each["value"] for each in json.loads(latest.read_text())} == {
        "one": 9.0,
        "two": 1.0,
    }


def test_a_whole_run_leaves_nothing_of_an_earlier_one(latest: Path) -> None:
    report.write([replace(ONE, name="a name of yesterday")], is_whole_run=True)
    report.write([ONE], is_whole_run=True)
    (only,) = json.loads(latest.read_text())
    assert set(only) == {"name", "value", "unit", "versus", "ratio", "runs", "conditions"}


def test_a_ratio_is_the_median_of_the_rounds_and_not_of_the_sides() -> None:
    found = report.compare("x", [1, 4, 9], [2, 2, 3], unit="s", versus="other", conditions="-")
    assert (found.value, found.ratio, found.runs) == (4, 2, 3)
    assert found.versus == "other: 2 s"
