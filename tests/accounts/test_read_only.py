"""The lists of the admin: their days are found without reading every row, and are the days Django finds."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import Q, QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Alert, Entry
from accounts.read_only import Rows
from tests.factories import TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db
# A leap day, both ends of a year and of a day in Berlin, the hour that comes twice there, and two alike.
MOMENTS = [
    *("2023-12-31T22:59:59", "2023-12-31T23:00:00", "2024-02-28T12:00:00", "2024-02-29T23:30:00"),
    *("2024-10-27T00:30:00", "2024-10-27T01:30:00", "2024-10-27T01:30:00", "2026-01-30T00:00:00"),
    *("2026-01-31T00:00:00", "2026-03-01T00:00:00"),
]


@pytest.fixture
def rows() -> QuerySet[Any]:
    fill(TeamFactory().wallet, 10, now=datetime.fromisoformat("2020-06-01T00:00:00+00:00"))
    wallet = TeamFactory().wallet
    for moment in MOMENTS:
        fill(wallet, 10, now=datetime.fromisoformat(f"{moment}+00:00"))
    return Rows(Entry).order_by("-pk")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("kind", ["year", "month", "day"])
def test_years_months_and_days_are_those_that_django_finds(rows: QuerySet[Any], zone: str, kind: str) -> None:
    wallet = rows.first().wallet
    since = datetime.fromisoformat("2024-02-01T00:00:00+00:00")
    with timezone.override(ZoneInfo(zone)):
        for chosen in (
            Q(),
            Q(wallet=wallet),
            Q(wallet__id=wallet.pk, created_at__gte=since),
            Q(created_at__lt=since),
        ):
            djangos = Entry.objects.filter(chosen).datetimes("created_at", kind)
            assert rows.filter(chosen).datetimes("created_at", kind) == list(djangos)
        assert list(rows.none().datetimes("created_at", kind)) == []


def test_each_of_them_is_one_row_read_from_the_index(rows: QuerySet[Any]) -> None:
    of_one = rows.filter(wallet__id__exact=rows.first().wallet_id)
    for chosen, expected in ((rows, [2020, 2023, 2024, 2026]), (of_one, [2023, 2024, 2026])):
        with CaptureQueriesContext(connection) as seen:
            years = chosen.datetimes("created_at", "year")
        assert [year.year for year in years] == expected
        assert len(seen) == len(years) + 1
        assert all("LIMIT 1" in query["sql"] and "DISTINCT" not in query["sql"] for query in seen)


def test_what_no_index_narrows_down_is_read_once_as_django_does(rows: QuerySet[Any]) -> None:
    for chosen in (
        Q(kind="grant"),
        Q(wallet__team__name="x") | Q(kind="grant"),
        Q(wallet__in=[rows.first().wallet, rows.last().wallet]),
        Q(wallet__team__created_at__gte=timezone.now()),
    ):
        with CaptureQueriesContext(connection) as seen:
            found = list(rows.filter(chosen).datetimes("created_at", "month"))
        assert found == list(Entry.objects.filter(chosen).datetimes("created_at", "month"))
        assert len(seen) == 1
    # These have an index by date within a team alone.
    with CaptureQueriesContext(connection) as seen:
        assert list(Rows(Alert).datetimes("created_at", "day")) == []
    assert "DISTINCT" in seen[0]["sql"]


def test_the_list_of_the_book_leads_to_its_days(client: Client) -> None:
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    TeamFactory()
    today = timezone.localtime()
    page = client.get("/admin/accounts/wallet/").content.decode()
    assert f"created_at__day={today.day}&amp;created_at__month={today.month}" in page
