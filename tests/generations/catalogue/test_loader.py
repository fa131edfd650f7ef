"""A broken data file is refused with the file, the engine and the field, whatever is broken."""

from pathlib import Path

import pytest

from generations.catalogue import BrokenCatalogue, CatalogueError
from generations.catalogue.loader import load

GOOD = """
vendor = "Acme"
position = 1

[inputs.prompt]
type = "string"
widget = "textarea"
help = "What moves."
required = true
max_length = 2000

[inputs.image_url]
type = "string"
widget = "picture"
help = "The first frame."
required = true

[inputs.duration]
type = "string"
widget = "choice"
help = "Length."
default = "6"
enum = ["6", "10"]

[pictures.acme]
formats = ["jpeg", "png"]
min_side_px = 300
max_side_px = 4000

[[engines]]
id = "fal-ai/acme"
title = "Acme (image to video)"
family = "Acme"
kind = "image-to-video"
role = "generate"
is_orderable = true
summary = "Good at testing."
inputs = ["prompt", "image_url", "duration"]
pictures = "acme"
result_path = "video.url"

[engines.output]
audio = "none"

[engines.timing]
typical_seconds = [30, 60]

[engines.price]
text = "$0.10 per second"
source = "https://fal.ai"
as_of = "2026-03"
confidence = "high"
examples = [{ params = { duration = "6" }, usd = "0.60" }]

[engines.price.rule]
quantity = { kind = "seconds", param = "duration" }
rate = { usd = "0.10" }
"""

BREAKAGES = [
    ('vendor = "Acme"', "", "", "vendor", "is missing"),
    ("position = 1", "", "", "position", "is missing"),
    ("position = 1", "position = 1\ncolour = 2", "", "colour", "is not known here"),
    (
        'type = "string"\nwidget = "textarea"',
        'type = "str"\nwidget = "textarea"',
        "",
        "inputs.prompt.type",
        "string",
    ),
    ('widget = "textarea"', 'widget = "checkbox"', "", "inputs.prompt.widget", "boolean"),
    ('widget = "textarea"', 'widget = "slider"', "", "inputs.prompt.widget", "must be one of"),
    ('help = "What moves."', "", "", "inputs.prompt.help", "is missing"),
    ("max_length = 2000", 'max_length = "2000"', "", "inputs.prompt.max_length", "a whole number"),
    ("max_length = 2000", "max_length = -1", "", "inputs.prompt.max_length", "0 or more"),
    ("max_length = 2000", "max_length = 5\nmin_length = 6", "", "inputs.prompt.max_length", "lower bound, 6"),
    ("max_length = 2000", "max_length = true", "", "inputs.prompt.max_length", "a whole number"),
    ("max_length = 2000", "maxlength = 2000", "", "inputs.prompt.maxlength", "is not known here"),
    ("required = true\nmax", 'required = "yes"\nmax', "", "inputs.prompt.required", "true or false"),
    ('default = "6"', 'default = "7"', "", "inputs.duration.default", "one of 6, 10"),
    ('default = "6"', "default = 6", "", "inputs.duration.default", "type string"),
    ('enum = ["6", "10"]', "", "", "inputs.duration.enum", "a choice needs one"),
    ('enum = ["6", "10"]', "enum = [6, 10]", "", "inputs.duration.enum", "list of texts"),
    (
        'enum = ["6", "10"]',
        'enum = ["6", "10"]\nlabels = ["6 s"]',
        "",
        "inputs.duration.labels",
        "one per value",
    ),
    ('formats = ["jpeg", "png"]', 'formats = ["bmp"]', "", "pictures.acme.formats", "jpeg"),
    ("max_side_px = 4000", "max_side_px = 200", "", "pictures.acme.max_side_px", "lower bound, 300"),
    ('id = "fal-ai/acme"', "", "engines[0]", "id", "is missing"),
    ('family = "Acme"', "family = 3", "fal-ai/acme", "family", "text in quotes"),
    ('kind = "image-to-video"', 'kind = "photo"', "fal-ai/acme", "kind", "must be one of"),
    ("is_orderable = true", "", "fal-ai/acme", "is_orderable", "is missing"),
    ("is_orderable = true", "is_orderable = false", "fal-ai/acme", "reason", "why"),
    ("is_orderable = true", 'is_orderable = true\nreason = "x"', "fal-ai/acme", "reason", "why"),
    ('summary = "Good', 'slogan = "Good', "fal-ai/acme", "summary", "is missing"),
    ('"duration"]', '"length"]', "fal-ai/acme", "inputs", "'length' is not described"),
    ('"duration"]', '"duration", "duration"]', "fal-ai/acme", "inputs", "none twice"),
    ('"prompt", "image_url"', '"image_url"', "fal-ai/acme", "inputs", "must have a prompt"),
    ("max_length = 2000", "", "fal-ai/acme", "inputs", "max_length"),
    ('pictures = "acme"', "", "fal-ai/acme", "pictures", "take a picture"),
    ('pictures = "acme"', 'pictures = "other"', "fal-ai/acme", "pictures", "not described"),
    ('result_path = "video.url"', "", "fal-ai/acme", "result_path", "is missing"),
    ('audio = "none"', "", "fal-ai/acme", "output.audio", "is missing"),
    ("[30, 60]", "[60, 30]", "fal-ai/acme", "timing.typical_seconds", "[low, high]"),
    ("[30, 60]", "[60]", "fal-ai/acme", "timing.typical_seconds", "[low, high]"),
    ('as_of = "2026-03"', "", "fal-ai/acme", "price.as_of", "is missing"),
    ('confidence = "high"', 'confidence = "sure"', "fal-ai/acme", "price.confidence", "must be one of"),
    ('usd = "0.60"', 'usd = "0.61"', "fal-ai/acme", "price.examples[0].usd", "the rule gives 0.6"),
    ('usd = "0.60"', "usd = 0.60", "fal-ai/acme", "price.examples[0].usd", "text in quotes"),
    ('usd = "0.60"', 'usd = "free"', "fal-ai/acme", "price.examples[0].usd", "dollars in quotes"),
    (
        '{ duration = "6" }',
        '{ duration = "x" }',
        "fal-ai/acme",
        "price.examples[0].params",
        "must be a number",
    ),
    ('{ duration = "6" }', "{ fps = 6 }", "fal-ai/acme", "price.examples[0].params", "does not read"),
    (
        'examples = [{ params = { duration = "6" }, usd = "0.60" }]',
        "",
        "fal-ai/acme",
        "price.examples",
        "is missing",
    ),
    ('rate = { usd = "0.10" }', "rate = { usd = 0.10 }", "fal-ai/acme", "price.rule.rate.usd", "in quotes"),
    ('rate = { usd = "0.10" }', 'rate = { usd = "-1" }', "fal-ai/acme", "price.rule.rate.usd", "an amount"),
    ('rate = { usd = "0.10" }', "", "fal-ai/acme", "price.rule.rate", "is missing"),
    ('kind = "seconds"', 'kind = "minutes"', "fal-ai/acme", "price.rule.quantity.kind", "measured_seconds"),
    ('default = "6"', "", "fal-ai/acme", "price.rule", "needs a default"),
    ('enum = ["6", "10"]', 'enum = ["6", "10", "auto"]', "fal-ai/acme", "price.rule", "must be a number"),
]


