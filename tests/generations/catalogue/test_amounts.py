"""The numbers of a rule: each is found with words for it, and changing one changes nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest

from generations import catalogue
from generations.catalogue import Engine

PRICED = [engine for engine in catalogue.engines() if engine.price.rule]


@pytest.mark.parametrize("engine", PRICED, ids=lambda engine: engine.slug)
def test_every_engine_is_priced_in_numbers_that_have_words_of_their_own(engine: Engine) -> None:
    found = catalogue.amounts(engine.price.rule)
    assert (
        len({amount.place for amount in found}) == len({amount.words for amount in found}) == len(found) > 0
    )


@pytest.mark.parametrize("engine", PRICED, ids=lambda engine: engine.slug)
def test_a_rule_with_its_own_numbers_is_the_same_rule_to_the_letter(engine: Engine) -> None:
    rule = engine.price.rule
    same = {amount.place: amount.value.normalize() for amount in catalogue.amounts(rule)}
    assert catalogue.with_amounts(rule, same) == rule


@pytest.mark.parametrize("engine", PRICED, ids=lambda engine: engine.slug)
def test_each_number_can_be_changed_alone(engine: Engine) -> None:
    rule = engine.price.rule
    for amount in catalogue.amounts(rule):
        dearer = catalogue.with_amounts(rule, {amount.place: amount.value + Decimal("0.5")})
        differ = [
            (was.place, now.value - was.value)
            for was, now in zip(catalogue.amounts(rule), catalogue.amounts(dearer), strict=True)
            if was != now
        ]
        assert differ == [(amount.place, Decimal("0.5"))]


def test_the_numbers_of_a_rule_with_everything_in_it() -> None:
    rule = {
        "quantity": {"kind": "blocks", "block_s": 5},
        "base_usd": "0.35",
        "included_quantity": 1,
        "rate": {"by": ["size"], "rows": [{"when": {"size": "720p"}, "usd": "0.1"}]},
        "multipliers": [{"when": {"fps60": True}, "times": "2"}],
    }
    assert [(each.words, str(each.value)) for each in catalogue.amounts(rule)] == [
        ("US dollars to begin with", "0.35"),
        ("Included in it, counted by the begun 5 s", "1"),
        ("US dollars per begun 5 s: size 720p", "0.1"),
        ("Times, with fps60 yes", "2"),
    ]
    twice = catalogue.with_amounts(rule, {"multipliers.0.times": Decimal("1E+1")})
    assert twice["multipliers"][0]["times"] == "10"
    assert rule["multipliers"] == [{"when": {"fps60": True}, "times": "2"}]
    with pytest.raises(catalogue.BadRule):
        catalogue.amounts({"rate": {}})
