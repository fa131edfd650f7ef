"""From the vendors' files to engines; what is doubtful is refused with its file, engine and field."""

import json
import tomllib
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from generations.catalogue.checks import check_engine, check_examples, check_input, check_picture_limits
from generations.catalogue.errors import BadRule, BrokenCatalogue
from generations.catalogue.price import NUMBER, check_rule
from generations.catalogue.reader import Table
from generations.catalogue.schema import (
    Confidence,
    Engine,
    Input,
    InputType,
    Kind,
    Limits,
    PictureLimits,
    Price,
    PriceAlternative,
    PriceExample,
    Role,
    Timing,
    Widget,
)


def load(directory: Path) -> tuple[Engine, ...]:
    """Every engine of every `*.toml` in `directory`, by each file's `position`, then in the file's own order.

    Raises `BrokenCatalogue`.
    """
    seen: dict[str, str] = {}
    files = sorted(
        (_read(path, seen=seen) for path in sorted(directory.glob("*.toml"))),
        key=itemgetter(0),
    )
    engines = tuple(engine for _, found in files for engine in found)
    if not engines:
        raise BrokenCatalogue(
            "has no engines; put a vendor's file there.",
            file=directory.name,
            engine="",
            field="",
        )
    return engines


def _read(path: Path, *, seen: dict[str, str]) -> tuple[int, list[Engine]]:
    try:
        top = Table(tomllib.loads(path.read_text("utf-8")), file=path.name)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BrokenCatalogue(f"is not TOML: {error}", file=path.name, engine="", field="") from error
    vendor, position = top.text("vendor"), top.whole("position")
    if position is None:
        top.refuse(
            "position",
            "is missing; write this vendor's place in the picker, a whole number.",
        )
    fields, pictures = top.table("inputs"), top.table("pictures")
    inputs = {key: _input(fields.table(key), key) for key in fields.names()}
    limits = {key: _picture_limits(pictures.table(key)) for key in pictures.names()}
    engines = []
    for table in top.tables("engines", engine_key="id"):
        engine = _engine(table, vendor=vendor, inputs=inputs, pictures=limits)
        if engine.endpoint_id in seen:
            table.refuse("id", f"is already described in {seen[engine.endpoint_id]}.")
        seen[engine.endpoint_id] = path.name
        engines.append(engine)
    top.close()
    return position, engines


def _input(table: Table, key: str) -> Input:
    name = table.text_or("name", key)
    field = Input(
        name=name,
        type=table.one_of("type", get_args(InputType)),
        widget=table.one_of("widget", get_args(Widget)),
        label=table.text_or("label", name.removesuffix("_url").replace("_", " ").capitalize()),
        help=table.text("help"),
        required=table.flag("required", False),
        default=table.scalar("default"),
        fal_default=table.scalar("fal_default"),
        enum=table.texts("enum"),
        labels=table.texts("labels"),
        min=table.number("min"),
        max=table.number("max"),
        step=table.number("step"),
        min_length=table.whole("min_length"),
        max_length=table.whole("max_length"),
        min_items=table.whole("min_items"),
        is_advanced=table.flag("is_advanced", False),
    )
    table.close()
    check_input(table, field)
    return field


def _picture_limits(table: Table) -> PictureLimits:
    limits = PictureLimits(
        formats=table.texts("formats"),
        max_bytes=table.whole("max_bytes"),
        min_side_px=table.whole("min_side_px"),
        max_side_px=table.whole("max_side_px"),
        min_ratio=table.number("min_ratio"),
        max_ratio=table.number("max_ratio"),
        notes=table.text_or("notes", ""),
    )
    table.close()
    check_picture_limits(table, limits)
    return limits


