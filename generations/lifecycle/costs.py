"""What fal took for an attempt, in US dollars, beside what the member was quoted: for the reconciliation, never billed.

Units come with the result (`x-fal-billable-units`); the unit price from fal's pricing API, which has no discount in it.
What fal may have billed without saying so (a 422, a clip that could not be taken in) is looked up in its billing
events, if an admin key is set. Where nothing is said the cost stays unknown rather than guessed.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.core.cache import cache
from django.db.models import QuerySet

from accounts import clock
from generations import fal
from generations.lifecycle.connection import fal_client
from generations.models import Attempt

log = logging.getLogger(__name__)

PRICE_SECONDS = 6 * 3600
UNKNOWN_SECONDS = 3600
BATCH = 200
# An event may follow its request by minutes, or never come: asked soon, then ever more rarely.
ASKED_AGAIN_SHARE = 0.25


def record_costs() -> int:
    """Write the cost of attempts that ended lately; how many."""
    now = clock.now()
    rows = Attempt.objects.filter(fal_cost_usd__isnull=True, ended_at__gte=now - timedelta(days=2))
    found = list(rows.filter(billable_units__isnull=False).select_related("generation")[:BATCH])
    return sum(_record(attempt) for attempt in found) + _record_billed(rows, now=now)


def _record_billed(rows: QuerySet[Attempt], *, now: datetime) -> int:
    if not settings.FAL_ADMIN_KEY:
        return 0
    listed = rows.filter(is_maybe_billed=True, billable_units__isnull=True).exclude(request_id="")
    asked = {each.request_id: each.pk for each in listed.order_by("-ended_at")[:BATCH] if _is_due(each, now)}
    if not asked:
        return 0
    try:
        events = fal_client().billing_events(list(asked), start=now - timedelta(days=3))
    except fal.FalError as error:
        log.info("fal's bills could not be read: %s", error)
        return 0
    return sum(
        Attempt.objects.filter(pk=asked[event.request_id], fal_cost_usd__isnull=True).update(
            fal_cost_usd=event.cost_total_usd.quantize(Decimal("0.000001"))
        )
        for event in events
        if event.request_id in asked
    )


def _is_due(attempt: Attempt, now: datetime) -> bool:
    """Whether it may be asked about now; it then was."""
    age_seconds = (now - (attempt.ended_at or now)).total_seconds()
    pause = max(settings.SWEEP_SECONDS, age_seconds * ASKED_AGAIN_SHARE)
    return bool(cache.add(f"fal-bill-asked:{attempt.pk}", 1, pause))


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
