"""The tables and plots of docs/capacity.md are written from the figures alone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import capacity
from bench.plots import plot
from tests.bench.rows import row

ROWS = [
    row(in_flight=0, delay_p50_seconds=None, delay_p99_seconds=None),
    row(in_flight=10, cores=0.01),
    row(in_flight=10_000, cores=1.0),
    row(design="Celery gevent 100", wanted=1_000, in_flight=100, cores=0.9),
    row(design="Celery gevent 1,000", wanted=10_000, in_flight=450, cores=1.0, delay_p50_seconds=15.0),
]


def test_every_row_says_what_it_was_given_and_what_it_held() -> None:
    lines = [line for line in capacity.tables(ROWS).splitlines() if line.startswith("| Celery gevent 1,000")]
    assert "| 10,000 | 450 | 1 |" in lines[0]
    assert "| 15 / 0.5 s |" in lines[1]


def test_every_line_of_a_table_has_as_many_cells_as_its_head() -> None:
    for table in capacity.tables(ROWS).split("\n\n"):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_what_was_not_measured_is_a_dash_and_not_a_nought() -> None:
    nothing = capacity.tables(ROWS[:1]).splitlines()
    assert nothing[2].count("| - ") == 3
    assert nothing[-1].endswith("| - |")


def test_the_other_suites_are_listed_with_what_they_are_held_against() -> None:
    one = {"value": 2.5, "unit": "s", "versus": "other: 5 s", "ratio": 0.5, "runs": 3, "conditions": "-"}
    listed = capacity.others([{"name": "watcher, CPU", **one}, {"name": "time to the screen", **one}])
    assert listed.splitlines()[2:] == ["| time to the screen | 2.5 s | other: 5 s | 0.5 | 3 |"]


def test_the_pools_of_one_kind_are_one_line_of_a_plot() -> None:
    drawing = capacity.drawings(ROWS)["capacity.svg"]
    names = re.findall(r">([A-Z][a-z]+ gevent[^<]*)<", drawing)
    assert names == ["Celery gevent"]


def test_a_plot_is_well_formed_and_keeps_every_point_and_name_inside() -> None:
    drawing = plot("a < b", {"one": [(10, 0.0), (10_000, 250.0)], "two": [(450, 250.0)]})
    root = ET.fromstring(drawing)  # noqa: S314 - we wrote it
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    circles = [
        (float(c.attrib["cx"]), float(c.attrib["cy"])) for c in root.iter() if c.tag.endswith("circle")
    ]
    assert len(circles) == 3
    assert all(0 <= x <= width and 0 <= y <= height for x, y in circles)
    heights = [
        float(t.attrib["y"]) for t in root.iter() if t.tag.endswith("text") and t.text in {"one", "two"}
    ]
    assert abs(heights[0] - heights[1]) >= 12


def test_more_is_higher_and_further_right() -> None:
    root = ET.fromstring(plot("cores", {"one": [(10, 0.01), (1_000, 1.0)]}))  # noqa: S314 - we wrote it
    (x1, y1), (x2, y2) = (
        (float(c.attrib["cx"]), float(c.attrib["cy"])) for c in root.iter() if c.tag.endswith("circle")
    )
    assert x2 > x1
    assert y2 < y1


def test_what_stands_around_the_tables_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "capacity.md"
    page.write_text(f"before\n{capacity.BEGIN}old\n{capacity.END}\nafter\n")
    monkeypatch.setattr(capacity, "DOCS", tmp_path)
    capacity.main()
    text = page.read_text()
    assert text.startswith(f"before\n{capacity.BEGIN}| design |")
    assert text.endswith(f"{capacity.END}\nafter\n")
    assert "old" not in text
    assert {path.name for path in tmp_path.glob("*.svg")} >= {"capacity.svg", "capacity-delay.svg"}
