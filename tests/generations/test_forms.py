"""Forms come from the catalogue: for every engine that can be ordered, the form alone yields what fal is sent."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.template.loader import render_to_string

from generations import catalogue
from generations.catalogue import Engine
from generations.forms import GenerationForm, Row, control, kept, typed_inputs

ORDERABLE = catalogue.orderable()
SOUNDING = [engine for engine in ORDERABLE if engine.input("generate_audio")]
CHOOSING = [engine for engine in ORDERABLE if any(field.enum for field in typed_inputs(engine))]
BY_ID = pytest.mark.parametrize("engine", ORDERABLE, ids=[engine.slug for engine in ORDERABLE])


def filled(engine: Engine, **changed: Any) -> dict[str, Any]:
    """What a browser sends when only the prompt was typed."""
    form = GenerationForm(engine)
    sent = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    given = {name: str(value) for name, value in sent.items() if value not in (None, False)}
    return given | {"prompt": "The boat drifts", "form_token": str(uuid.uuid4())} | changed


def bound(engine: Engine, **changed: Any) -> GenerationForm:
    pictures = [field.name for field in engine.picture_inputs if field.required]
    return GenerationForm(engine, pictures=pictures, data=filled(engine, **changed))


@BY_ID
def test_an_untouched_form_is_valid_and_sends_the_defaults(engine: Engine) -> None:
    form = bound(engine)
    assert form.is_valid(), form.errors
    names = [field.name for field in engine.picture_inputs if field.required]
    assert form.params == catalogue.clean(engine, {"prompt": "The boat drifts"}, pictures=names)


@BY_ID
def test_every_input_has_a_control_with_a_name_on_the_page(engine: Engine) -> None:
    form = GenerationForm(engine)
    for field in typed_inputs(engine):
        if field.name == "prompt":
            continue
        html = render_to_string(
            "generations/_row.html", {"row": Row(field, form[field.name], control(field))}
        )
        assert f'name="{field.name}"' in html
        assert "<label" in html
        assert field.label in html.replace("&#x27;", "'")


@pytest.mark.parametrize("engine", SOUNDING, ids=[engine.slug for engine in SOUNDING])
def test_audio_is_said_explicitly_and_off_unless_ticked(engine: Engine) -> None:
    form = bound(engine)
    assert form.is_valid()
    assert form.params["generate_audio"] is False
    ticked = bound(engine, generate_audio="on")
    assert ticked.is_valid()
    assert ticked.params["generate_audio"] is True


@pytest.mark.parametrize("engine", CHOOSING, ids=[engine.slug for engine in CHOOSING])
def test_a_wrong_choice_is_an_error_beside_its_field(engine: Engine) -> None:
    chosen = next(field for field in typed_inputs(engine) if field.enum)
    form = bound(engine, **{chosen.name: "nonsense"})
    assert not form.is_valid()
    assert "nonsense" in form.errors[chosen.name][0]


@BY_ID
def test_a_missing_picture_is_an_error_beside_its_drop_zone(engine: Engine) -> None:
    needed = [field.name for field in engine.picture_inputs if field.required]
    form = GenerationForm(engine, data=filled(engine))
    assert form.is_valid() is not bool(needed)
    assert sorted(form.picture_errors) == sorted(needed)


def test_switching_keeps_what_both_engines_take() -> None:
    kling = catalogue.get("fal-ai/kling-video/v2.5-turbo/pro/image-to-video")
    typed = {"prompt": "x", "duration": "6", "negative_prompt": "blur", "cfg_scale": "0.4", "unknown": "1"}
    assert kept(kling, typed) == {"prompt": "x", "negative_prompt": "blur", "cfg_scale": "0.4"}


def test_an_unticked_box_is_false_and_not_its_default() -> None:
    engine = catalogue.get("fal-ai/minimax/hailuo-2.3/pro/image-to-video")
    box = next(field for field in typed_inputs(engine) if field.type == "boolean")
    assert box.default is True
    form = GenerationForm(
        engine, pictures=["image_url"], data={"prompt": "x", "form_token": str(uuid.uuid4())}
    )
    assert form.is_valid()
    assert form.params[box.name] is False
