"""Worked examples of a price: what an engine's typical inputs cost under the rule in force and under another. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice, product
from typing import Any

from django.conf import settings

from generations import catalogue
from generations.catalogue import Engine, Input

Rule = Mapping[str, Any]
MOST_EXAMPLES = 64


@dataclass(frozen=True)
class Example:
    """One typical input with its price in dollars and whole credits, before and after; None where there is none."""

    params: dict[str, object]
    usd_before: Decimal | None
    usd_after: Decimal | None
    credits_before: int | None
    credits_after: int | None

    @property
    def words(self) -> str:
        """ "duration 10, resolution 720p"."""
        return catalogue.words_of(self.params) or "any input"

    @property
    def change(self) -> float | None:
        """By how many per cent the credits change."""
        if self.credits_before is None or self.credits_after is None or not self.credits_before:
            return None
        return 100 * (self.credits_after - self.credits_before) / self.credits_before


def worked(engine: Engine, before: Rule | None, after: Rule) -> list[Example]:
    """Every combination of the choices that either rule reads, at most `MOST_EXAMPLES`, and the catalogue's examples.

    Raises `catalogue.BadRule` for a rule that cannot be evaluated at all.
    """
    rules = [rule for rule in (before, after) if rule is not None]
    names = set[str]().union(*(catalogue.rule_params(rule) for rule in rules))
    found = [_example(engine, params, before, after) for params in _typical(engine, names)]
    return [each for each in found if (each.usd_before, each.usd_after) != (None, None)]


def problem_of(engine: Engine, rule: Rule, *, before: Rule | None = None) -> str:
    """Why this rule cannot be an engine's price, in one sentence; "" if it can.

    An engine that may be ordered needs a price of at least a credit for everything its form offers and that has one
    now: a rule that forgets a choice would refuse orders.
    """
    try:
        examples = worked(engine, before, rule)
    except catalogue.BadRule as error:
        return str(error)
    for each in examples:
        if each.credits_after is None:
            return f"There is no price for {each.words}, which {engine.label} offers."
        if not each.credits_after and engine.is_orderable:
            return f"For {each.words} it comes to no credits at all."
    return "" if examples else f"It prices nothing that {engine.label} offers."


def price(engine: Engine, rule: Rule, raw: Mapping[str, object]) -> tuple[Decimal, int] | None:
    """Dollars and whole credits for inputs by name; None where the rule has no price for them."""
    try:
        facts = catalogue.quote_facts(engine, raw, rule=rule)
        usd = catalogue.price_usd(rule, facts)
        return usd, catalogue.quote_credits(rule, facts, credits_per_usd=settings.CREDITS_PER_USD)
    except catalogue.CatalogueError:
        return None


def _example(engine: Engine, params: dict[str, object], before: Rule | None, after: Rule) -> Example:
    was = price(engine, before, _read_by(engine, before, params)) if before is not None else None
    will = price(engine, after, _read_by(engine, after, params))
    return Example(
        params=params,
        usd_before=was[0] if was else None,
        usd_after=will[0] if will else None,
        credits_before=was[1] if was else None,
        credits_after=will[1] if will else None,
    )


def _read_by(engine: Engine, rule: Rule, params: Mapping[str, object]) -> dict[str, object]:
    """Without facts that only the other rule reads: `quote_facts` refuses names it cannot place."""
    known = catalogue.rule_params(rule)
    return {name: value for name, value in params.items() if name in known or engine.input(name)}


def _typical(engine: Engine, names: set[str]) -> Iterator[dict[str, object]]:
    fields = [field for field in engine.offered_inputs if field.name in names and not field.is_picture]
    choices = [[(field.name, value) for value in _values(field)] for field in fields]
    combined: list[dict[str, object]] = [dict(each) for each in product(*choices)] if fields else []
    given: list[dict[str, object]] = [dict(example.params) for example in engine.price.examples]
    yield from islice(_distinct([*combined, *given] or [{}]), MOST_EXAMPLES)


def _values(field: Input) -> list[object]:
    if field.enum:
        return list(field.enum)
    if field.type == "boolean":
        return [False, True]
    bounds = [field.default, field.min, field.max]
    values = [value for value in bounds if value is not None]
    return [int(v) if isinstance(v, float) and v.is_integer() else v for v in dict.fromkeys(values)] or [None]


def _distinct(rows: Iterable[dict[str, object]]) -> Iterator[dict[str, object]]:
    """Each once, by what is in it; a row whose every fact is in another is left to that other."""
    seen: list[dict[str, object]] = []
    for row in rows:
        if not any(_same(row, other) for other in seen):
            seen.append(row)
            yield row


def _same(row: dict[str, object], other: dict[str, object]) -> bool:
    return all(name in other and str(other[name]) == str(value) for name, value in row.items())
