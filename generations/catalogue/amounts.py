"""The amounts written in a price rule: what changes when a price does while its shape stays. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from generations.catalogue.price import Rule, check_rule

UNITS = {
    "one": "clip",
    "seconds": "second",
    "frames_per_16": "16 frames",
    "megapixel_frames": "megapixel of a frame",
    "measured_seconds": "second of the clip",
    "compute_seconds": "second of computing",
}


@dataclass(frozen=True)
class Amount:
    """One number of a rule; `place` leads to it ("rate.rows.1.usd")."""

    place: str
    words: str
    value: Decimal


def amounts(rule: Rule) -> list[Amount]:
    """Every amount of a rule, in the order of its evaluation. Raises `BadRule`."""
    check_rule(rule)
    return [Amount(place, words, Decimal(str(_at(rule, place)))) for place, words in _places(rule)]


def with_amounts(rule: Rule, values: Mapping[str, Decimal]) -> dict[str, Any]:
    """The same rule with other amounts, by place; one that is the same number stays as it was written."""
    made = deepcopy(dict(rule))
    for amount in amounts(rule):
        value = values.get(amount.place, amount.value)
        if value != amount.value:
            holder, _, key = amount.place.rpartition(".")
            _at(made, holder)[key] = format(value, "f")
    return made


def words_of(params: Mapping[str, object]) -> str:
    """ "duration 10, generate_audio yes"."""
    return ", ".join(f"{name} {_word(value)}" for name, value in params.items())


def _places(rule: Rule) -> Iterator[tuple[str, str]]:
    quantity, rate = rule["quantity"], rule["rate"]
    unit = UNITS.get(quantity["kind"]) or f"begun {quantity['block_s']} s"
    if "base_usd" in rule:
        yield "base_usd", "US dollars to begin with"
    if "included_quantity" in rule:
        yield "included_quantity", f"Included in it, counted by the {unit}"
    if "usd" in rate:
        yield "rate.usd", f"US dollars per {unit}"
    for index, row in enumerate(rate.get("rows", ())):
        yield f"rate.rows.{index}.usd", f"US dollars per {unit}: {words_of(row['when'])}"
    for index, each in enumerate(rule.get("multipliers", ())):
        yield f"multipliers.{index}.times", f"Times, with {words_of(each['when'])}"


def _at(rule: Any, place: str) -> Any:
    for step in filter(None, place.split(".")):
        rule = rule[int(step) if step.isdecimal() else step]
    return rule


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