def _engine(
    table: Table,
    *,
    vendor: str,
    inputs: dict[str, Input],
    pictures: dict[str, PictureLimits],
) -> Engine:
    engine = Engine(
        endpoint_id=table.text("id"),
        title=table.text("title"),
        vendor=vendor,
        family=table.text("family"),
        tier=table.text_or("tier", ""),
        kind=table.one_of("kind", get_args(Kind)),
        role=table.one_of("role", get_args(Role)),
        is_orderable=table.flag("is_orderable"),
        reason=table.text_or("reason", ""),
        summary=table.text("summary"),
        inputs=_named(table, "inputs", inputs),
        limits=_limits(table, pictures),
        timing=_timing(table),
        price=_price(table.table("price")),
        result_path=table.text_or("result_path", "") or None,
    )
    table.close()
    check_engine(table, engine)
    return engine


def _named(table: Table, key: str, known: dict[str, Input]) -> tuple[Input, ...]:
    names = table.texts(key)
    for name in names:
        if name not in known:
            table.refuse(
                key,
                f"{name!r} is not described under [inputs] of this file; known: {', '.join(known)}.",
            )
    fields = tuple(known[name] for name in names)
    if len({field.name for field in fields}) != len(fields) or not fields:
        table.refuse(key, "must name at least one input, and none twice.")
    return fields


def _limits(table: Table, pictures: dict[str, PictureLimits]) -> Limits:
    key = table.text_or("pictures", "")
    if key and key not in pictures:
        table.refuse("pictures", f"{key!r} is not described under [pictures] of this file.")
    output = table.table("output")
    limits = Limits(
        durations_seconds=output.wholes("durations_seconds"),
        max_duration_seconds=output.number("max_duration_seconds"),
        resolutions=output.texts("resolutions"),
        aspect_ratios=output.texts("aspect_ratios"),
        fps=output.whole("fps"),
        audio=output.text("audio"),
        picture=pictures.get(key),
        notes=output.text_or("notes", ""),
    )
    output.close()
    return limits


def _timing(table: Table) -> Timing:
    timing = table.table("timing")
    result = Timing(
        typical_seconds=timing.span("typical_seconds"),
        peak_seconds=timing.span("peak_seconds"),
        source=timing.text_or("source", ""),
    )
    timing.close()
    return result


def _price(table: Table) -> Price:
    price = Price(
        text=table.text("text"),
        rule_json=_rule(table),
        examples=tuple(_example(example) for example in table.tables("examples")),
        source=table.text("source"),
        as_of=table.text("as_of"),
        confidence=table.one_of("confidence", get_args(Confidence)),
        alternatives=tuple(_alternative(other) for other in table.tables("alternatives")),
        notes=table.text_or("notes", ""),
    )
    table.close()
    check_examples(table, price)
    return price


def _rule(table: Table) -> str | None:
    text = table.json_or_none("rule")
    if text is not None:
        rule = json.loads(text)
        _check_quotes(table, rule, "rule")
        try:
            check_rule(rule)
        except BadRule as error:
            table.refuse(
                f"rule.{error.field.removeprefix('rule.')}", str(error).removeprefix(f"{error.field}: ")
            )
    return text


def _check_quotes(table: Table, value: Any, field: str) -> None:
    """Amounts are written in quotes: a bare 0.1 in TOML is already a float that is not quite a tenth."""
    if isinstance(value, float):
        table.refuse(field, f'is a bare number; write it in quotes: "{value}".')
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        _check_quotes(
            table,
            each,
            f"{field}.{key}" if isinstance(value, dict) else f"{field}[{key}]",
        )


def _example(table: Table) -> PriceExample:
    params = table.table("params")
    values = {key: params.scalar(key) for key in params.names()}
    example = PriceExample(
        params=MappingProxyType({key: value for key, value in values.items() if value is not None}),
        usd=_dollars(table, "usd"),
    )
    table.close()
    return example


def _alternative(table: Table) -> PriceAlternative:
    alternative = PriceAlternative(
        text=table.text("text"),
        source=table.text("source"),
        as_of=table.text("as_of"),
        usd=_dollars(table, "usd") if table.has("usd") else None,
        rule_json=_rule(table),
    )
    table.close()
    return alternative


def _dollars(table: Table, key: str) -> Decimal:
    text = table.text(key)
    if not NUMBER.fullmatch(text) or text.endswith("s"):
        table.refuse(key, f'must be dollars in quotes, like "0.49", not "{text}".')
    return Decimal(text)
