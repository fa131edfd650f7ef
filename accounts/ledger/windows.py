"""When a budget's period begins and ends: the calendar of the team's own time zone. Pure."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from accounts.models.money import Period

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Window(NamedTuple):
    """A period in UTC, its end not included; no end means for ever."""

    starts_at: datetime
    ends_at: datetime | None


def window(period: str, *, at: datetime, zone: ZoneInfo, anchor: datetime | None = None) -> Window:
    """The period that `at` falls in. A day of the zone may have 23 or 25 hours; weeks begin on Monday.

    A rolling month begins on the day of the month of `anchor` (without one, of `at`), or on the last day of a month
    that is too short for it: from the 31st of January to the 28th of February to the 31st of March.
    """
    if period == Period.NEVER:
        return Window(EPOCH, None)
    day = at.astimezone(zone).date()
    if period == Period.ROLLING:
        first, after = _rolling(day, day_of_month=(anchor or at).astimezone(zone).day)
    else:
        first, after = _days(period, day)
    return Window(_midnight(first, zone), _midnight(after, zone))


def _days(period: str, day: date) -> tuple[date, date]:
    if period == Period.DAY:
        return day, day + timedelta(days=1)
    if period == Period.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    if period == Period.MONTH:
        first = day.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    raise ValueError(f"{period!r} is no budget period.")


def _rolling(day: date, *, day_of_month: int) -> tuple[date, date]:
    first = _in_month(day, day_of_month)
    if first > day:
        first = _in_month(day.replace(day=1) - timedelta(days=1), day_of_month)
    return first, _in_month(first.replace(day=1) + timedelta(days=31), day_of_month)


def _in_month(day: date, day_of_month: int) -> date:
    """That day of the month of `day`, or the month's last."""
    return day.replace(day=min(day_of_month, monthrange(day.year, day.month)[1]))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Midnight there. Where clocks jump over midnight, the moment they jump: zoneinfo's reading of such a time."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