def write(directory: Path, text: str, name: str = "acme.toml") -> None:
    (directory / name).write_text(text, "utf-8")


def test_the_good_file_loads(tmp_path):
    write(tmp_path, GOOD)
    assert [engine.endpoint_id for engine in load(tmp_path)] == ["fal-ai/acme"]


@pytest.mark.parametrize(
    ("old", "new", "engine", "field", "says"), BREAKAGES, ids=[f"{b[3]}-{b[4]}" for b in BREAKAGES]
)
def test_a_breakage_names_file_engine_field_and_remedy(tmp_path, old, new, engine, field, says):
    assert old in GOOD
    write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(BrokenCatalogue) as refused:
        load(tmp_path)
    error = refused.value
    assert (error.file, error.engine, error.field) == ("acme.toml", engine, field)
    assert says in str(error)
    assert str(error).startswith(f"acme.toml: {engine + ': ' if engine else ''}{field}: ")


def test_what_is_not_toml_is_said_with_its_line(tmp_path):
    write(tmp_path, "vendor = \n")
    with pytest.raises(BrokenCatalogue, match=r"acme\.toml: is not TOML: .*line 1"):
        load(tmp_path)


def test_bytes_that_are_not_text_are_refused(tmp_path):
    (tmp_path / "acme.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BrokenCatalogue, match="is not TOML"):
        load(tmp_path)


def test_an_engine_described_twice_names_both_files(tmp_path):
    write(tmp_path, GOOD)
    write(tmp_path, GOOD, "again.toml")
    with pytest.raises(
        BrokenCatalogue, match=r"again\.toml: fal-ai/acme: id: is already described in acme\.toml"
    ):
        load(tmp_path)


def test_an_empty_directory_is_not_a_catalogue(tmp_path):
    with pytest.raises(CatalogueError, match="has no engines"):
        load(tmp_path)


def test_a_choice_without_a_row_in_the_price_table_is_refused(tmp_path):
    table = 'rate = { by = ["duration"], rows = [{ when = { duration = "6" }, usd = "0.10" }] }'
    write(tmp_path, GOOD.replace('rate = { usd = "0.10" }', table))
    with pytest.raises(BrokenCatalogue, match=r"fal-ai/acme: price\.rule: There is no price for duration=10"):
        load(tmp_path)


def test_an_engine_that_would_be_free_is_refused(tmp_path):
    write(tmp_path, GOOD.replace('"0.10"', '"0"').replace('"0.60"', '"0"'))
    with pytest.raises(BrokenCatalogue, match="makes it free"):
        load(tmp_path)


def test_an_orderable_engine_without_a_rule_is_refused(tmp_path):
    text = GOOD[: GOOD.index("[engines.price.rule]")].replace(
        'examples = [{ params = { duration = "6" }, usd = "0.60" }]', ""
    )
    write(tmp_path, text)
    with pytest.raises(BrokenCatalogue, match=r"price\.rule: is missing"):
        load(tmp_path)


def test_a_required_input_cannot_be_hidden(tmp_path):
    write(tmp_path, GOOD.replace('widget = "textarea"', 'widget = "hidden"'))
    with pytest.raises(BrokenCatalogue, match="prompt is required by fal, yet hidden"):
        load(tmp_path)
