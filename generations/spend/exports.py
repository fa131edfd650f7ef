"""What can be taken away: the entries themselves, the report's finest rows, and those rows in FOCUS columns.

Each is exactly what its filter shows on the page, and its last row is their sum; FOCUS has no place for one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import QuerySet, Value
from django.db.models.functions import Coalesce

from accounts.models import Entry, Team, User, Wallet
from accounts.sheets import Cell
from generations import catalogue
from generations.spend.totals import Filter, Row, rows

CHUNK = 2_000
DELTAS = (
    "granted_delta", "available_delta", "held_delta", "captured_delta", "expired_delta", "adjusted_out_delta",
)  # fmt: skip
TEXTS = ("kind", "user__name", "user__email", "actor__email", "engine", "tag", "reason", "note", "reference")
AFTERS = ("available_after", "held_after", "captured_after")
ENTRY_HEADER = (
    "seq", "created_at", "kind", "member", "member_email", "actor_email", "engine", "tag", "reason", "note",
    "reference", *DELTAS, *AFTERS, "sha256",
)  # fmt: skip
SPEND_HEADER = (
    "day", "member", "member_email", "engine", "tag", "outcome", "generations", "succeeded", "failed", "canceled",
    "captured_credits", "refunded_credits", "net_credits", "fal_cost_usd", "clip_seconds",
)  # fmt: skip
# FOCUS 1.2, https://focus.finops.org/focus-specification/v1-2/: what it requires, then what we can say beyond, then our
# own columns with the x_ it asks for.
FOCUS_HEADER = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart",
    "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit",
    "ProviderName", "PublisherName", "ServiceCategory", "ServiceName", "ChargeFrequency", "ConsumedQuantity",
    "ConsumedUnit",
    "ListUnitPrice", "PricingCategory", "ResourceId", "ResourceName", "ResourceType", "ServiceSubcategory", "SkuId",
    "SubAccountId", "SubAccountName", "SubAccountType", "Tags", "x_Credits", "x_FalCostUsd", "x_Outcome",
)  # fmt: skip


def entry_rows(wallet: Wallet, wanted: Filter, *, zone: ZoneInfo) -> Iterator[list[Cell]]:
    """Every entry of the filter in the book's order, then the sums of what each did."""
    sums = [0] * len(DELTAS)
    names = ("seq", "created_at", *TEXTS, *DELTAS, *AFTERS, "sha256")
    found = _entries(wallet, wanted, zone).values_list(*names)
    first = 2 + len(TEXTS)
    for row in found.iterator(chunk_size=CHUNK):
        deltas = row[first : first + len(DELTAS)]
        sums = [total + delta for total, delta in zip(sums, deltas, strict=True)]
        yield [row[0], row[1].isoformat(), *(text or "" for text in row[2:first]), *row[first:]]
    yield ["total", *[""] * (first - 1), *sums, *[None] * len(AFTERS), ""]


def _entries(wallet: Wallet, wanted: Filter, zone: ZoneInfo) -> QuerySet[Entry]:
    starts_at, ends_at = wanted.period.bounds(zone)
    found = Entry.objects.filter(wallet=wallet, created_at__gte=starts_at, created_at__lt=ends_at)
    found = found.annotate(
        engine=Coalesce("hold__generation__engine", Value("")),
        tag=Coalesce("hold__generation__tag", Value("")),
    )
    if wanted.member is not None:
        found = found.filter(user=wanted.member or None)
    if wanted.engine is not None:
        found = found.filter(engine=wanted.engine)
    if wanted.tag is not None:
        found = found.filter(tag=wanted.tag)
    return found.order_by("seq")


def spend_rows(wallet: Wallet, wanted: Filter, *, zone: ZoneInfo) -> Iterator[list[Cell]]:
    """By day, member, engine, tag and outcome; the last row is the total of the page."""
    people = _people(wallet)
    numbers: list[float] = [0] * 9
    for row in rows(wallet, wanted, zone=zone):
        mine = [
            row.settled, row.succeeded, row.failed, row.canceled, row.spent, row.refunded, row.credits,
            float(row.fal_cost_usd), row.seconds,
        ]  # fmt: skip
        numbers = [total + number for total, number in zip(numbers, mine, strict=True)]
        yield [row.day.isoformat(), *people.of(row.member_id), row.engine, row.tag, row.outcome, *mine]
    yield ["total", "", "", "", "", "", *numbers[:7], round(numbers[7], 6), round(numbers[8], 3)]


