"""What fal took for an attempt, in US dollars, beside what the member was quoted: for the reconciliation, never billed.

Units come with the result (`x-fal-billable-units`); the unit price from fal's pricing API, which has no discount in it.
Where either is missing the cost stays unknown rather than guessed.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal

from django.core.cache import cache

from accounts import clock
from generations import fal
from generations.lifecycle.connection import fal_client
from generations.models import Attempt

log = logging.getLogger(__name__)

PRICE_SECONDS = 6 * 3600
UNKNOWN_SECONDS = 3600
BATCH = 200


def record_costs() -> int:
    """Write the cost of attempts that ended lately; how many."""
    since = clock.now() - timedelta(days=2)
    rows = Attempt.objects.filter(
        billable_units__isnull=False, fal_cost_usd__isnull=True, ended_at__gte=since
    )
    found = list(rows.select_related("generation")[:BATCH])
    return sum(_record(attempt) for attempt in found)


def _record(attempt: Attempt) -> bool:
    price = _unit_price(attempt.generation.engine)
    if price is None or attempt.billable_units is None:
        return False
    cost = (attempt.billable_units * price).quantize(Decimal("0.000001"))
    return Attempt.objects.filter(pk=attempt.pk, fal_cost_usd__isnull=True).update(fal_cost_usd=cost) == 1


def _unit_price(engine_id: str) -> Decimal | None:
    key = f"fal-unit-price:{engine_id}"
    known = cache.get(key)
    if known is None:
        known = _asked_price(engine_id)
        cache.set(key, known, PRICE_SECONDS if known else UNKNOWN_SECONDS)
    return Decimal(known) if known else None


def _asked_price(engine_id: str) -> str:
    """As text, "" where fal does not say or does not say it in US dollars."""
    try:
        prices = fal_client().pricing([engine_id])
    except fal.FalError as error:
        log.info("fal's price of %s is not known: %s", engine_id, error)
        return ""
    return next((str(price.unit_price) for price in prices if price.currency.upper() == "USD"), "")
