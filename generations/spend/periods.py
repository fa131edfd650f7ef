"""The days a report is about, by the team's own calendar. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

PERIODS = {
    "today": "Today",
    "7": "7 days",
    "30": "30 days",
    "90": "90 days",
    "month": "This month",
    "last-month": "Last month",
    "all": "All time",
    "custom": "From … to",
}
DEFAULT = "30"
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2999, 12, 31)


@dataclass(frozen=True, kw_only=True)
class Period:
    """Whole days, both included. `error` says what was wrong with a custom one; the default stands in for it."""

    name: str
    first: date
    last: date
    error: str = ""

    @property
    def label(self) -> str:
        return PERIODS[self.name]

    def bounds(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """The moments in UTC, the end not included."""
        after = self.last + timedelta(days=1)
        return _midnight(self.first, zone), _midnight(after, zone)


def chosen(name: str, *, today: date, first: str = "", last: str = "") -> Period:
    """By name; `first` and `last` are ISO dates of a custom one. What cannot be read is the default, with a word."""
    if name == "custom":
        return _custom(first, last, today=today)
    if name not in PERIODS:
        name = DEFAULT
    start, end = _days(name, today)
    return Period(name=name, first=start, last=end)


def _days(name: str, today: date) -> tuple[date, date]:
    first_of_month = today.replace(day=1)
    if name == "today":
        return today, today
    if name == "month":
        return first_of_month, today
    if name == "last-month":
        last = first_of_month - timedelta(days=1)
        return last.replace(day=1), last
    if name == "all":
        return FIRST_DAY, LAST_DAY
    return today - timedelta(days=int(name) - 1), today


def _custom(first: str, last: str, *, today: date) -> Period:
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        return _instead(today, "Give both days, from and to.")
    if start > end:
        return _instead(today, "The first day lies behind the last.")
    return Period(name="custom", first=max(start, FIRST_DAY), last=min(end, LAST_DAY))


def _instead(today: date, error: str) -> Period:
    start, end = _days(DEFAULT, today)
    return Period(name="custom", first=start, last=end, error=f"{error} These are the last {DEFAULT} days.")


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
