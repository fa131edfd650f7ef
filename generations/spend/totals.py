"""What a report says: the daily rows and what is not rolled up yet, cut every way at once in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from accounts.ledger.check import snapshot
from accounts.models import Wallet
from generations.models import SpendCursor
from generations.spend.periods import Period
from generations.spend.sources import COLUMNS, ENTRIES, KEY, NOTES, SUMS

# All that is known of one wallet, in the shape of daily rows.
_ALL = f"""
SELECT {
    COLUMNS
} FROM generations_dailyspend WHERE wallet_id = %(wallet)s AND day BETWEEN %(first)s AND %(last)s
UNION ALL
SELECT {COLUMNS} FROM ({ENTRIES}) entries
WHERE day BETWEEN %(first)s AND %(last)s
UNION ALL
SELECT {COLUMNS} FROM ({NOTES}) notes WHERE day BETWEEN %(first)s AND %(last)s
"""  # noqa: S608 - only names of ours are put in
_WHERE = """
WHERE (%(member)s::bigint IS NULL OR member_id = %(member)s) AND (%(engine)s::text IS NULL OR engine = %(engine)s)
  AND (%(tag)s::text IS NULL OR tag = %(tag)s)
"""
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in SUMS)
_CUTS = ((), ("day",), ("member_id",), ("engine",), ("tag",), ("outcome",), ("day", "member_id"))
_REPORT = f"""
SELECT grouping(day, member_id, engine, tag, outcome), day, member_id, engine, tag, outcome, {_SUMS}
FROM ({_ALL}) spend {_WHERE}
GROUP BY GROUPING SETS ({", ".join(f"({', '.join(cut)})" for cut in _CUTS)})
"""  # noqa: S608
_ROWS = f"""
SELECT {COLUMNS} FROM (
    SELECT day, member_id, engine, tag, outcome, {_SUMS} FROM ({_ALL}) spend {_WHERE}
    GROUP BY day, member_id, engine, tag, outcome
) rows
WHERE settled <> 0 OR spent <> 0 OR refunded <> 0 OR fal_cost_usd <> 0
ORDER BY day, member_id, engine, tag, outcome
"""  # noqa: S608
_BITS = {name: 1 << place for place, name in enumerate(reversed(KEY))}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a report is about; None is everything. `member` is a user's key, 0 what belongs to no member."""

    period: Period
    member: int | None = None
    engine: str | None = None
    tag: str | None = None


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums in whole credits, US dollars at fal, clips, and seconds of clips that were delivered and not refunded whole.

    The deltas are those of the wallet: over all time and without a filter they are its counters.
    """

    settled: int = 0
    succeeded: int = 0
    failed: int = 0
    spent: int = 0
    refunded: int = 0
    seconds: float = 0.0
    fal_cost_usd: Decimal = Decimal(0)
    granted_delta: int = 0
    available_delta: int = 0
    held_delta: int = 0
    captured_delta: int = 0
    expired_delta: int = 0
    adjusted_out_delta: int = 0

    @property
    def credits(self) -> int:
        """Captured, net of refunds."""
        return self.captured_delta

    @property
    def canceled(self) -> int:
        return self.settled - self.succeeded - self.failed

    @property
    def success_rate(self) -> float | None:
        """Clips among what was not canceled, 0 to 1; None where nothing ended either way."""
        judged = self.succeeded + self.failed
        return self.succeeded / judged if judged else None

    @property
    def credits_per_second(self) -> float | None:
        return self.credits / self.seconds if self.seconds > 0 else None

    @property
    def usd_per_second(self) -> Decimal | None:
        return self.fal_cost_usd / Decimal(str(self.seconds)) if self.seconds > 0 else None

    @property
    def is_of_work(self) -> bool:
        """Whether anything ended or was paid: holds and grants alone are no line of a report."""
        return bool(self.settled or self.spent or self.refunded or self.fal_cost_usd)


@dataclass(frozen=True)
class Row(Totals):
    """One daily row, as exported."""

    day: date
    member_id: int
    engine: str
    tag: str
    outcome: str


@dataclass
class Report:
    """The same sums cut by each dimension; keys are users' keys (0 is the team), engine ids, words and days."""

    total: Totals = field(default_factory=Totals)
    by_member: dict[int, Totals] = field(default_factory=dict)
    by_engine: dict[str, Totals] = field(default_factory=dict)
    by_tag: dict[str, Totals] = field(default_factory=dict)
    by_outcome: dict[str, Totals] = field(default_factory=dict)
    by_day: dict[date, Totals] = field(default_factory=dict)
    by_day_and_member: dict[tuple[date, int], Totals] = field(default_factory=dict)