def focus_rows(wallet: Wallet, wanted: Filter, *, zone: ZoneInfo) -> Iterator[list[Cell]]:
    """One row for what was spent and one for what was given back, in US dollars at the house's rate of credits."""
    people = _people(wallet)
    for row in rows(wallet, wanted, zone=zone):
        if row.spent or not row.refunded:
            yield _focus(row, row.spent, wallet.team, people, zone)
        if row.refunded:
            yield _focus(row, -row.refunded, wallet.team, people, zone)


def _focus(row: Row, amount: int, team: Team, people: _People, zone: ZoneInfo) -> list[Cell]:
    said = {**_charge(row, amount, zone), **_service(row), **_parties(row, team, people)}
    # With both a spending and a refund in one row, the dollars stand beside the spending.
    usd = 0 if amount < 0 and row.spent else float(row.fal_cost_usd)
    said |= {"x_Credits": amount, "x_FalCostUsd": usd, "x_Outcome": row.outcome}
    return [said[column] for column in FOCUS_HEADER]


def _charge(row: Row, amount: int, zone: ZoneInfo) -> dict[str, Cell]:
    """Costs are the same four times over: there is no list price beside the credits, and nothing is amortised."""
    cost = round(amount / settings.CREDITS_PER_USD, 6)
    is_given_back = amount < 0
    month = row.day.replace(day=1)
    return {
        **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost),
        "BillingCurrency": "USD",
        "BillingPeriodStart": _start_of(month, zone),
        "BillingPeriodEnd": _start_of((month + timedelta(days=31)).replace(day=1), zone),
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if is_given_back else None,
        "ChargeDescription": "Refund of clips"
        if is_given_back
        else f"Generations that {row.outcome or 'ran'}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _start_of(row.day, zone),
        "ChargePeriodEnd": _start_of(row.day + timedelta(days=1), zone),
        "PricingCategory": "Standard",
        "PricingQuantity": amount,
        "PricingUnit": "Credits",
        "ListUnitPrice": round(1 / settings.CREDITS_PER_USD, 6),
        "ConsumedQuantity": 0 if is_given_back else row.succeeded,
        "ConsumedUnit": "Clips",
    }


def _service(row: Row) -> dict[str, Cell]:
    return {
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": "Video generation",
        "ResourceId": row.engine or None,
        "ResourceName": engine_title(row.engine) or None,
        "ResourceType": "Engine" if row.engine else None,
        "SkuId": row.engine or None,
        "Tags": json.dumps({"project": row.tag} if row.tag else {}, ensure_ascii=False),
    }


def _parties(row: Row, team: Team, people: _People) -> dict[str, Cell]:
    return {
        "BillingAccountId": f"team:{team.pk}",
        "BillingAccountName": team.name,
        "BillingAccountType": "Team",
        "InvoiceIssuerName": "Clipledger",
        "ProviderName": "Clipledger",
        "PublisherName": "fal",
        "SubAccountId": f"member:{row.member_id}",
        "SubAccountName": people.of(row.member_id)[0],
        "SubAccountType": "Member",
    }


def _start_of(day: date, zone: ZoneInfo) -> str:
    """ISO 8601 in UTC, as FOCUS wants its moments."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def engine_title(engine: str) -> str:
    """What people call it; the id of one that is offered no more."""
    try:
        return catalogue.get(engine).title
    except catalogue.UnknownEngine:
        return engine


@dataclass(frozen=True)
class _People:
    """Names and addresses by user key, of everybody who ever was in the team."""

    known: dict[int, tuple[str, str]]

    def of(self, key: int) -> tuple[str, str]:
        return self.known.get(key, (f"user {key}", "")) if key else ("the team", "")


def _people(wallet: Wallet) -> _People:
    found = User.objects.filter(memberships__team=wallet.team_id)
    return _People({user.pk: (user.get_full_name(), user.email) for user in found})
