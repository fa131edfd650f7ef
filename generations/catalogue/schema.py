"""The shape of an engine: frozen, typed, filled by the loader from the data files and from nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

InputType = Literal["string", "integer", "number", "boolean", "array"]
Widget = Literal[
    "text",
    "textarea",
    "choice",
    "checkbox",
    "number",
    "integer",
    "picture",
    "pictures",
    "audio",
    "video",
    "videos",
    "hidden",
]
Kind = Literal["image-to-video", "text-to-video", "video-to-video", "video-to-image", "json"]
Role = Literal["generate", "post"]
Confidence = Literal["high", "medium", "low"]
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Input:
    """One field of a request to fal, under fal's own name.

    `default` is what we send when a member leaves the field alone; `fal_default` records fal's own where ours
    differs. A `hidden` input is never offered: a value for it is refused, and only its default is sent.
    """

    name: str
    type: InputType
    widget: Widget
    label: str
    help: str
    required: bool = False
    default: Scalar | None = None
    fal_default: Scalar | None = None
    enum: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    step: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    is_advanced: bool = False

    @property
    def choices(self) -> tuple[tuple[str, str], ...]:
        """(value, label) pairs for a select."""
        return tuple(zip(self.enum, self.labels or self.enum, strict=True))

    @property
    def is_picture(self) -> bool:
        return self.widget in {"picture", "pictures"}

    @property
    def is_offered(self) -> bool:
        return self.widget != "hidden"


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What the engine itself takes. Sides in pixels, ratio = width / height; None = nothing published."""

    formats: tuple[str, ...]
    max_bytes: int | None = None
    min_side_px: int | None = None
    max_side_px: int | None = None
    min_ratio: float | None = None
    max_ratio: float | None = None
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What comes out. Durations in seconds; `audio` is a phrase for people ("none", "optional")."""

    durations_seconds: tuple[int, ...]
    max_duration_seconds: float | None
    resolutions: tuple[str, ...]
    aspect_ratios: tuple[str, ...]
    fps: int | None
    audio: str
    picture: PictureLimits | None
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the engine takes, (low, high) seconds: a hint for the progress display, never a timeout."""

    typical_seconds: tuple[int, int] | None
    peak_seconds: tuple[int, int] | None
    source: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PriceExample:
    """A worked price: these parameters cost this many US dollars."""

    params: Mapping[str, Scalar]
    usd: Decimal


@dataclass(frozen=True, slots=True)
class PriceAlternative:
    """What somebody else says the price is: kept for the reviewer, never charged."""

    text: str
    source: str
    as_of: str
    usd: Decimal | None = None
    rule_json: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Price:
    """The price rule of an engine and where it comes from."""

    text: str
    rule_json: str | None
    examples: tuple[PriceExample, ...]
    source: str
    as_of: str
    confidence: Confidence
    alternatives: tuple[PriceAlternative, ...]
    notes: str = ""

    @property
    def rule(self) -> dict[str, Any] | None:
        """A fresh plain dict, fit for a JSONField and for `price_usd`; None when the price is not known."""
        # Kept as text because engines are shared by the whole process: nobody can edit a price by accident.
        return None if self.rule_json is None else dict(json.loads(self.rule_json))


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """A fal endpoint we know. `is_orderable` says whether members may use it; `reason` why they may not yet."""

    endpoint_id: str
    title: str
    vendor: str
    family: str
    tier: str
    kind: Kind
    role: Role
    is_orderable: bool
    reason: str
    summary: str
    inputs: tuple[Input, ...]
    limits: Limits
    timing: Timing
    price: Price
    result_path: str | None

    @property
    def slug(self) -> str:
        """The endpoint id without the leading "fal-ai/"."""
        return self.endpoint_id.removeprefix("fal-ai/")

    @property
    def label(self) -> str:
        """Short name for sentences: "Hailuo 2.3 Pro"."""
        return f"{self.family} {self.tier}".strip()

    @property
    def offered_inputs(self) -> tuple[Input, ...]:
        return tuple(field for field in self.inputs if field.is_offered)

    @property
    def picture_inputs(self) -> tuple[Input, ...]:
        return tuple(field for field in self.inputs if field.is_picture)

    @property
    def needs_picture(self) -> bool:
        return any(field.required for field in self.picture_inputs)

    @property
    def prompt_max_chars(self) -> int | None:
        prompt = self.input("prompt")
        return prompt.max_length if prompt else None

    def input(self, name: str) -> Input | None:
        return next((field for field in self.inputs if field.name == name), None)
