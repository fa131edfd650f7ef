"""What each request is, by fal's books and ours together: decided from rows alone, as often as one likes.

Explained is what a capture paid for, at the price that was agreed, and what a failure may have cost that we knew fal
may bill (a 422, a request we gave up or asked fal to stop), up to the price of a success. All else is unexplained.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from accounts import clock
from generations import catalogue
from generations.models import Attempt, BillMatch, Generation, LateClip
from generations.reconciliation import bills
from generations.states import AttemptState, State

Kind = BillMatch.Kind
# A bill may follow its request by hours; until then its absence says nothing.
GRACE = timedelta(hours=24)
# Less than fal's smallest rate: what differs by no more was rounded.
TOLERANCE_USD = Decimal("0.000001")
NOTHING = Decimal(0)
CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Facts:
    """`fal_usd` None where nothing was billed; `is_missing` once fal was asked for the bill when it was overdue."""

    fal_usd: Decimal | None
    our_usd: Decimal = NOTHING
    is_ours: bool = True
    is_over: bool = True
    is_captured: bool = False
    is_listed: bool = False
    is_missing: bool = False


def judge(facts: Facts) -> tuple[Kind, Decimal] | None:
    """The class and the unexplained US dollars, negative where fal took less; None for what neither book has."""
    if not facts.is_ours:
        return Kind.UNKNOWN, facts.fal_usd or NOTHING
    if not facts.is_over:
        return Kind.OPEN, NOTHING
    if facts.is_captured:
        return _captured(facts)
    if facts.fal_usd is None:
        return None
    if facts.fal_usd == 0:
        return Kind.EXACT, NOTHING
    explained = min(facts.fal_usd, facts.our_usd) if facts.is_listed else NOTHING
    return Kind.BILLED_FAILED, _beyond_rounding(facts.fal_usd - explained)


def _captured(facts: Facts) -> tuple[Kind, Decimal]:
    if facts.fal_usd is None and facts.our_usd > 0:
        return (Kind.NOT_BILLED, -facts.our_usd) if facts.is_missing else (Kind.OPEN, NOTHING)
    difference = _beyond_rounding((facts.fal_usd or NOTHING) - facts.our_usd)
    return (Kind.PRICE_DRIFT if difference else Kind.EXACT), difference


def _beyond_rounding(difference: Decimal) -> Decimal:
    return difference if abs(difference) > TOLERANCE_USD else NOTHING


def classify(request_ids: Iterable[str]) -> int:
    """Make the rows of these requests say what the books say now; how many changed."""
    ids = sorted(set(request_ids) - {""})
    return sum(_classify(ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK))


def _classify(ids: list[str]) -> int:
    with transaction.atomic():
        bills.lock()
        taken = bills.taken(ids)
        attempts = {each.request_id: each for each in _attempts(ids)}
        known = {row.request_id: row for row in BillMatch.objects.filter(request_id__in=ids)}
        return sum(
            _write(known.get(each), _row(each, taken.get(each), attempts.get(each), known.get(each)))
            for each in ids
        )


def _attempts(ids: list[str]) -> Iterable[Attempt]:
    rows = Attempt.objects.filter(request_id__in=ids)
    return rows.select_related("generation__price_version", "late_clip")


def _row(
    request_id: str, taken: bills.Taken | None, attempt: Attempt | None, known: BillMatch | None
) -> BillMatch | None:
    happened_at = (
        taken.first_billed_at if taken else (attempt.ended_at or attempt.sent_at) if attempt else None
    )
    if happened_at is None:
        return None
    verdict = judge(_facts(taken, attempt, asked_at=known.asked_at if known else None))
    if verdict is None:
        return None
    kind, unexplained = verdict
    return BillMatch(
        request_id=request_id,
        attempt=attempt,
        endpoint_id=attempt.generation.engine if attempt else taken.endpoint_id if taken else "",
        kind=kind,
        fal_usd=taken.cost_usd if taken else None,
        our_usd=price_of(attempt.generation) if attempt else NOTHING,
        unexplained_usd=unexplained,
        happened_at=happened_at,
    )


def _facts(taken: bills.Taken | None, attempt: Attempt | None, *, asked_at: datetime | None) -> Facts:
    cost = taken.cost_usd if taken else None
    if attempt is None:
        return Facts(fal_usd=cost, is_ours=False)
    generation = attempt.generation
    is_done = attempt.state == AttemptState.DONE
    late = getattr(attempt, "late_clip", None)
    ended_at = attempt.ended_at or attempt.sent_at
    return Facts(
        fal_usd=cost,
        our_usd=price_of(generation),
        is_over=not attempt.is_open and (generation.is_settled or not is_done),
        is_captured=(is_done and generation.state == State.SUCCEEDED)
        or (late is not None and late.state == LateClip.State.KEPT),
        is_listed=is_done or attempt.is_maybe_billed or attempt.cancel_sent_at is not None,
        is_missing=asked_at is not None and asked_at >= ended_at + GRACE,
    )


def price_of(generation: Generation) -> Decimal:
    """US dollars by the price version it was ordered at, before any rounding to credits."""
    facts = dict(generation.inputs)
    entry = generation.catalogue_entry
    if entry is not None:
        facts = catalogue.quote_params(entry, facts)
    try:
        exact = catalogue.price_usd(generation.price_version.rule, facts)
    except catalogue.PriceError:
        # The engine has been withdrawn with what its rule read; the quote is the price, rounded up to a credit.
        exact = Decimal(generation.quote_credits) / settings.CREDITS_PER_USD
    return exact.quantize(bills.NANO)


SAID = ("attempt_id", "endpoint_id", "kind", "fal_usd", "our_usd", "unexplained_usd", "happened_at")


def _write(known: BillMatch | None, wanted: BillMatch | None) -> bool:
    if wanted is None:
        # Neither book has it (any more): an attempt that failed, and no bill.
        return bool(known and known.delete())
    if known is None:
        wanted.save(force_insert=True)
        return True
    changed = {name: getattr(wanted, name) for name in SAID if getattr(known, name) != getattr(wanted, name)}
    if changed:
        BillMatch.objects.filter(pk=known.pk).update(changed_at=clock.now(), **changed)
    return bool(changed)
