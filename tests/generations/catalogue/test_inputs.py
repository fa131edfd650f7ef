"""What a form becomes on the wire, and which sentences a member reads instead."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generations import catalogue
from generations.catalogue import Engine, Input, InvalidInputs, clean

PHOTO = "https://v3.fal.media/files/a/photo.jpg"


def engine(slug: str) -> Engine:
    return catalogue.get(f"fal-ai/{slug}")


def refusals(slug: str, **raw: Any) -> dict[str, str]:
    with pytest.raises(InvalidInputs) as refused:
        clean(engine(slug), raw, is_partial=True)
    return refused.value.errors


def test_what_is_sent_is_complete_and_explicit():
    sent = clean(
        engine("kling-video/v2.6/pro/image-to-video"),
        {"prompt": " Waves roll in. ", "start_image_url": PHOTO},
    )
    assert sent == {
        "prompt": "Waves roll in.",
        "start_image_url": PHOTO,
        "duration": "5",
        "generate_audio": False,
        "negative_prompt": "blur, distort, and low quality",
    }


def test_hailuo_fast_pro_is_never_sent_a_duration():
    fast_pro = engine("minimax/hailuo-2.3-fast/pro/image-to-video")
    assert "duration" not in clean(fast_pro, {"prompt": "x", "image_url": PHOTO})
    assert "leave it out" in refusals(fast_pro.slug, duration="6")["duration"]


def test_sound_is_off_and_said_so_on_every_engine_that_can_make_it():
    able = [each for each in catalogue.engines() if each.input("generate_audio")]
    assert len(able) == 11
    for each in able:
        assert clean(each, {}, is_partial=True)["generate_audio"] is False
        assert each.input("generate_audio").fal_default is True


@pytest.mark.parametrize(
    ("typed", "sent"), [("on", True), ("true", True), ("False", False), (True, True), ("0", False)]
)
def test_checkboxes_arrive_as_form_strings(typed, sent):
    assert clean(engine("veo3.1"), {"generate_audio": typed}, is_partial=True)["generate_audio"] is sent


@pytest.mark.parametrize(("typed", "sent"), [("81", 81), (" 97 ", 97), (161, 161), ("", 81), (None, 81)])
def test_whole_numbers_arrive_as_form_strings(typed, sent):
    assert (
        clean(engine("wan/v2.2-a14b/text-to-video"), {"num_frames": typed}, is_partial=True)["num_frames"]
        == sent
    )


@pytest.mark.parametrize(
    "typed",
    [
        "81.5",
        "ten",
        "1_00",
        "16",
        162,
        True,
        81.0,
        "٨١",
        pytest.param(10**5000, id="huge"),
        "9" * 5000,
        [81],
        {"n": 81},
    ],
)
def test_a_number_that_does_not_fit_is_answered_with_the_bounds(typed):
    message = refusals("wan/v2.2-a14b/text-to-video", num_frames=typed)["num_frames"]
    assert message.startswith("Frames must be a whole number from 17 to 161, not ")


@pytest.mark.parametrize("typed", ["nan", "inf", "-inf", "1e999", math.nan, "2", "-0.1", "0,5", False])
def test_a_real_number_must_be_finite_and_within_bounds(typed):
    message = refusals("kling-video/v2.5-turbo/pro/text-to-video", cfg_scale=typed)["cfg_scale"]
    assert message.startswith("Prompt strength must be a number from 0 to 1, not ")


def test_a_choice_that_is_not_offered_is_answered_with_those_that_are():
    assert refusals("veo3.1", duration="5s") == {"duration": 'Duration must be 4s, 6s or 8s, not "5s".'}
    assert refusals("kling-video/v2.5-turbo/pro/text-to-video", duration="15") == {
        "duration": 'Duration must be 5 or 10, not "15".'
    }


def test_a_number_from_json_finds_its_choice():
    assert (
        clean(engine("minimax/hailuo-2.3/standard/text-to-video"), {"prompt": "x", "duration": 10})[
            "duration"
        ]
        == "10"
    )


def test_a_prompt_may_fill_the_limit_and_not_one_character_more():
    hailuo = engine("minimax/hailuo-2.3/pro/text-to-video")
    assert len(clean(hailuo, {"prompt": "é" * 2000})["prompt"]) == 2000
    assert refusals(hailuo.slug, prompt="x" * 100_000) == {
        "prompt": "Prompt has 100,000 characters; Hailuo 2.3 Pro takes at most 2,000."
    }


@pytest.mark.parametrize("prompt", ["a\0b", "half \ud83d"])
def test_text_that_cannot_be_stored_is_refused(prompt):
    assert "cannot be stored" in refusals("veo3.1", prompt=prompt)["prompt"]


@pytest.mark.parametrize("prompt", [{"a": 1}, ["x"], 7])
def test_text_must_be_text(prompt):
    assert "Prompt must be text" in refusals("veo3.1", prompt=prompt)["prompt"]


def test_every_problem_is_told_at_once():
    with pytest.raises(InvalidInputs) as refused:
        clean(engine("veo3.1/image-to-video"), {"duration": "9s", "sparkle": "yes", "prompt": "  "})
    assert set(refused.value.errors) == {"duration", "sparkle", "prompt", "image_url"}
    assert refused.value.errors["image_url"] == "Veo 3.1 needs a picture here (picture)."
    assert refused.value.errors["prompt"] == "Prompt is empty; Veo 3.1 needs it."


def test_a_picture_that_travels_apart_counts_as_given():
    hailuo = engine("minimax/hailuo-2.3/pro/image-to-video")
    assert clean(hailuo, {"prompt": "x"}, pictures=["image_url"]) == {"prompt": "x", "prompt_optimizer": True}


@pytest.mark.parametrize(
    "link", ["file:///etc/passwd", "photo.jpg", "https://a b", "javascript:x", "https://" + "x" * 5000]
)
def test_a_picture_must_be_a_link(link):
    assert "must be a link" in refusals("wan-pro/image-to-video", image_url=link)["image_url"]


def test_several_pictures_are_a_list_of_links():
    veo = engine("veo3.1/reference-to-video")
    assert clean(veo, {"prompt": "x", "image_urls": [PHOTO, PHOTO]})["image_urls"] == [PHOTO, PHOTO]
    assert "list" in refusals(veo.slug, image_urls=PHOTO)["image_urls"]
    assert "link" in refusals(veo.slug, image_urls=["x"])["image_urls"]


def test_joining_needs_at_least_two_clips():
    assert "needs at least 2" in refusals("ffmpeg-api/merge-videos", video_urls=[PHOTO])["video_urls"]


@pytest.mark.parametrize(
    ("slug", "name", "value"),
    [
        ("kling-video/v2.6/pro/image-to-video", "voice_ids", ["a"]),
        ("wan-25-preview/text-to-video", "audio_url", "https://example.com/a.mp3"),
        ("seedvr/upscale/video", "sync_mode", True),
    ],
)
def test_a_hidden_input_is_neither_taken_nor_sent(slug, name, value):
    assert "leave it out" in refusals(slug, **{name: value})[name]
    assert clean(engine(slug), {}, is_partial=True).get(name) in (None, False)


def test_quote_facts_take_what_the_rule_reads_beside_the_inputs():
    topaz = engine("topaz/upscale/video")
    facts = catalogue.quote_facts(
        topaz, {"seconds": "6", "output_tier": ">1080p", "fps60": "true"}, rule=topaz.price.rule
    )
    assert f"{catalogue.price_usd(topaz.price.rule, facts):f}" == "0.96"
    with pytest.raises(InvalidInputs, match="sparkle"):
        catalogue.quote_facts(topaz, {"sparkle": "1"}, rule=topaz.price.rule)


def typed_values(field: Input) -> st.SearchStrategy[Any]:
    if field.is_picture:
        return st.just(PHOTO)
    if field.enum:
        return st.sampled_from(field.enum)
    if field.type == "boolean":
        return st.sampled_from([True, False, "on", "false"])
    if field.type == "integer":
        return st.integers(int(field.min or 0), int(field.max or 10**6)).flatmap(
            lambda n: st.sampled_from([n, str(n)])
        )
    if field.type == "number":
        return st.floats(field.min, field.max)
    return st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=50)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Engine, dict[str, Any]]:
    chosen = draw(st.sampled_from(catalogue.orderable()))
    raw = {
        field.name: draw(typed_values(field))
        for field in chosen.offered_inputs
        if field.required or draw(st.booleans())
    }
    return chosen, raw


@given(requests(), st.sampled_from([1, 7, 100, 1000]))
def test_whatever_is_ordered_costs_a_positive_whole_number_of_credits(request, per_usd):
    chosen, raw = request
    facts = catalogue.quote_params(chosen, clean(chosen, raw))
    quoted = catalogue.quote_credits(chosen.price.rule, facts, credits_per_usd=per_usd)
    assert type(quoted) is int
    assert quoted > 0


@given(requests())
def test_the_price_depends_on_nothing_but_what_is_sent(request):
    chosen, raw = request
    sent = clean(chosen, raw)
    derived = set(catalogue.quote_params(chosen, {})) - set(sent)
    read = catalogue.rule_params(chosen.price.rule)
    assert read <= set(sent) | derived
    everything = catalogue.quote_params(chosen, sent)
    only_read = {name: value for name, value in everything.items() if name in read}
    assert catalogue.price_usd(chosen.price.rule, everything) == catalogue.price_usd(
        chosen.price.rule, only_read
    )


@given(requests())
def test_cleaning_what_was_cleaned_changes_nothing(request):
    chosen, raw = request
    sent = clean(chosen, raw)
    assert clean(chosen, sent) == sent
