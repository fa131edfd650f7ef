"""What the sandbox needs to know of an engine, read from the catalogue: length, shape, sound, price, result."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from generations import catalogue
from generations.catalogue.errors import PriceError
from generations.catalogue.schema import Engine, Input
from generations.sandbox.clips import Plan
from generations.sandbox.failures import Failure, failure

NAMESPACES = {"workflows", "comfy"}
DEFAULT_SECONDS = 5.0
FRAMES_PER_SECOND_BILLED = 16
DEFAULT_RATIO = 16 / 9
LONGEST_SECONDS = 60.0
ECHOES_PROMPT_AS = {"fal-ai/wan/": "prompt", "fal-ai/wan-25-preview/": "actual_prompt"}
RATIO = re.compile(r"(\d+):(\d+)")
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
}


@dataclass(frozen=True)
class Spec:
    """One engine of the catalogue, with the questions the sandbox asks of it. `params` are the job's input."""

    engine: Engine

    def problem(self, params: dict[str, Any]) -> Failure | None:
        """The 422 of the request schema, which fal does not bill; `None` when the input fits."""
        for field in self.engine.inputs:
            kind = _misfit(field, params.get(field.name))
            if kind:
                return failure(422, kind, loc=["body", field.name], is_free=True)
        return None

    def picture_of(self, params: dict[str, Any]) -> str:
        """The address of the first picture given, or an empty string."""
        for field in self.engine.picture_inputs:
            value = params.get(field.name)
            first = value[0] if isinstance(value, list) and value else value
            if isinstance(first, str) and first:
                return first
        return ""

    @property
    def min_side_px(self) -> int:
        picture = self.engine.limits.picture
        return (picture.min_side_px if picture else None) or 0

    def plan(self, params: dict[str, Any], *, prompt: str) -> Plan:
        """What the clip should be like; the ratio is `None` where it follows the picture."""
        facts = self._facts(params)
        ratio = _ratio(facts.get("aspect_ratio"))
        if ratio is None and not self.picture_of(params):
            ratio = DEFAULT_RATIO
        has_audio = facts.get("generate_audio") is True
        return Plan(seconds=self._seconds(facts), ratio=ratio, has_audio=has_audio, prompt=prompt)

    @property
    def unit_price(self) -> float:
        """US dollars for one unit: the lowest rate of the rule (fal's unit is as freely chosen as this)."""
        rule = self.engine.price.rule
        if not rule:
            return 0.0
        rate = rule["rate"]
        rates = (
            [Decimal(str(row["usd"])) for row in rate["rows"]]
            if "rows" in rate
            else [Decimal(str(rate["usd"]))]
        )
        return float(min(rates))

    def units(self, params: dict[str, Any]) -> float:
        """Billable units: the price of this request divided by the unit price."""
        rule, unit_price = self.engine.price.rule, self.unit_price
        if not rule or not unit_price:
            return 0.0
        try:
            usd = catalogue.price_usd(rule, self._facts(params))
        except PriceError:
            return 1.0
        return round(float(usd / Decimal(str(unit_price))), 6)

    def body(self, params: dict[str, Any], *, path: str, size_bytes: int | None, seed: int) -> dict[str, Any]:
        """The result as the engine words it, with the clip at `path`; its size only where it is known by now."""
        body: dict[str, Any] = _at(self.engine.result_path or "video.url", path, size_bytes)
        if self.engine.input("seed"):
            body["seed"] = params.get("seed") or seed
        for prefix, name in ECHOES_PROMPT_AS.items():
            if self.engine.endpoint_id.startswith(prefix):
                body[name] = prompt_of(params)
        return body

    def _facts(self, params: dict[str, Any]) -> dict[str, Any]:
        """The input with fal's own defaults filled in."""
        defaults = {
            field.name: field.default if field.fal_default is None else field.fal_default
            for field in self.engine.inputs
        }
        given = {name: value for name, value in params.items() if value is not None}
        return {name: value for name, value in {**defaults, **given}.items() if value is not None}

    def _seconds(self, facts: dict[str, Any]) -> float:
        if "duration" in facts:
            seconds = _number(facts["duration"])
        elif "num_frames" in facts:
            seconds = _number(facts["num_frames"]) / FRAMES_PER_SECOND_BILLED
        else:
            seconds = float(next(iter(self.engine.limits.durations_seconds), 0))
        return min(seconds, LONGEST_SECONDS) or DEFAULT_SECONDS


def find(endpoint_id: str) -> Spec | None:
    """Look an endpoint up in the catalogue; `None` for one that fal would not know either."""
    try:
        return Spec(catalogue.get(endpoint_id))
    except catalogue.UnknownEngine:
        return None


def app_of(endpoint_id: str) -> str:
    """The part of an endpoint id that status, result and cancel addresses keep: owner and app."""
    parts = endpoint_id.split("/")
    return "/".join(parts[: 3 if parts[0] in NAMESPACES else 2])


def prompt_of(params: dict[str, Any]) -> str:
    prompt = params.get("prompt")
    return prompt if isinstance(prompt, str) else ""


def _misfit(field: Input, value: Any) -> str:
    """The type of fal's validation error for a value, or an empty string when it fits."""
    if value is None:
        return "missing" if field.required else ""
    if not isinstance(value, TYPES[field.type]) or (isinstance(value, bool) and field.type != "boolean"):
        return f"{field.type}_type"
    if isinstance(value, str):
        return _misfit_text(field, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _misfit_number(field, value)
    return ""


def _misfit_text(field: Input, value: str) -> str:
    if field.enum and value not in field.enum:
        return "one_of"
    if field.max_length and len(value) > field.max_length and not field.is_picture:
        return "string_too_long"
    return "string_too_short" if field.min_length and len(value) < field.min_length else ""


def _misfit_number(field: Input, value: float) -> str:
    if not math.isfinite(value):
        return "finite_number"
    if field.min is not None and value < field.min:
        return "greater_than_equal"
    return "less_than_equal" if field.max is not None and value > field.max else ""


def _number(value: Any) -> float:
    found = re.match(r"\d+(\.\d+)?", str(value))
    return float(found[0]) if found else 0.0


def _ratio(value: Any) -> float | None:
    found = RATIO.fullmatch(str(value))
    return int(found[1]) / int(found[2]) if found and int(found[2]) else None


def _at(result_path: str, path: str, size_bytes: int | None) -> dict[str, Any]:
    """Build `{"video": {"url": ...}}` for "video.url", with the fields fal puts beside a file's address."""
    *parents, last = result_path.split(".")
    file: dict[str, Any] = {"url": path, "content_type": "video/mp4", "file_name": "output.mp4"}
    if size_bytes:
        file["file_size"] = size_bytes
    value: Any = file if last == "url" else {last: path}
    for name in reversed(parents):
        value = [value] if name.isdigit() else {name: value}
    return value if isinstance(value, dict) else {"output": value}
