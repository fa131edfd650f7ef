"""The engines as members and the picker meet them."""

import pytest

from generations import catalogue
from generations.catalogue import UnknownEngine, check_picture, fitting_sides

REQUIRED = [
    "minimax/hailuo-2.3/pro/image-to-video",
    "minimax/hailuo-2.3/pro/text-to-video",
    "minimax/hailuo-2.3/standard/image-to-video",
    "minimax/hailuo-2.3/standard/text-to-video",
    "minimax/hailuo-2.3-fast/pro/image-to-video",
    "minimax/hailuo-2.3-fast/standard/image-to-video",
    "kling-video/v2.5-turbo/pro/image-to-video",
    "kling-video/v2.5-turbo/pro/text-to-video",
    "kling-video/v2.6/pro/image-to-video",
    "kling-video/v2.6/pro/text-to-video",
    "wan/v2.2-a14b/image-to-video",
    "wan/v2.2-a14b/text-to-video",
    "wan-pro/image-to-video",
    "wan-pro/text-to-video",
    "wan-25-preview/image-to-video",
    "wan-25-preview/text-to-video",
    "veo3.1",
    "veo3.1/fast",
    "veo3.1/image-to-video",
    "veo3.1/fast/image-to-video",
]
FITS = {"format": "jpeg", "bytes": 1_000_000, "width": 1024, "height": 768}


def hailuo() -> catalogue.Engine:
    return catalogue.get("fal-ai/minimax/hailuo-2.3/pro/image-to-video")


@pytest.mark.parametrize("slug", REQUIRED)
def test_the_promised_engines_are_orderable(slug):
    assert catalogue.get(f"fal-ai/{slug}") in catalogue.orderable()


def test_runway_is_not_offered():
    assert not [engine for engine in catalogue.engines() if "runway" in engine.endpoint_id]


def test_an_engine_without_a_known_price_is_not_orderable():
    unknown = [engine for engine in catalogue.engines() if engine.price.rule is None]
    assert {engine.slug for engine in unknown} == {"veo3.1/fast/reference-to-video", "ffmpeg-api/metadata"}
    assert not any(engine.is_orderable for engine in unknown)


def test_the_picker_begins_with_hailuo_pro():
    first = catalogue.orderable()[0]
    assert (first, first.family, first.tier, first.label) == (hailuo(), "Hailuo 2.3", "Pro", "Hailuo 2.3 Pro")
    assert first.needs_picture
    assert [field.name for field in first.picture_inputs] == ["image_url"]
    assert first.prompt_max_chars == 2000
    assert first.timing.typical_seconds == (90, 120)
    assert first.result_path == "video.url"
    assert catalogue.describe_price(first) == "$0.49 per video"


def test_words_alone_need_no_picture():
    engine = catalogue.get("fal-ai/veo3.1")
    assert not engine.needs_picture
    assert check_picture(engine, **FITS) == ["Veo 3.1 takes no picture."]


def test_choices_carry_labels_for_people():
    assert catalogue.get("fal-ai/veo3.1").input("duration").choices == (
        ("4s", "4 s"),
        ("6s", "6 s"),
        ("8s", "8 s"),
    )


@pytest.mark.parametrize(
    "text", ["fal-ai/veo3.1", "veo3.1", " VEO3.1 ", "hailuo-2.3/pro/image-to-video", "mmaudio"]
)
def test_an_engine_is_found_by_id_slug_or_unambiguous_part(text):
    assert text.strip().lower() in catalogue.find(text).endpoint_id


def test_an_ambiguous_part_lists_what_it_could_mean():
    with pytest.raises(
        UnknownEngine, match=r"Which one: .*hailuo-2\.3/pro/image-to-video.*pro/text-to-video"
    ) as refused:
        catalogue.find("hailuo-2.3/pro")
    assert len(refused.value.near) == 2


@pytest.mark.parametrize(
    "text", ["hailuo 2.3 pro", "hailou-2.3/pro/image-to-video", "minimax/hailuo-2.3/pro/img-to-video"]
)
def test_a_misspelt_engine_is_answered_with_near_ones(text):
    with pytest.raises(UnknownEngine, match=r"Did you mean.*hailuo-2\.3/pro"):
        catalogue.find(text)


def test_get_takes_the_exact_id_only():
    with pytest.raises(UnknownEngine, match=r"no engine 'veo3\.1'"):
        catalogue.get("veo3.1")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"width": 200, "height": 150},
            "This picture is 200 x 150 px; Hailuo 2.3 Pro needs at least 301 px on each side.",
        ),
        ({"format": "GIF"}, "This picture is GIF; Hailuo 2.3 Pro takes JPEG, PNG or WebP."),
        ({"bytes": 25 * 1024**2}, "This picture has 25.0 MB; Hailuo 2.3 Pro takes at most 20 MB."),
        (
            {"width": 2600},
            "This picture is 2600 x 768 px; Hailuo 2.3 Pro takes nothing wider than 2.5 times its height.",
        ),
        (
            {"height": 2600},
            "This picture is 1024 x 2600 px; Hailuo 2.3 Pro takes nothing narrower than 0.4 times its height.",
        ),
    ],
)
def test_a_picture_outside_the_limits_gets_a_sentence_with_them(changes, sentence):
    assert check_picture(hailuo(), **FITS | changes) == [sentence]


@pytest.mark.parametrize(
    "changes",
    [{}, {"format": "JPG"}, {"format": ".png"}, {"width": 301, "height": 301}, {"bytes": 20 * 1024**2},
     {"width": 2500, "height": 1000}, {"width": 400, "height": 1000}],
)  # fmt: skip
def test_a_picture_at_the_very_limit_fits(changes):
    assert check_picture(hailuo(), **FITS | changes) == []


def test_too_large_a_side_is_said_too():
    wan = catalogue.get("fal-ai/wan-25-preview/image-to-video")
    assert check_picture(wan, **FITS | {"width": 2001}) == [
        "This picture is 2001 x 768 px; Wan 2.5 Preview takes at most 2000 px on each side."
    ]


@pytest.mark.parametrize(
    ("sides", "sent"),
    [((3024, 4032), (1500, 2000)), ((2001, 1000), (2000, 1000)), ((2000, 2000), (2000, 2000)),
     ((400, 360), (400, 360)), ((16_000, 1), (2000, 1)), ((0, 0), (0, 0))],
)  # fmt: skip
def test_sides_are_scaled_down_to_the_engines_largest_and_never_up(sides, sent):
    wan = catalogue.get("fal-ai/wan-25-preview/image-to-video")
    width, height = sides
    assert fitting_sides(wan, width=width, height=height) == sent


def test_an_engine_without_a_largest_side_takes_every_picture_at_its_size():
    assert fitting_sides(hailuo(), width=9000, height=6000) == (9000, 6000)
    assert fitting_sides(catalogue.get("fal-ai/veo3.1"), width=9000, height=6000) == (9000, 6000)


def test_an_impossible_picture_is_refused_and_not_a_crash():
    assert len(check_picture(hailuo(), format="", bytes=0, width=0, height=0)) == 2


def test_every_orderable_engine_says_what_a_member_needs_to_know():
    for engine in catalogue.orderable():
        assert engine.summary.endswith(".")
        assert engine.prompt_max_chars
        assert engine.limits.picture is None or not set(engine.limits.picture.formats) & {"gif", "avif"}
        assert all(field.help and field.label for field in engine.inputs)


def test_the_whole_catalogue_is_pure():
    import sys
    from subprocess import run

    probe = (
        "import sys; from generations import catalogue; catalogue.engines(); print('django' in sys.modules)"
    )
    assert run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "False\n"
