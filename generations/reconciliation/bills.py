"""What fal said it took, kept as it was read. The same page twice, or two pages that share rows, add nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from generations import fal
from generations.models import Bill, BillCursor

# As precise as the columns are; fal's own unit is the nano dollar.
NANO = Decimal("0.000000001")

# A bill is one request at one moment of fal's clock; the last word on it counts.
Key = tuple[str, datetime]
Words = tuple[Decimal, Decimal | None, Decimal | None]


@dataclass(frozen=True)
class Taken:
    """All that fal took for one request, after corrections."""

    endpoint_id: str
    first_billed_at: datetime
    cost_usd: Decimal


def lock() -> BillCursor:
    """Whoever writes bills or what they mean holds this row: two runs at once write one after the other."""
    BillCursor.objects.get_or_create(pk=1)
    return BillCursor.objects.select_for_update().get(pk=1)


def keep(events: Iterable[fal.BillingEvent]) -> set[str]:
    """Write down what is new in a page, all of it or nothing; the request ids it is about.

    Raises `fal.ProtocolError` for an event without a time: it could not be told from a second one.
    """
    page = list(events)
    if any(event.billed_at is None for event in page):
        raise fal.ProtocolError("a billing event of fal's has no timestamp")
    ids = {event.request_id for event in page}
    with transaction.atomic():
        lock()
        known = {(bill.request_id, bill.billed_at): _words_of(bill) for bill in _last_words(ids)}
        fresh = []
        for event in page:
            bill = _bill(event)
            key = (bill.request_id, bill.billed_at)
            if known.get(key) != _words_of(bill):
                known[key] = _words_of(bill)
                fresh.append(bill)
        Bill.objects.bulk_create(fresh)
    return ids


def taken(request_ids: Iterable[str]) -> dict[str, Taken]:
    """By request id; ids that fal never billed are missing."""
    found: dict[str, Taken] = {}
    for bill in _last_words(request_ids):
        before = found.get(bill.request_id)
        found[bill.request_id] = Taken(
            endpoint_id=bill.endpoint_id,
            first_billed_at=min(bill.billed_at, before.first_billed_at) if before else bill.billed_at,
            cost_usd=bill.cost_usd + (before.cost_usd if before else 0),
        )
    return found


def _last_words(request_ids: Iterable[str]) -> list[Bill]:
    rows = Bill.objects.filter(request_id__in=set(request_ids))
    return list(rows.order_by("request_id", "billed_at", "-id").distinct("request_id", "billed_at"))


def _bill(event: fal.BillingEvent) -> Bill:
    assert event.billed_at is not None
    return Bill(
        request_id=event.request_id[:120],
        endpoint_id=event.endpoint_id[:200],
        billed_at=event.billed_at,
        output_units=_exact(event.output_units),
        unit_price_usd=_exact(event.unit_price_usd),
        cost_usd=event.cost_total_usd.quantize(NANO),
    )


def _words_of(bill: Bill) -> Words:
    return bill.cost_usd, bill.output_units, bill.unit_price_usd


def _exact(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(NANO)
