"""One pure evaluator for every price shape fal uses.

A rule is a plain dict, so that it can be stored in a price version and evaluated again years later:

    price = base_usd + rate * multipliers * max(0, quantity - included_quantity)

- `quantity.kind`: `one`; `seconds` (of `param`: "6", "8s", 8); `frames_per_16` (of `param`);
  `megapixel_frames` (`out_width` * `out_height` * `frames` / 1,000,000); `measured_seconds` (`seconds`, probed
  from the clip); `compute_seconds` (known only after fal ran it); `blocks` (of `block_s` seconds; a begun block
  counts).
- `rate`: one `usd`, or `rows` that say `usd` for values of the parameters in `by`; the first match wins.
- `multipliers`: each whose `when` holds multiplies the rate by `times`.
- `assume`: values for facts that are not inputs and are usually so ("voice_control": false).

Dollars are Decimals from strings; a float never takes part in a sum. Everything odd raises a `PriceError`.
"""

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Context, Decimal, localcontext
from typing import Any

from generations.catalogue.errors import BadFact, BadRule, MissingFact, PriceError, UnknownRow

Rule = Mapping[str, Any]
Facts = Mapping[str, object]

ONE = Decimal(1)
MAX_DIGITS = 12
LARGEST_FACT = Decimal(10) ** MAX_DIGITS
EXACT = Context(prec=80)  # more digits than any product of sane facts, so nothing is rounded before the end
NUMBER = re.compile(r"\d{1,13}(\.\d{1,12})?s?", re.ASCII)  # "6", "8s", "7.5"

RULE_KEYS = {
    "quantity",
    "rate",
    "base_usd",
    "included_quantity",
    "multipliers",
    "assume",
}
QUANTITY_KEYS = {
    "one": set[str](),
    "seconds": {"param"},
    "frames_per_16": {"param"},
    "megapixel_frames": set[str](),
    "measured_seconds": set[str](),
    "compute_seconds": set[str](),
    "blocks": {"block_s"},
}
QUANTITY_FACTS = {
    "megapixel_frames": ("out_width", "out_height", "frames"),
    "measured_seconds": ("seconds",),
    "compute_seconds": ("compute_seconds",),
    "blocks": ("seconds",),
}


def price_usd(rule: Rule, params: Facts) -> Decimal:
    """US dollars for a request with these parameters (defaults already applied). Raises `PriceError`."""
    check_rule(rule)
    facts = {**rule.get("assume", {}), **params}
    with localcontext(EXACT):
        billed = max(
            Decimal(0),
            _quantity(rule["quantity"], facts) - _amount(rule.get("included_quantity", 0)),
        )
        return _amount(rule.get("base_usd", 0)) + _rate(rule, facts) * billed


def quote_credits(rule: Rule, params: Facts, *, credits_per_usd: int) -> int:
    """Whole credits: the exact dollars times `credits_per_usd`, rounded up once. Raises `PriceError`."""
    if isinstance(credits_per_usd, bool) or not isinstance(credits_per_usd, int) or credits_per_usd < 1:
        raise PriceError(f"credits_per_usd must be a whole number of 1 or more, not {credits_per_usd!r}.")
    with localcontext(EXACT):
        exact = price_usd(rule, params) * credits_per_usd
        return int(exact.to_integral_value(rounding=ROUND_CEILING))


def rule_params(rule: Rule) -> frozenset[str]:
    """The names of every parameter the rule may read. Raises `BadRule`."""
    check_rule(rule)
    quantity = rule["quantity"]
    names = set(QUANTITY_FACTS.get(quantity["kind"], ()))
    names |= {quantity["param"]} if "param" in quantity else set()
    names |= set(rule["rate"].get("by", ()))
    return frozenset(names.union(*(each["when"] for each in rule.get("multipliers", ()))))


def check_rule(rule: Rule) -> None:
    """Raise `BadRule`, naming the place, unless the rule can be evaluated."""
    _keys(rule, "rule", needed={"quantity", "rate"}, allowed=RULE_KEYS)
    _check_quantity(rule["quantity"])
    _check_rate(rule["rate"])
    for key in ("base_usd", "included_quantity"):
        _check_amount(rule.get(key, 0), key)
    _check_list(rule.get("multipliers", []), "multipliers", _check_multiplier)
    _check_when(rule.get("assume", {}), "assume")


def _check_quantity(quantity: object) -> None:
    table = _keys(
        quantity,
        "quantity",
        needed={"kind"},
        allowed={"kind", "param", "default", "block_s"},
    )
    if table["kind"] not in QUANTITY_KEYS:
        raise BadRule(
            f"must be one of {', '.join(QUANTITY_KEYS)}, not {table['kind']!r}.",
            field="quantity.kind",
        )
    needed = QUANTITY_KEYS[table["kind"]]
    optional = {"default"} if "param" in needed else set()
    _keys(table, "quantity", needed=needed, allowed={"kind"} | needed | optional)
    if "param" in needed and not (isinstance(table["param"], str) and table["param"]):
        raise BadRule("must be the name of a parameter.", field="quantity.param")
    if "block_s" in needed:
        _check_amount(table["block_s"], "quantity.block_s", is_positive=True)


def _check_rate(rate: object) -> None:
    table = _keys(rate, "rate", needed=set(), allowed={"usd", "by", "rows"})
    if ("usd" in table) == ("rows" in table):
        raise BadRule("must have either usd (one price) or by and rows (a table).", field="rate")
    if "usd" in table:
        _keys(table, "rate", needed={"usd"}, allowed={"usd"})
        _check_amount(table["usd"], "rate.usd")
        return
    by = table.get("by")
    if not isinstance(by, list) or not by or not all(isinstance(name, str) for name in by):
        raise BadRule("must list the parameters that the rows speak of.", field="rate.by")
    if not table["rows"]:
        raise BadRule("must have at least one row.", field="rate.rows")
    _check_list(
        table["rows"],
        "rate.rows",
        lambda row, field: _check_row(row, field, by=set(by)),
    )


