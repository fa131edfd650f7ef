"""The engines as data, one reviewed TOML file per vendor in `data/`, and the pure code that reads them.

`schema` says what an engine is, `loader` reads and checks the files, `inputs` turns a form into what fal is
sent, `pictures` checks a picture against an engine, `price` evaluates any price rule, `amounts` are the numbers
in one. No Django, no database, no network.

How to add an engine (no code needed):

1. Open its vendor's file in `data/`, or start one with `vendor` and `position` (its place in the picker).
2. Describe each new field of the request once under `[inputs.<key>]`, as fal's OpenAPI page has it: name
   (if it differs from the key), type, widget, default, enum, bounds, help. Picture limits go under
   `[pictures.<key>]`. Field names must be fal's own; `duration` is spelt three ways over there ("6", "8s",
   8).
3. Add `[[engines]]` with the endpoint id, one plain sentence for `summary`, the keys of its inputs, what
   comes out and the price: the rule (shapes in `price`), amounts in quotes, at least one worked example per
   row you can find, where the price was read and when. Leave `is_orderable = false` with a `reason` until
   all of it is known.
4. Run the tests of this room: loading names the file, the engine and the field that is wrong; every example
   is recomputed; every combination of choices of an orderable engine must have a price.

A price in a file is what a new price version starts from; what is charged is always the price version in
force.
"""

from difflib import get_close_matches
from functools import cache
from pathlib import Path

from generations.catalogue.amounts import Amount, amounts, with_amounts, words_of
from generations.catalogue.errors import (
    BadFact,
    BadRule,
    BrokenCatalogue,
    CatalogueError,
    InvalidInputs,
    MissingFact,
    PriceError,
    UnknownEngine,
    UnknownRow,
)
from generations.catalogue.inputs import clean, quote_facts, quote_params
from generations.catalogue.loader import load
from generations.catalogue.pictures import check_picture, fitting_sides
from generations.catalogue.price import check_rule, price_usd, quote_credits, rule_params
from generations.catalogue.schema import Engine, Input, Limits, PictureLimits, Price, PriceExample, Timing

__all__ = [
    "Amount",
    "BadFact",
    "BadRule",
    "BrokenCatalogue",
    "CatalogueError",
    "Engine",
    "Input",
    "InvalidInputs",
    "Limits",
    "MissingFact",
    "PictureLimits",
    "Price",
    "PriceError",
    "PriceExample",
    "Timing",
    "UnknownEngine",
    "UnknownRow",
    "amounts",
    "check_picture",
    "check_rule",
    "clean",
    "describe_price",
    "engines",
    "find",
    "fitting_sides",
    "get",
    "orderable",
    "price_usd",
    "quote_credits",
    "quote_facts",
    "quote_params",
    "rule_params",
    "with_amounts",
    "words_of",
]

DATA = Path(__file__).parent / "data"
MAX_NEAR = 6


@cache
def engines() -> tuple[Engine, ...]:
    """Every engine we know, in the picker's order. Raises `BrokenCatalogue` naming file, engine and field."""
    return load(DATA)


@cache
def orderable() -> tuple[Engine, ...]:
    """The engines members may order."""
    return tuple(engine for engine in engines() if engine.is_orderable)


def get(endpoint_id: str) -> Engine:
    """The engine with exactly this endpoint id. Raises `UnknownEngine`."""
    try:
        return _by_id()[endpoint_id]
    except KeyError:
        raise UnknownEngine(endpoint_id, near=_near(endpoint_id)) from None


def find(text: str) -> Engine:
    """The engine a person means: its id, its slug, or any part that fits only one. Raises `UnknownEngine`."""
    wanted = text.strip().lower()
    exact = [engine for engine in engines() if wanted in {engine.endpoint_id.lower(), engine.slug.lower()}]
    partial = [engine for engine in engines() if wanted and wanted in engine.endpoint_id.lower()]
    matches = exact or partial
    if len(matches) == 1:
        return matches[0]
    if matches:
        near = [engine.endpoint_id for engine in matches[:MAX_NEAR]]
        raise UnknownEngine(text, near=near, is_ambiguous=True)
    raise UnknownEngine(text, near=_near(wanted))


def describe_price(engine: Engine) -> str:
    """The price in dollars as a phrase: "$0.49 per video"."""
    return engine.price.text


@cache
def _by_id() -> dict[str, Engine]:
    return {engine.endpoint_id: engine for engine in engines()}


def _near(wanted: str) -> list[str]:
    names = {name: engine.endpoint_id for engine in engines() for name in (engine.slug, engine.label.lower())}
    close = get_close_matches(wanted.lower().removeprefix("fal-ai/"), names, n=MAX_NEAR, cutoff=0.5)
    return list(dict.fromkeys(names[name] for name in close))
