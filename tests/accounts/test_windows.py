"""Budget periods are days of the team's calendar, whatever its clocks do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.ledger.windows import EPOCH, window

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Pacific/Apia",
    "America/Havana",
]


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("period", "starts_at", "ends_at"),
    [
        ("day", utc(2026, 6, 9, 22), utc(2026, 6, 10, 22)),
        ("week", utc(2026, 6, 7, 22), utc(2026, 6, 14, 22)),
        ("month", utc(2026, 5, 31, 22), utc(2026, 6, 30, 22)),
        ("never", EPOCH, None),
    ],
)
def test_periods_begin_at_midnight_in_berlin(
    period: str, starts_at: datetime, ends_at: datetime | None
) -> None:
    assert window(period, at=utc(2026, 6, 10, 12), zone=BERLIN) == (starts_at, ends_at)


def test_the_day_clocks_go_forward_has_23_hours_and_the_day_they_go_back_25() -> None:
    for at, hours in [(utc(2026, 3, 29, 12), 23), (utc(2026, 10, 25, 12), 25)]:
        day = window("day", at=at, zone=BERLIN)
        assert day.ends_at is not None
        assert day.ends_at - day.starts_at == timedelta(hours=hours)


def test_december_ends_with_the_year() -> None:
    assert window("month", at=utc(2026, 12, 31, 12), zone=ZoneInfo("UTC")).ends_at == utc(2027, 1, 1)


def test_where_midnight_is_skipped_the_day_begins_when_the_clocks_jump() -> None:
    day = window("day", at=utc(2026, 3, 29, 12), zone=ZoneInfo("Asia/Beirut"))
    assert day.starts_at == utc(2026, 3, 28, 22)


def test_an_unknown_period_is_an_error_and_not_for_ever() -> None:
    with pytest.raises(ValueError, match="fortnight"):
        window("fortnight", at=EPOCH, zone=BERLIN)


@settings(deadline=None)  # a busy machine is no failure
@given(
    at=st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    name=st.sampled_from(ZONES),
    period=st.sampled_from(["day", "week", "month"]),
)
def test_every_moment_is_in_exactly_one_window_and_windows_meet(at: datetime, name: str, period: str) -> None:
    zone = ZoneInfo(name)
    here = window(period, at=at, zone=zone)
    assert here.ends_at is not None
    assert here.starts_at <= at < here.ends_at
    assert window(period, at=here.ends_at, zone=zone).starts_at == here.ends_at
    assert window(period, at=here.starts_at, zone=zone) == here


@settings(deadline=None)
@given(
    at=st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    anchor=st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    name=st.sampled_from(ZONES),
)
def test_rolling_months_meet_whatever_day_they_roll_from(at: datetime, anchor: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    here = window("rolling", at=at, zone=zone, anchor=anchor)
    assert here.ends_at is not None
    assert here.starts_at <= at < here.ends_at
    assert window("rolling", at=here.ends_at, zone=zone, anchor=anchor).starts_at == here.ends_at
    assert window("rolling", at=here.starts_at, zone=zone, anchor=anchor) == here
