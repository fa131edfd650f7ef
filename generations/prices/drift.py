"""fal's list prices held against ours: drift is reported, a rule that follows it proposed, and nothing is changed.

fal names one price per unit, and its unit may be anything: a clip, a second, six seconds. So what is compared is that
price with the one fal had when our newest version was written, and a rule that follows it is ours times the ratio.
Where fal's price was not known then, it is believed to be the same if it is an amount in our rule, and if our rule
is one amount for one unit the two are compared as they stand; everything else is said and left to a person.

All answers are fetched before anything is written, so a fal that cannot be asked changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import transaction

from accounts import clock
from generations import catalogue, fal
from generations.catalogue import Engine
from generations.lifecycle.connection import fal_client
from generations.models import ListPrice, PriceProposal, PriceVersion
from generations.prices.book import one_writer, propose, withdraw
from generations.prices.examples import Example, problem_of, worked

log = logging.getLogger(__name__)

EVERY = timedelta(days=7)
PLACES = Decimal("0.000001")
# fal's unit is not ours where the two are further apart than any change of price was.
FURTHEST = Decimal(4)


class SyncFailed(Exception):
    """fal could not be asked. Nothing was changed."""


class Verdict(StrEnum):
    SAME = "same"
    DRIFTED = "drifted"
    UNCLEAR = "unclear"
    UNLISTED = "unlisted"


@dataclass(frozen=True)
class Drift:
    """One engine: our newest version, fal's list price now and when that version was written, and what follows."""

    engine: Engine
    verdict: Verdict
    words: str
    price: fal.Price | None = None
    reference: Decimal | None = None
    examples: list[Example] = field(default_factory=list)
    proposals: list[PriceProposal] = field(default_factory=list)


def sync_if_due() -> list[Drift]:
    """Once a week by the rows, however often and by however many it is called. fal's faults are logged, not raised."""
    if ListPrice.objects.filter(last_seen_at__gt=clock.now() - EVERY).exists():
        return []
    try:
        found = sync()
    except SyncFailed as error:
        log.warning("prices not compared: %s", error)
        return []
    for each in found:
        if each.proposals:
            log.warning("price proposed for %s: %s", each.engine.endpoint_id, each.words)
    return found


def sync() -> list[Drift]:
    """Compare every orderable engine, in the picker's order. Raises `SyncFailed`."""
    engines = catalogue.orderable()
    try:
        listed = fal_client().pricing([engine.endpoint_id for engine in engines])
    except fal.FalError as error:
        raise SyncFailed(f"fal's prices could not be read: {error}") from error
    by_id = {price.endpoint_id: price for price in listed}
    with transaction.atomic():
        return [_compared(engine, by_id.get(engine.endpoint_id)) for engine in engines]


def _compared(engine: Engine, price: fal.Price | None) -> Drift:
    one_writer(engine.endpoint_id)
    version = PriceVersion.objects.newest(engine.endpoint_id)
    from_catalogue = _of_catalogue(engine, version)
    proposals = [from_catalogue] if from_catalogue else []
    if price is None:
        drift = Drift(engine, Verdict.UNLISTED, "fal lists no price for it.")
    elif price.currency.upper() != "USD" or price.unit_price <= 0:
        words = f"fal lists {price.unit_price} {price.currency}, which cannot be compared."
        drift = Drift(engine, Verdict.UNCLEAR, words, price)
    else:
        reference = _reference(version, price)
        drift = _judged(engine, version, price, reference, seen=_seen(price))
    return Drift(**{**vars(drift), "proposals": [*drift.proposals, *proposals]})


def _judged(
    engine: Engine, version: PriceVersion, price: fal.Price, reference: Decimal | None, *, seen: ListPrice
) -> Drift:
    said = f"${price.unit_price.normalize():f} per {price.unit or 'unit'}"
    if reference is None:
        words = f"fal lists {said}, which is no amount of our rule: compare it by hand."
        return Drift(engine, Verdict.UNCLEAR, words, price)
    if reference == price.unit_price:
        withdraw(engine.endpoint_id, PriceProposal.Source.FAL)
        return Drift(engine, Verdict.SAME, f"fal lists {said}, as before.", price, reference)
    words = f"fal lists {said}; it was ${reference.normalize():f} when our price was written."
    rule = scaled(version.rule, price.unit_price / reference)
    problem = problem_of(engine, rule, before=version.rule)
    if problem:
        return Drift(engine, Verdict.DRIFTED, f"{words} {problem}", price, reference)
    made = propose(engine.endpoint_id, rule, source=PriceProposal.Source.FAL, why=words, list_price=seen)
    examples = worked(engine, version.rule, rule)
    return Drift(engine, Verdict.DRIFTED, words, price, reference, examples, [made] if made else [])


