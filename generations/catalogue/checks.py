"""What must hold between the fields of a data file; asked while loading, so nothing doubtful ever starts."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from generations.catalogue.errors import PriceError
from generations.catalogue.inputs import DERIVED, quote_params
from generations.catalogue.price import price_usd, rule_params
from generations.catalogue.reader import Table
from generations.catalogue.schema import Engine, Input, PictureLimits, Price, Scalar

FORMATS = {"jpeg", "png", "webp", "gif", "avif"}
WIDGET_TYPES: dict[str, set[str]] = {
    "text": {"string"},
    "textarea": {"string"},
    "choice": {"string"},
    "checkbox": {"boolean"},
    "number": {"number"},
    "integer": {"integer"},
    "picture": {"string"},
    "pictures": {"array"},
    "audio": {"string"},
    "video": {"string"},
    "videos": {"array"},
    "hidden": {"string", "integer", "number", "boolean", "array"},
}
WIDGETS_SHOWN = {
    "text",
    "textarea",
    "choice",
    "checkbox",
    "number",
    "integer",
    "picture",
}
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (),
}


def check_input(table: Table, field: Input) -> None:
    """Refuse an input whose widget, type, choices, bounds and defaults contradict each other."""
    if field.type not in WIDGET_TYPES[field.widget]:
        right = ", ".join(sorted(WIDGET_TYPES[field.widget]))
        table.refuse("widget", f"{field.widget} is for {right}, not for {field.type}.")
    if field.widget != "hidden" and bool(field.enum) != (field.widget == "choice"):
        table.refuse("enum", "belongs to a choice, and a choice needs one.")
    if field.labels and len(field.labels) != len(field.enum):
        table.refuse(
            "labels",
            f"must be one per value of enum ({len(field.enum)}), not {len(field.labels)}.",
        )
    _check_order(table, "max", field.min, field.max)
    _check_order(table, "max_length", field.min_length, field.max_length)
    for key in ("default", "fal_default"):
        _check_default(table, field, key, getattr(field, key))


def check_picture_limits(table: Table, limits: PictureLimits) -> None:
    if not limits.formats or not set(limits.formats) <= FORMATS:
        table.refuse(
            "formats",
            f"must name some of {', '.join(sorted(FORMATS))}, not {list(limits.formats)}.",
        )
    _check_order(table, "max_side_px", limits.min_side_px, limits.max_side_px)
    _check_order(table, "max_ratio", limits.min_ratio, limits.max_ratio)


def check_examples(table: Table, price: Price) -> None:
    """Recompute every worked example. `table` is the engine's price."""
    rule = price.rule
    if rule is None:
        if price.examples:
            table.refuse("examples", "cannot be worked without a rule.")
        return
    if not price.examples:
        table.refuse("examples", "is missing; write at least one worked price.")
    for index, example in enumerate(price.examples):
        field = f"examples[{index}]"
        if unread := sorted(set(example.params) - rule_params(rule)):
            table.refuse(
                f"{field}.params",
                f"names {', '.join(unread)}, which the rule does not read.",
            )
        try:
            usd = price_usd(rule, example.params)
        except PriceError as error:
            table.refuse(f"{field}.params", str(error))
        if usd != example.usd:
            table.refuse(f"{field}.usd", f"is {example.usd}, but the rule gives {usd:f}.")


def check_engine(table: Table, engine: Engine) -> None:
    """Refuse an engine that contradicts itself, and an orderable one that could be sent or priced wrongly."""
    if bool(engine.picture_inputs) != (engine.limits.picture is not None):
        table.refuse("pictures", "is for engines that take a picture, and those need it.")
    if engine.is_orderable == bool(engine.reason):
        table.refuse("reason", "says why an engine is not orderable, and only then.")
    if engine.is_orderable:
        _check_sendable(table, engine)
        _check_priced(table, engine)


def _check_sendable(table: Table, engine: Engine) -> None:
    if engine.result_path is None:
        table.refuse("result_path", "is missing; write where the clip's link is, like video.url.")
    if engine.prompt_max_chars is None:
        table.refuse(
            "inputs",
            "must have a prompt with a max_length; write ours if fal publishes none.",
        )
    for field in engine.offered_inputs:
        if field.widget in {"text", "textarea"} and field.max_length is None:
            table.refuse(
                "inputs",
                f"{field.name} needs a max_length; write ours if fal publishes none.",
            )
        if field.widget not in WIDGETS_SHOWN:
            table.refuse(
                "inputs",
                f"{field.name} is a {field.widget}, which the studio cannot show; hide it.",
            )
    for field in engine.inputs:
        if field.required and not field.is_offered and field.default is None:
            table.refuse(
                "inputs",
                f"{field.name} is required by fal, yet hidden and without a default.",
            )


def _check_priced(table: Table, engine: Engine) -> None:
    rule = engine.price.rule
    if rule is None:
        table.refuse(
            "price.rule",
            "is missing; an engine without a known price is not orderable.",
        )
    for name in sorted(rule_params(rule)):
        field = engine.input(name)
        if field is None and name not in DERIVED:
            table.refuse(
                "price.rule",
                f"reads {name}, neither an input of this engine nor derived from one.",
            )
        if field is not None and field.default is None and not field.required:
            table.refuse(
                "price.rule",
                f"reads {name}, which needs a default so that it is always sent.",
            )
    for params in _combinations(engine, rule):
        try:
            usd = price_usd(rule, quote_params(engine, params))
        except PriceError as error:
            table.refuse("price.rule", str(error))
        if usd <= 0:
            table.refuse("price.rule", f"makes it free for {params}.")


def _combinations(engine: Engine, rule: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Every choice of the inputs that the rule reads; a number stands for all by its default and its bounds."""
    fields = [field for field in engine.inputs if field.name in rule_params(rule)]
    for values in product(*(_values(field) for field in fields)):
        yield {field.name: value for field, value in zip(fields, values, strict=True) if value is not None}


def _values(field: Input) -> tuple[object, ...]:
    if field.type == "boolean":
        return (False, True)
    return field.enum or (field.default, field.min, field.max)


def _check_order(table: Table, key: str, low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        table.refuse(key, f"must not be less than the lower bound, {low:g}; it is {high:g}.")


def _check_default(table: Table, field: Input, key: str, value: Scalar | None) -> None:
    if value is None:
        return
    if type(value) not in PYTHON_TYPES[field.type]:
        table.refuse(key, f"must be of type {field.type}, not {value!r}.")
    if field.enum and value not in field.enum:
        table.refuse(key, f"must be one of {', '.join(field.enum)}, not {value!r}.")
    if isinstance(value, str):
        _check_order(table, key, len(value), field.max_length)
    else:
        _check_order(table, key, field.min, value)
        _check_order(table, key, value, field.max)
