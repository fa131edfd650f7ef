"""The daily rows say what the book says, however far they are, whatever came late, whoever rolls them up at once."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from accounts import ledger
from accounts.models import Entry, Membership, Team, Wallet
from generations import spend
from generations.lifecycle import sweeping
from generations.models import Attempt, CostNote, DailySpend, Generation, SpendCursor
from generations.spend import rolling
from generations.states import State
from tests.factories import MembershipFactory
from tests.generations.spend.conftest import BOATS, NOON, WAN, asked, ended, granted, priced, refunded

UTC_ZONE = ZoneInfo("UTC")
EVER = spend.Filter(period=spend.chosen("all", today=NOON.date()))


def said(wallet: Wallet, wanted: spend.Filter = EVER, zone: ZoneInfo | None = None) -> spend.Report:
    return spend.report(wallet, wanted, zone=zone or spend.zone_of(wallet))


def by_hand(wallet: Wallet, zone: ZoneInfo) -> dict[tuple[date, int, str, str, str], dict[str, Any]]:
    """The most naive reading: every entry and every attempt, one after the other, in Python."""
    rows: dict[Any, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    works = {work.hold_id: work for work in Generation.objects.select_related("output")}
    spent: dict[Any, int] = defaultdict(int)
    for entry in Entry.objects.filter(wallet=wallet).order_by("seq"):
        work = works.get(entry.hold_id)
        outcome = work.state if work and entry.kind in {"capture", "release", "refund"} else ""
        key = (
            entry.created_at.astimezone(zone).date(), entry.user_id or 0, work.engine if work else "",
            work.tag if work else "", outcome,
        )  # fmt: skip
        row = rows[key]
        spent[entry.hold_id] += entry.captured_delta
        for name in ("granted", "available", "held", "captured", "expired", "adjusted_out"):
            row[f"{name}_delta"] += getattr(entry, f"{name}_delta")
        if entry.kind in {"capture", "release"}:
            row["settled"] += 1
        if entry.kind == "capture" and work:
            row["succeeded"] += 1
            row["spent"] += entry.captured_delta
            row["seconds"] += work.output.duration_seconds
        if entry.kind == "release" and outcome == "failed":
            row["failed"] += 1
        if entry.kind == "refund" and work:
            row["refunded"] -= entry.captured_delta
            row["seconds"] -= work.output.duration_seconds if not spent[entry.hold_id] else 0
    for attempt in Attempt.objects.select_related("generation").filter(generation__settled_at__isnull=False):
        work = attempt.generation
        assert work.settled_at
        key = (work.settled_at.astimezone(zone).date(), work.user_id, work.engine, work.tag, work.state)
        rows[key]["fal_cost_usd"] += attempt.fal_cost_usd or Decimal(0)
    return {key: dict(row) for key, row in rows.items()}


def summed(rows: Any, **where: Any) -> dict[str, Any]:
    names = ("day", "member_id", "engine", "tag", "outcome")
    total = dict.fromkeys(DailySpend.SUMS, 0)
    for key, row in rows.items():
        if all(key[names.index(name)] == value for name, value in where.items()):
            for name, value in row.items():
                total[name] += value
    return total


def busy_month(wallet: Wallet, people: list[Any], dice: random.Random, steps: int = 60) -> None:
    """Random work, at random hours of a month that has a change of clocks in it, some of it late or refunded."""
    open_works: list[Generation] = []
    done: list[Generation] = []
    now = datetime(2026, 3, 10, tzinfo=UTC)
    for _ in range(steps):
        now += timedelta(minutes=dice.randint(5, 900))
        turn = dice.random()
        if turn < 0.5 or not open_works:
            engine, tag = dice.choice([BOATS, WAN]), dice.choice(["", "Spring", "Launch"])
            open_works.append(
                asked(wallet, dice.choice(people), price=dice.randint(5, 90), engine=engine, tag=tag, at=now)
            )
        elif turn < 0.85:
            work = open_works.pop(dice.randrange(len(open_works)))
            state = dice.choice([State.SUCCEEDED] * 3 + [State.FAILED, State.CANCELED])
            work = ended(work, state, at=now, seconds=dice.choice([5.0, 6.0, 10.0]))
            attempt = priced(work, dice.choice([None, "0.25", "0.4"]))
            if dice.random() < 0.3:
                Attempt.objects.filter(pk=attempt.pk).update(fal_cost_usd=Decimal("0.31"))
            done += [work] if state == State.SUCCEEDED else []
        elif done:
            work = done.pop()
            refunded(work, dice.choice([1, work.quote_credits]), people[0], at=now)
        if dice.random() < 0.25:
            rolling.roll_up(wallet)


@pytest.mark.parametrize("seed", [1, 2])
def test_reports_are_those_of_a_reading_by_hand_at_every_stage_of_the_roll_up(
    admin: Membership, wallet: Wallet, seed: int
) -> None:
    Team.objects.filter(pk=admin.team_id).update(time_zone="Europe/Berlin")
    zone = ZoneInfo("Europe/Berlin")
    people = [admin.user, MembershipFactory(team=admin.team).user]
    busy_month(wallet, people, random.Random(seed))
    by_halves = said(wallet)
    assert Entry.objects.filter(wallet=wallet, seq__gt=SpendCursor.objects.get().rolled_seq).exists()
    rolling.roll_up(wallet)
    whole = said(wallet)
    assert by_halves == whole, "what is rolled up and what is read live are told apart by nobody"
    rows = by_hand(wallet, zone)
    assert asdict(whole.total) == pytest.approx(summed(rows))
    for name, cut in (("member_id", whole.by_member), ("engine", whole.by_engine), ("tag", whole.by_tag),
                      ("outcome", whole.by_outcome), ("day", whole.by_day)):  # fmt: skip
        for key, totals in cut.items():
            assert asdict(totals) == pytest.approx(summed(rows, **{name: key})), (name, key)
    for (day, member), totals in whole.by_day_and_member.items():
        assert asdict(totals) == pytest.approx(summed(rows, day=day, member_id=member))
    assert CostNote.objects.filter(attempt__generation__settled_at__isnull=False).count() == 0


def test_all_rows_sum_up_to_the_wallets_counters(admin: Membership, wallet: Wallet) -> None:
    busy_month(wallet, [admin.user], random.Random(4), steps=40)
    ledger.adjust(wallet, amount=-70, actor=admin.user, reason="Count was off", idempotency_key="down")
    ledger.grant(
        wallet, amount=90, source="promotional", reason="Gift", idempotency_key="gift", now=NOON,
        expires_at=NOON + timedelta(days=1),
    )  # fmt: skip
    ledger.expire(wallet, now=NOON + timedelta(days=90))
    rolling.roll_up(wallet)
    wallet.refresh_from_db()
    total = said(wallet).total
    for name in ("granted", "available", "held", "captured", "expired", "adjusted_out"):
        assert getattr(total, f"{name}_delta") == getattr(wallet, name), name
    assert wallet.expired == 90


def test_a_refund_counts_on_its_own_day_and_takes_the_seconds_with_it_once_it_is_whole(
    admin: Membership, wallet: Wallet
) -> None:
    work = ended(asked(wallet, admin.user, price=60), seconds=6.0)
    rolling.roll_up(wallet)
    later = NOON + timedelta(days=20)
    refunded(work, 20, admin.user, at=later)
    assert said(wallet).total.seconds == 6.0
    refunded(work, 40, admin.user, at=later)
    rolling.roll_up(wallet)
    by_day = said(wallet).by_day
    assert (by_day[NOON.date()].credits, by_day[later.date()].credits) == (60, -60)
    assert said(wallet).total.seconds == 0
    assert said(wallet).total.credits_per_second is None


def test_dollars_stand_on_the_day_of_settlement_however_late_they_are_learnt_or_corrected(
    admin: Membership, wallet: Wallet
) -> None:
    work = asked(wallet, admin.user)
    first = priced(work, "0.10")
    assert said(wallet).total.fal_cost_usd == 0, "nothing is settled yet"
    ended(work, State.SUCCEEDED, at=NOON)
    assert said(wallet).by_day[NOON.date()].fal_cost_usd == Decimal("0.10")
    rolling.roll_up(wallet)
    second = priced(work, None, number=2)
    Attempt.objects.filter(pk=second.pk).update(fal_cost_usd=Decimal("0.25"))
    Attempt.objects.filter(pk=first.pk).update(fal_cost_usd=Decimal("0.05"))
    for _ in range(2):
        assert said(wallet).by_day[NOON.date()].fal_cost_usd == Decimal("0.30")
        rolling.roll_up_due()
    assert not CostNote.objects.exists()


def test_another_time_zone_cuts_the_days_anew(admin: Membership, wallet: Wallet) -> None:
    late = datetime(2026, 3, 10, 23, 30, tzinfo=UTC)
    priced(ended(asked(wallet, admin.user, at=late), at=late), "0.25")
    rolling.roll_up(wallet)
    assert set(said(wallet).by_day) == {date(2026, 3, 10)}
    Team.objects.filter(pk=admin.team_id).update(time_zone="Asia/Tokyo")
    before = said(wallet)
    rolling.roll_up_due()
    after = said(wallet)
    assert set(before.by_day) == {date(2026, 3, 10)}, "until then by the old days"
    assert set(after.by_day) == {date(2026, 3, 11)}
    assert after.total == before.total


def test_the_sweep_rolls_up_and_a_second_round_finds_nothing(admin: Membership, wallet: Wallet) -> None:
    ended(asked(wallet, admin.user))
    assert sweeping._rolled_up() == 3
    assert sweeping._rolled_up() == 0
    wallet.refresh_from_db()
    assert SpendCursor.objects.get(wallet=wallet).rolled_seq == wallet.seq


def test_batches_join_without_a_seam(
    admin: Membership, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        ended(asked(wallet, admin.user))
    live = said(wallet)
    monkeypatch.setattr(rolling, "BATCH", 3)
    rolling.roll_up(wallet)
    assert said(wallet) == live
    wallet.refresh_from_db()
    assert SpendCursor.objects.get(wallet=wallet).rolled_seq == wallet.seq == 11


def test_another_teams_work_is_no_part_of_it(admin: Membership, wallet: Wallet) -> None:
    other = MembershipFactory()
    priced(ended(asked(granted(other.team.wallet), other.user)), "0.25")
    assert not said(wallet).by_member
    rolling.roll_up_due()
    assert not said(wallet).by_member
    assert said(other.team.wallet).total.fal_cost_usd == Decimal("0.25")


@pytest.mark.concurrency
@pytest.mark.django_db(transaction=True)
def test_many_may_roll_up_at_once_while_work_goes_on(django_user_model: Any) -> None:
    member = MembershipFactory()
    wallet = granted(member.team.wallet)
    is_over = threading.Event()
    failures: list[BaseException] = []

    def roll() -> None:
        try:
            while not is_over.is_set():
                rolling.roll_up_due()
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=roll) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(25):
        ended(asked(wallet, member.user, price=10))
        wallet.refresh_from_db()
    is_over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    rolling.roll_up(wallet)
    assert said(wallet).total.captured_delta == 250
    assert sum(DailySpend.objects.values_list("settled", flat=True)) == 25
