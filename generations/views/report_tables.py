"""A report in the shape of its page: lines with names, columns by member, steps of time that fit on a screen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from generations.spend import Report, Totals

# A legend that can be read, and patterns that can be told apart.
MOST_MEMBERS = 6
OTHERS = -1
# From here on a column of the chart is a week, then a month.
MOST_DAYS, MOST_WEEKS_DAYS = 93, 550


@dataclass(frozen=True)
class Line:
    """One row of a table: a name, its sums, and its share of the credits in per cent."""

    name: str
    key: Any
    totals: Totals
    share: float


@dataclass(frozen=True)
class Step:
    """One step of time: its label and the credits of each member, in the order of the columns."""

    label: str
    starts_on: date
    credits: list[int]

    @property
    def total(self) -> int:
        return sum(self.credits)


@dataclass(frozen=True)
class Timeline:
    unit: str
    members: list[str]
    steps: list[Step]


def lines(cut: Mapping[Any, Totals], name: Callable[[Any], str]) -> list[Line]:
    """The dearest first."""
    whole = sum(max(0, totals.credits) for totals in cut.values())
    found = [
        Line(name(key), key, totals, 100 * max(0, totals.credits) / whole if whole else 0.0)
        for key, totals in cut.items()
    ]
    return sorted(found, key=lambda line: (-line.totals.credits, -line.totals.settled, line.name))


def timeline(report: Report, *, first: date, last: date, today: date, name: Callable[[Any], str]) -> Timeline:
    """Every step between the first and the last day that can hold something, empty ones too."""
    days = [day for day, _ in report.by_day_and_member]
    if not days:
        return Timeline("day", [], [])
    first, last = max(first, _earliest(first, days)), max(min(last, today), *days)
    unit, start_of = _unit((last - first).days + 1)
    members = _columns(report)
    sums: dict[tuple[date, int], int] = defaultdict(int)
    for (day, member), totals in report.by_day_and_member.items():
        sums[start_of(day), member if member in members else OTHERS] += totals.credits
    starts = sorted({start_of(first + timedelta(days=n)) for n in range((last - first).days + 1)})
    steps = [
        Step(_label(start, unit), start, [sums[start, member] for member in members]) for start in starts
    ]
    return Timeline(unit, ["Others" if key == OTHERS else name(key) for key in members], steps)


def _earliest(first: date, days: list[date]) -> date:
    """A report over all time begins where the work does."""
    return min(days) if first.year < min(days).year - 1 else first


def _columns(report: Report) -> list[int]:
    ranked = sorted(report.by_member, key=lambda key: (-report.by_member[key].credits, key))
    if len(ranked) <= MOST_MEMBERS + 1:
        return ranked
    return [*ranked[:MOST_MEMBERS], OTHERS]


def _unit(days: int) -> tuple[str, Callable[[date], date]]:
    if days <= MOST_DAYS:
        return "day", lambda day: day
    if days <= MOST_WEEKS_DAYS:
        return "week", lambda day: day - timedelta(days=day.weekday())
    return "month", lambda day: day.replace(day=1)


def _label(start: date, unit: str) -> str:
    if unit == "month":
        return f"{start:%b %Y}"
    return f"{start.day} {start:%b}" if unit == "day" else f"from {start.day} {start:%b %Y}"