def _seen(price: fal.Price) -> ListPrice:
    """The row of what fal lists now: a new one where it changed, else the last, seen again."""
    now = clock.now()
    last = ListPrice.objects.filter(engine=price.endpoint_id).order_by("-seen_at", "-pk").first()
    amount = price.unit_price.quantize(Decimal("1e-9"))
    if last and (last.unit_price, last.unit, last.currency) == (amount, price.unit[:60], price.currency[:10]):
        ListPrice.objects.filter(pk=last.pk).update(last_seen_at=now)
        return last
    return ListPrice.objects.create(
        engine=price.endpoint_id,
        unit_price=amount,
        unit=price.unit[:60],
        currency=price.currency[:10],
        seen_at=now,
        last_seen_at=now,
    )


def _reference(version: PriceVersion, price: fal.Price) -> Decimal | None:
    """What fal listed when our version was written. In fal's unit; None where that cannot be known."""
    listed = ListPrice.objects.filter(engine=version.engine, currency__iexact="USD")
    is_seed = version.valid_from == PriceVersion.FIRST
    if not is_seed:
        known = listed.filter(seen_at__lte=version.created_at).order_by("-seen_at", "-pk").first()
        if known:
            return known.unit_price
    first = listed.filter(seen_at__gte=version.created_at).order_by("seen_at", "pk").first()
    first_price = first.unit_price if first else price.unit_price
    amounts = _amounts(version.rule)
    if first_price in amounts:
        return first_price
    plain = amounts[0] if _is_plain(version.rule) else None
    is_near = plain and plain / FURTHEST <= first_price <= plain * FURTHEST
    return plain if is_near else None


def _amounts(rule: Mapping[str, Any]) -> list[Decimal]:
    rate = rule["rate"]
    texts = [row["usd"] for row in rate["rows"]] if "rows" in rate else [rate["usd"]]
    return [Decimal(str(text)) for text in [*texts, *([rule["base_usd"]] if "base_usd" in rule else [])]]


def _is_plain(rule: Mapping[str, Any]) -> bool:
    """One amount for each of one unit, with nothing beside it that the two prices might differ by."""
    return set(rule) <= {"quantity", "rate", "assume"} and "usd" in rule["rate"]


def scaled(rule: Mapping[str, Any], ratio: Decimal) -> dict[str, Any]:
    """The same rule with every dollar amount times `ratio`, to a millionth of a dollar."""

    def times(amount: object) -> str:
        exact = (Decimal(str(amount)) * ratio).quantize(PLACES)
        return f"{exact.normalize():f}"

    rate = rule["rate"]
    new_rate = (
        {**rate, "rows": [{**row, "usd": times(row["usd"])} for row in rate["rows"]]}
        if "rows" in rate
        else {**rate, "usd": times(rate["usd"])}
    )
    base = {"base_usd": times(rule["base_usd"])} if "base_usd" in rule else {}
    return {**rule, **base, "rate": new_rate}


def _of_catalogue(engine: Engine, version: PriceVersion) -> PriceProposal | None:
    """A rule of the catalogue's that never was in force and that nobody decided on: its file was changed."""
    rule = engine.price.rule
    if rule is None or PriceVersion.objects.filter(engine=engine.endpoint_id, rule=rule).exists():
        return None
    asked = PriceProposal.objects.filter(engine=engine.endpoint_id, source=PriceProposal.Source.CATALOGUE)
    if asked.filter(rule=rule).exclude(state=PriceProposal.State.SUPERSEDED).exists():
        return None
    if problem_of(engine, rule, before=version.rule):
        return None
    why = f"The catalogue says {engine.price.text} ({engine.price.as_of}); our price does not."
    return propose(engine.endpoint_id, rule, source=PriceProposal.Source.CATALOGUE, why=why)