def zone_of(wallet: Wallet) -> ZoneInfo:
    """The calendar the days are cut by: the team's, until a change of it has been rolled up."""
    cursor = SpendCursor.objects.filter(pk=wallet.pk).first()
    return ZoneInfo(cursor.time_zone if cursor else wallet.team.time_zone)


def tail(wallet: Wallet) -> dict[str, int]:
    """After which entry, and until which, the daily rows leave off. For a `snapshot`, in which it fits them.

    Read on its own and put in as two numbers: of a subquery the planner thinks that a third of the book lies behind it,
    and of a tail without an end that it is as long as the books of larger wallets.
    """
    found = Wallet.objects.filter(pk=wallet.pk).values_list("spend_cursor__rolled_seq", "seq").first()
    rolled, last = found or (0, 0)
    return {"after": rolled or 0, "until": last}


def report(wallet: Wallet, wanted: Filter, *, zone: ZoneInfo) -> Report:
    """Of one moment of the books."""
    made = Report()
    with snapshot(), connection.cursor() as cursor:
        cursor.execute(_REPORT, _params(wallet, wanted, zone))
        for mask, day, member, engine, tag, outcome, *sums in cursor.fetchall():
            if sums[0] is None:
                continue  # the grand total of nothing
            _place(made, mask, (day, member, engine, tag, outcome), _totals(sums))
    return made


def _place(made: Report, mask: int, key: tuple[Any, ...], totals: Totals) -> None:
    day, member, engine, tag, outcome = key
    cut = frozenset(name for name in KEY if not mask & _BITS[name])
    if not cut:
        made.total = totals
    elif not totals.is_of_work:
        return
    elif cut == {"day"}:
        made.by_day[day] = totals
    elif cut == {"member_id"}:
        made.by_member[member] = totals
    elif cut == {"engine"}:
        made.by_engine[engine] = totals
    elif cut == {"tag"}:
        made.by_tag[tag] = totals
    elif cut == {"outcome"}:
        made.by_outcome[outcome] = totals
    else:
        made.by_day_and_member[day, member] = totals


def rows(wallet: Wallet, wanted: Filter, *, zone: ZoneInfo) -> Iterator[Row]:
    """The finest cut, oldest day first: what is exported. They sum up to the report of the same filter."""
    with snapshot(), connection.cursor() as cursor:
        cursor.execute(_ROWS, _params(wallet, wanted, zone))
        found = cursor.fetchall()
    for *key, sums in ((*row[: len(KEY)], row[len(KEY) :]) for row in found):
        yield Row(**dict(zip(KEY, key, strict=True)), **_named(sums))


@dataclass(frozen=True)
class Used:
    """What was ever used, by name."""

    engines: list[str]
    tags: list[str]


_USED = """
SELECT DISTINCT {column} FROM (
    SELECT {column} FROM generations_dailyspend WHERE wallet_id = %(wallet)s
    UNION
    SELECT g.{column} FROM accounts_entry e JOIN generations_generation g ON g.hold_id = e.hold_id
    WHERE e.wallet_id = %(wallet)s AND e.seq > %(after)s AND e.seq <= %(until)s
) used WHERE {column} <> '' ORDER BY {column}
"""


def used(wallet: Wallet) -> Used:
    """Engines and tags to choose a filter from."""
    found = []
    with snapshot(), connection.cursor() as cursor:
        params = {"wallet": wallet.pk, **tail(wallet)}
        for column in ("engine", "tag"):
            cursor.execute(_USED.format(column=column), params)
            found.append([value for (value,) in cursor.fetchall()])
    return Used(*found)


def _totals(sums: list[Any]) -> Totals:
    return Totals(**_named(sums))


def _named(sums: Sequence[Any]) -> dict[str, Any]:
    exact = {"seconds": float, "fal_cost_usd": Decimal}
    return {name: exact.get(name, int)(value) for name, value in zip(SUMS, sums, strict=True)}


def _params(wallet: Wallet, wanted: Filter, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "wallet": wallet.pk,
        **tail(wallet),
        "zone": zone.key,
        "first": wanted.period.first,
        "last": wanted.period.last,
        "member": wanted.member,
        "engine": wanted.engine,
        "tag": wanted.tag,
    }
