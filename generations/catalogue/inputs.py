"""From what a member typed to exactly what fal is sent, and to what the price depends on.

Everything is checked before any hold, a sentence per field: fal may bill what it refuses while running.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from generations.catalogue.errors import InvalidInputs
from generations.catalogue.price import rule_params
from generations.catalogue.schema import Engine, Input, Scalar

Value = Scalar | list[str]
MAX_URL_CHARS = 4096
MAX_ITEMS = 16
MAX_WHOLE_DIGITS = 18
TRUE = {"true", "on", "yes", "1"}
FALSE = {"false", "off", "no", "0"}
DERIVED: dict[str, tuple[str, Callable[[Mapping[str, object]], bool]]] = {
    # fal's page of kling-video/v2.6/pro/image-to-video: with voices, a second costs $0.168 instead of $0.14.
    "voice_control": ("voice_ids", lambda params: bool(params.get("voice_ids"))),
}


def clean(
    engine: Engine,
    raw: Mapping[str, object],
    *,
    pictures: Collection[str] = (),
    is_partial: bool = False,
) -> dict[str, Value]:
    """What fal is sent for `raw`: defaults filled in, form strings coerced, empty optional values left out.

    `pictures` names picture inputs whose files travel apart and whose URLs are put in at submission: they
    count as given. `is_partial` skips the check for required inputs, to price a form that is still being
    filled in. A checkbox that is missing takes its default, so a form must pass False for one that is not
    ticked. Names the engine does not know are refused, never dropped. Raises `InvalidInputs`.
    """
    errors = {name: _unknown(engine, name) for name in raw if not _is_offered(engine, name)}
    cleaned: dict[str, Value] = {}
    for field in engine.inputs:
        try:
            value = _value(field, raw.get(field.name), engine=engine)
        except ValueError as error:
            errors.setdefault(field.name, str(error))
            continue
        if value is not None:
            cleaned[field.name] = value
        elif field.required and not is_partial and field.name not in pictures:
            errors[field.name] = _required(field, engine=engine)
    if errors:
        raise InvalidInputs(errors)
    return cleaned


def quote_params(engine: Engine, params: Mapping[str, object]) -> dict[str, object]:
    """`params` (as `clean` returns them) with the facts a price rule may read beside them (`voice_control`)."""
    derived = {name: rule(params) for name, (source, rule) in DERIVED.items() if engine.input(source)}
    return {**params, **derived}


def quote_facts(engine: Engine, raw: Mapping[str, object], *, rule: Mapping[str, Any]) -> dict[str, object]:
    """Everything `rule` needs, from inputs and from facts given by name (a clip's `seconds`).

    Inputs are cleaned as a half-filled form; a name that is neither an input nor read by the rule is refused.
    Raises `InvalidInputs`.
    """
    given = {name: raw[name] for name in raw.keys() & rule_params(rule) if not _is_offered(engine, name)}
    typed = {name: value for name, value in raw.items() if name not in given}
    facts = {name: _fact(value) for name, value in given.items()}
    return {**quote_params(engine, clean(engine, typed, is_partial=True)), **facts}


def _fact(value: object) -> object:
    text = str(value).strip().lower()
    return text == "true" if text in {"true", "false"} else value


def _is_offered(engine: Engine, name: str) -> bool:
    field = engine.input(name)
    return field is not None and field.is_offered


def _unknown(engine: Engine, name: str) -> str:
    known = ", ".join(field.name for field in engine.offered_inputs)
    return f"{engine.label} has no input {name!r} here; leave it out. It takes {known}."


def _required(field: Input, *, engine: Engine) -> str:
    if field.is_picture:
        return f"{engine.label} needs a picture here ({field.label.lower()})."
    return f"{field.label} is empty; {engine.label} needs it."


def _value(field: Input, raw: object, *, engine: Engine) -> Value | None:
    """The value to send for one input, None for none. ValueError with the sentence for the member."""
    if not field.is_offered or _is_empty(raw):
        return field.default
    if field.type == "boolean":
        return _boolean(field, raw)
    if field.type in {"integer", "number"}:
        return _number(field, raw)
    if field.type == "array":
        return _links(field, raw)
    if field.widget in {"picture", "audio", "video"}:
        return _link(field, raw)
    return _choice(field, raw) if field.enum else _text(field, raw, engine=engine)


def _is_empty(raw: object) -> bool:
    return raw is None or raw in ([], ()) or (isinstance(raw, str) and not raw.strip())


def _boolean(field: Input, raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    text = str(raw).strip().lower()
    if text not in TRUE | FALSE:
        raise ValueError(f"{field.label} must be true or false, not {_shown(raw)}.")
    return text in TRUE


def _number(field: Input, raw: object) -> int | float:
    noun = "a whole number" if field.type == "integer" else "a number"
    try:
        number = _whole(raw) if field.type == "integer" else _real(raw)
    except (ValueError, OverflowError):
        raise ValueError(f"{field.label} must be {noun}{_range(field)}, not {_shown(raw)}.") from None
    if (field.min is not None and number < field.min) or (field.max is not None and number > field.max):
        raise ValueError(f"{field.label} must be {noun}{_range(field)}, not {_shown(raw)}.")
    return number


def _whole(raw: object) -> int:
    text = "" if isinstance(raw, bool) or not isinstance(raw, str | int) else str(raw).strip()
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > MAX_WHOLE_DIGITS:
        raise ValueError(raw)
    return int(text)


def _real(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float) or "_" in str(raw):
        raise ValueError(raw)
    number = float(raw)
    if not math.isfinite(number):
        raise ValueError(raw)
    return number


def _range(field: Input) -> str:
    low, high = (None if bound is None else f"{bound:,g}" for bound in (field.min, field.max))
    if low and high:
        return f" from {low} to {high}"
    return f" of at least {low}" if low else f" of at most {high}" if high else ""


def _choice(field: Input, raw: object) -> str:
    text = str(raw).strip()
    if isinstance(raw, bool) or text not in field.enum:
        raise ValueError(f"{field.label} must be {_either(field.enum)}, not {_shown(raw)}.")
    return text


def _either(values: tuple[str, ...]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"


def _text(field: Input, raw: object, *, engine: Engine) -> str:
    text = _sound(field, raw)
    if field.max_length is not None and len(text) > field.max_length:
        limit = f"{engine.label} takes at most {field.max_length:,}"
        raise ValueError(f"{field.label} has {len(text):,} characters; {limit}.")
    if field.min_length is not None and len(text) < field.min_length:
        raise ValueError(
            f"{field.label} needs at least {field.min_length:,} characters; it has {len(text):,}."
        )
    return text


def _sound(field: Input, raw: object) -> str:
    """Stripped text that PostgreSQL and UTF-8 can carry: no NUL, no half of a surrogate pair."""
    text = raw.strip() if isinstance(raw, str) else ""
    if not text:
        raise ValueError(f"{field.label} must be text, not {_shown(raw)}.")
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text):
        raise ValueError(
            f"{field.label} contains a character that cannot be stored; type it again without it."
        )
    return text


def _link(field: Input, raw: object) -> str:
    text = _sound(field, raw)
    if not text.startswith(("https://", "http://")) or len(text) > MAX_URL_CHARS or len(text.split()) != 1:
        raise ValueError(f"{field.label} must be a link that starts with https://, not {_shown(raw)}.")
    return text


def _links(field: Input, raw: object) -> list[str]:
    if not isinstance(raw, list | tuple) or len(raw) > MAX_ITEMS:
        raise ValueError(f"{field.label} must be a list of at most {MAX_ITEMS} links.")
    if len(raw) < (field.min_items or 1):
        raise ValueError(f"{field.label} needs at least {field.min_items or 1}; {len(raw)} given.")
    return [_link(field, item) for item in raw]


def _shown(raw: object) -> str:
    try:
        text = str(raw)
    except ValueError:  # Python refuses to write out integers of thousands of digits
        return "a number that long"
    return f'"{text}"' if len(text) <= 40 else f'"{text[:40]}…"'
