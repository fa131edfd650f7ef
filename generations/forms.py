"""The form of an engine, built from its catalogue entry: a new engine is a data change and no code here.

The catalogue judges what was typed (`catalogue.clean`); Django's fields only carry it to the page and back.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.http import QueryDict

from generations import catalogue
from generations.catalogue import Engine, Input

MOST_RADIOS = 5
WIDE_WORDS = 40


@dataclass(frozen=True)
class Row:
    """One input on the page: what the catalogue says, the bound field, and which control shows it."""

    input: Input
    bound: BoundField
    control: str


class GenerationForm(forms.Form):
    """`params` holds what fal is sent once the form is valid. `pictures` names the picture inputs that have files."""

    form_token = forms.UUIDField(
        widget=forms.HiddenInput, error_messages={"required": "Reload the page and try again."}
    )
    seen_credits = forms.IntegerField(widget=forms.HiddenInput, required=False, min_value=0)
    # Ours, not fal's: no engine has an input of this name.
    project_tag = forms.CharField(
        required=False, max_length=60, error_messages={"max_length": "A tag has at most 60 characters."}
    )

    def __init__(self, engine: Engine, *, pictures: Collection[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("auto_id", "in-%s")
        super().__init__(**kwargs)
        self.engine = engine
        self.pictures = pictures
        self.params: dict[str, Any] = {}
        self.picture_errors: dict[str, str] = {}
        for field in typed_inputs(engine):
            self.fields[field.name] = _field(field)
        if not self.is_bound:
            self.initial.setdefault("form_token", uuid.uuid4())

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            self.params = catalogue.clean(self.engine, self.raw(cleaned), pictures=self.pictures)
        except catalogue.InvalidInputs as error:
            self.add_input_errors(error.errors)
        return cleaned

    def add_input_errors(self, errors: Mapping[str, str]) -> None:
        """Put each sentence beside its field; those about pictures beside their drop zone."""
        for name, sentence in errors.items():
            if name in self.fields:
                self.add_error(name, sentence)
            elif self.engine.input(name):
                self.picture_errors[name] = sentence
                self.add_error(None, sentence)
            else:
                self.add_error(None, sentence)

    def renew_token(self) -> None:
        """Make a bound form a new one to send, with everything in it kept."""
        data = QueryDict(mutable=True)
        data.update(self.data)
        data["form_token"] = str(uuid.uuid4())
        self.data = data

    def raw(self, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        """What was typed, by fal's names, without what was left empty."""
        given = ((field.name, cleaned.get(field.name)) for field in typed_inputs(self.engine))
        return {name: value for name, value in given if value not in (None, "")}

    def rows(self, *, is_advanced: bool) -> list[Row]:
        shown = (field for field in typed_inputs(self.engine) if field.name != "prompt")
        return [Row(f, self[f.name], control(f)) for f in shown if f.is_advanced == is_advanced]

    @property
    def main_rows(self) -> list[Row]:
        return self.rows(is_advanced=False)

    @property
    def advanced_rows(self) -> list[Row]:
        return self.rows(is_advanced=True)

    @property
    def has_advanced_errors(self) -> bool:
        return any(row.bound.errors for row in self.advanced_rows) or bool(self["project_tag"].errors)

    @property
    def prompt_row(self) -> Row | None:
        field = self.engine.input("prompt")
        return Row(field, self["prompt"], "prompt") if field else None


def typed_inputs(engine: Engine) -> Iterator[Input]:
    """What a person types, ticks or chooses; pictures travel apart."""
    return (field for field in engine.offered_inputs if not field.is_picture)


def control(field: Input) -> str:
    """Which control shows an input: a few short choices as buttons, many as a list."""
    if field.enum:
        is_short = (
            len(field.enum) <= MOST_RADIOS and sum(len(label) for _, label in field.choices) <= WIDE_WORDS
        )
        return "radios" if is_short else "select"
    if field.type == "boolean":
        return "checkbox"
    if field.type in {"integer", "number"}:
        return "number"
    return "textarea" if field.widget == "textarea" else "url" if field.widget == "audio" else "text"


def kept(engine: Engine, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Of what was typed for one engine, what another one takes too: switching keeps it."""
    return {field.name: typed[field.name] for field in typed_inputs(engine) if _fits(engine, field, typed)}


def _fits(engine: Engine, field: Input, typed: Mapping[str, Any]) -> bool:
    if field.name not in typed:
        return False
    if field.type == "string" and not field.enum:
        return True
    try:
        catalogue.clean(engine, {field.name: typed[field.name]}, is_partial=True)
    except catalogue.InvalidInputs:
        return False
    return True


def _field(field: Input) -> forms.Field:
    common: dict[str, Any] = {
        "label": field.label,
        "help_text": field.help,
        "required": False,
        "initial": field.default,
    }
    if field.type == "boolean":
        return forms.BooleanField(**common)
    if field.enum:
        # A plain CharField under the list: the catalogue says what is wrong, in its own words.
        return forms.CharField(widget=forms.Select(choices=_choices(field)), **common)
    if field.widget == "textarea":
        return forms.CharField(widget=forms.Textarea, strip=False, **common)
    return forms.CharField(**common)


def _choices(field: Input) -> list[tuple[str, str]]:
    is_settled = field.required or field.default is not None
    return [*field.choices] if is_settled else [("", "As the engine likes"), *field.choices]
