"""What a request is by both books: a pure table."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from generations.models import BillMatch
from generations.reconciliation.classes import Facts, judge

Kind = BillMatch.Kind
CLIP = Decimal("0.49")


def facts(fal_usd: str | None, **others: Any) -> Facts:
    return Facts(fal_usd=None if fal_usd is None else Decimal(fal_usd), **{"our_usd": CLIP} | others)


@pytest.mark.parametrize(
    ("given", "kind", "unexplained"),
    [
        (facts("0.49", is_captured=True), Kind.EXACT, "0"),
        (facts("0.490000001", is_captured=True), Kind.EXACT, "0"),
        (facts("0.54", is_captured=True), Kind.PRICE_DRIFT, "0.05"),
        (facts("0.40", is_captured=True), Kind.PRICE_DRIFT, "-0.09"),
        (facts("0", is_captured=True), Kind.PRICE_DRIFT, "-0.49"),
        (facts("0.49", is_listed=True), Kind.BILLED_FAILED, "0"),
        (facts("0.60", is_listed=True), Kind.BILLED_FAILED, "0.11"),
        (facts("0.49"), Kind.BILLED_FAILED, "0.49"),
        (facts("0"), Kind.EXACT, "0"),
        (facts(None, is_captured=True), Kind.OPEN, "0"),
        (facts(None, is_captured=True, is_missing=True), Kind.NOT_BILLED, "-0.49"),
        (facts(None, is_captured=True, is_missing=True, our_usd=Decimal(0)), Kind.EXACT, "0"),
        (facts("0.49", is_over=False), Kind.OPEN, "0"),
        (facts("0.49", is_ours=False), Kind.UNKNOWN, "0.49"),
    ],
)
def test_each_pair_of_books_has_its_class(given: Facts, kind: Kind, unexplained: str) -> None:
    assert judge(given) == (kind, Decimal(unexplained))


def test_a_failure_that_was_not_billed_is_no_row() -> None:
    assert judge(facts(None, is_listed=True)) is None