def _check_row(row: object, field: str, *, by: set[str]) -> None:
    table = _keys(row, field, needed={"when", "usd"}, allowed={"when", "usd"})
    _check_when(table["when"], f"{field}.when")
    if not table["when"] or not set(table["when"]) <= by:
        raise BadRule(
            f"must speak of {', '.join(sorted(by))} and of nothing else.",
            field=f"{field}.when",
        )
    _check_amount(table["usd"], f"{field}.usd")


def _check_multiplier(multiplier: object, field: str) -> None:
    table = _keys(multiplier, field, needed={"when", "times"}, allowed={"when", "times"})
    _check_when(table["when"], f"{field}.when")
    _check_amount(table["times"], f"{field}.times", is_positive=True)


def _check_when(when: object, field: str) -> None:
    if not isinstance(when, Mapping):
        raise BadRule("must be a table of parameter = value.", field=field)
    for name, value in when.items():
        if not isinstance(value, str | int):
            raise BadRule(
                "must be a string, a whole number, true or false.",
                field=f"{field}.{name}",
            )


def _check_list(values: object, field: str, check: Callable[[object, str], None]) -> None:
    if not isinstance(values, list):
        raise BadRule("must be a list of tables.", field=field)
    for index, value in enumerate(values):
        check(value, f"{field}[{index}]")


def _check_amount(value: object, field: str, *, is_positive: bool = False) -> None:
    try:
        amount = _amount(value)
    except ValueError:
        raise BadRule(f'must be an amount in quotes, like "0.49", not {value!r}.', field=field) from None
    if is_positive and not amount:
        raise BadRule("must be more than 0.", field=field)


def _keys(value: object, field: str, *, needed: set[str], allowed: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadRule(f"must be a table, not {value!r}.", field=field)
    for key in sorted(needed - set(value)):
        raise BadRule("is missing.", field=f"{field}.{key}")
    for key in sorted(set(value) - allowed):
        raise BadRule(
            f"is not known here; known: {', '.join(sorted(allowed))}.",
            field=f"{field}.{key}",
        )
    return value


def _amount(value: object) -> Decimal:
    """An amount written in a rule. ValueError unless it is a plain number of 0 or more, within reason."""
    text = _digits(value)
    if not NUMBER.fullmatch(text) or text.endswith("s"):
        raise ValueError(value)
    return Decimal(text)


def _digits(value: object) -> str:
    """A number as written (str(0.49) is "0.49", so a float from JSON is exact); "" for anything else."""
    if isinstance(value, Decimal):
        is_sane = value.is_finite() and abs(value.adjusted()) <= MAX_DIGITS
        return format(value, "f") if is_sane else ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return "" if isinstance(value, int) and value > LARGEST_FACT else str(value)


def _quantity(quantity: Mapping[str, Any], facts: Facts) -> Decimal:
    match quantity["kind"]:
        case "one":
            return ONE
        case "seconds":
            return _fact(facts, quantity["param"], quantity.get("default"))
        case "frames_per_16":
            return _fact(facts, quantity["param"], quantity.get("default")) / 16
        case "megapixel_frames":
            return _fact(facts, "out_width") * _fact(facts, "out_height") * _fact(facts, "frames") / 1_000_000
        case "blocks":
            blocks = _fact(facts, "seconds") / _amount(quantity["block_s"])
            return blocks.to_integral_value(rounding=ROUND_CEILING)
        case kind:
            return _fact(facts, QUANTITY_FACTS[kind][0])


def _fact(facts: Facts, name: str, default: object = None) -> Decimal:
    value = facts.get(name, default)
    if value is None:
        why = " (known only after fal has run it)" if name == "compute_seconds" else ""
        raise MissingFact(f"The price depends on {name}{why}, which is not given.")
    text = _digits(value)
    if not NUMBER.fullmatch(text):
        raise BadFact(f"{name} must be a number above 0, like 6, not {_shown(value)}.")
    amount = Decimal(text.removesuffix("s"))
    if not 0 < amount <= LARGEST_FACT:
        raise BadFact(f"{name} must be more than 0 and at most {LARGEST_FACT:,f}, not {value!r}.")
    return amount


def _shown(value: object) -> str:
    return "a number that long" if isinstance(value, int) and abs(value) > LARGEST_FACT else repr(value)[:60]


def _rate(rule: Rule, facts: Facts) -> Decimal:
    usd = _amount(rule["rate"]["usd"]) if "usd" in rule["rate"] else _row_usd(rule["rate"], facts)
    for multiplier in rule.get("multipliers", ()):
        if _holds(multiplier["when"], facts):
            usd *= _amount(multiplier["times"])
    return usd


def _row_usd(rate: Mapping[str, Any], facts: Facts) -> Decimal:
    for row in rate["rows"]:
        if _holds(row["when"], facts):
            return _amount(row["usd"])
    given = ", ".join(f"{name}={facts.get(name)}" for name in rate["by"])
    known = "; ".join(
        ", ".join(f"{name}={value}" for name, value in row["when"].items()) for row in rate["rows"]
    )
    raise UnknownRow(f"There is no price for {given}. There is one for: {known}.")


def _holds(when: Mapping[str, Any], facts: Facts) -> bool:
    for name, value in when.items():
        if name not in facts:
            raise MissingFact(f"The price depends on {name}, which is not given.")
        # The types count: True == 1 in Python, and a rate must not be found by that accident.
        if type(facts[name]) is not type(value) or facts[name] != value:
            return False
    return True
