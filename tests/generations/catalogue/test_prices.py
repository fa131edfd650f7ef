"""Every worked price of every engine, and what the evaluator refuses."""

import json
from decimal import Decimal
from typing import Any

import pytest

from generations import catalogue
from generations.catalogue import (
    BadFact,
    BadRule,
    MissingFact,
    PriceError,
    UnknownRow,
    price_usd,
    quote_credits,
)

EXAMPLES = [(engine, example) for engine in catalogue.engines() for example in engine.price.examples]

STORY = [
    ("minimax/hailuo-2.3/pro/image-to-video", {}, 49),
    ("minimax/hailuo-2.3/pro/text-to-video", {}, 49),
    ("minimax/hailuo-2.3/standard/image-to-video", {}, 28),
    ("minimax/hailuo-2.3/standard/image-to-video", {"duration": "10"}, 56),
    ("minimax/hailuo-2.3/standard/text-to-video", {"duration": "10"}, 56),
    ("minimax/hailuo-2.3-fast/pro/image-to-video", {}, 32),
    ("minimax/hailuo-2.3-fast/standard/image-to-video", {}, 19),
    ("minimax/hailuo-2.3-fast/standard/image-to-video", {"duration": "10"}, 32),
    ("minimax/hailuo-02/standard/image-to-video", {"resolution": "512P"}, 11),  # $0.102, rounded up
    ("kling-video/v2.5-turbo/pro/image-to-video", {"duration": "5"}, 35),
    ("kling-video/v2.5-turbo/pro/text-to-video", {"duration": "10"}, 70),
    ("kling-video/v2.5-turbo/standard/image-to-video", {"duration": "10"}, 42),
    ("kling-video/v2.6/pro/image-to-video", {}, 35),
    ("kling-video/v2.6/pro/image-to-video", {"generate_audio": "on"}, 70),
    ("kling-video/v2.6/pro/text-to-video", {"duration": "10", "generate_audio": "true"}, 140),
    ("wan/v2.2-a14b/image-to-video", {}, 51),  # 81 frames: $0.50625, rounded up
    ("wan/v2.2-a14b/text-to-video", {"num_frames": "161"}, 101),
    ("wan/v2.2-a14b/image-to-video/turbo", {"resolution": "580p"}, 8),  # $0.075, rounded up
    ("wan-pro/image-to-video", {}, 80),
    ("wan-pro/text-to-video", {}, 80),
    ("wan-25-preview/image-to-video", {}, 75),
    ("wan-25-preview/text-to-video", {"resolution": "480p", "duration": "10"}, 50),
    ("veo3.1", {}, 160),
    ("veo3.1/fast", {"duration": "4s"}, 40),
    ("veo3.1/image-to-video", {"generate_audio": True, "resolution": "4k"}, 480),
    ("veo3.1/fast/image-to-video", {"generate_audio": True}, 120),
    ("veo3.1/first-last-frame-to-video", {"duration": "6s"}, 120),
]


def rule(**changes: Any) -> dict[str, Any]:
    return {"quantity": {"kind": "seconds", "param": "duration"}, "rate": {"usd": "0.07"}} | changes


@pytest.mark.parametrize(
    ("engine", "example"), EXAMPLES, ids=[f"{e.slug}-{dict(x.params)}" for e, x in EXAMPLES]
)
def test_every_worked_example_is_reproduced_exactly(engine, example):
    assert price_usd(engine.price.rule, example.params) == example.usd


def test_no_worked_example_was_lost():
    assert len(EXAMPLES) == 82
    assert len(catalogue.engines()) == 45


@pytest.mark.parametrize(("slug", "choices", "expected"), STORY)
def test_story_prices_at_a_hundred_credits_to_the_dollar(slug, choices, expected):
    engine = catalogue.get(f"fal-ai/{slug}")
    params = catalogue.clean(engine, choices, is_partial=True)
    facts = catalogue.quote_params(engine, params)
    assert quote_credits(engine.price.rule, facts, credits_per_usd=100) == expected


def test_voices_switch_to_the_voice_control_rate():
    engine = catalogue.get("fal-ai/kling-video/v2.6/pro/image-to-video")
    params = {"duration": "10", "generate_audio": True, "voice_ids": ["a"]}
    assert price_usd(engine.price.rule, catalogue.quote_params(engine, params)) == Decimal("1.68")


@pytest.mark.parametrize(
    ("per_usd", "expected"), [(1, 1), (3, 2), (100, 51), (1000, 507), (100_000, 50_625), (1_000_000, 506_250)]
)
def test_credits_are_rounded_up_once_from_the_exact_dollars(per_usd, expected):
    engine = catalogue.get("fal-ai/wan/v2.2-a14b/image-to-video")
    assert quote_credits(engine.price.rule, {"num_frames": 81}, credits_per_usd=per_usd) == expected


@pytest.mark.parametrize("per_usd", [0, -1, 1.5, True, "100"])
def test_credits_per_usd_must_be_a_whole_number_of_one_or_more(per_usd):
    with pytest.raises(PriceError, match="credits_per_usd"):
        quote_credits(rule(), {"duration": "5"}, credits_per_usd=per_usd)


def test_a_stored_rule_with_bare_json_numbers_prices_exactly():
    stored = json.loads(
        '{"quantity": {"kind": "frames_per_16", "param": "n", "default": 81}, "rate": {"usd": 0.1}}'
    )
    assert price_usd(stored, {}) == Decimal("0.50625")


def test_only_what_lies_beyond_the_included_quantity_is_billed():
    kling = rule(base_usd="0.35", included_quantity=5)
    assert [price_usd(kling, {"duration": n}) for n in (3, 5, 10)] == [
        Decimal(x) for x in ("0.35", "0.35", "0.70")
    ]


def test_a_begun_block_counts_whole():
    blocks = rule(quantity={"kind": "blocks", "block_s": 5}, rate={"usd": "0.80"})
    assert [price_usd(blocks, {"seconds": n}) for n in (5, "5.04", 10)] == [
        Decimal(x) for x in ("0.8", "1.6", "1.6")
    ]


def test_multipliers_compound():
    engine = catalogue.get("fal-ai/bytedance-upscaler/upscale/video")
    facts = {"seconds": 10, "target_resolution": "1080p", "target_fps": "60fps", "enhancement_tier": "pro"}
    assert price_usd(engine.price.rule, facts) == Decimal("1.44")


@pytest.mark.parametrize(
    "duration", ["abc", "NaN", "inf", float("nan"), float("inf"), Decimal("NaN"), -5, "-5", 0, "0", True, "", "1e3",
                 "٦", [6], pytest.param(10**5000, id="huge"), Decimal("1e999999"), "6ss", "6 s"],
)  # fmt: skip
def test_an_amount_that_is_not_a_positive_number_is_refused(duration):
    with pytest.raises(BadFact, match="duration must be"):
        price_usd(rule(), {"duration": duration})


def test_a_missing_fact_is_named():
    with pytest.raises(MissingFact, match="depends on duration, which is not given"):
        price_usd(rule(), {})


def test_compute_seconds_are_not_guessed():
    engine = catalogue.get("fal-ai/workflow-utilities/trim-video")
    with pytest.raises(MissingFact, match="known only after fal has run it"):
        price_usd(engine.price.rule, {})


def test_a_missing_choice_is_not_taken_for_the_cheaper_one():
    engine = catalogue.get("fal-ai/veo3.1")
    with pytest.raises(MissingFact, match="generate_audio"):
        price_usd(engine.price.rule, {"duration": "8s", "resolution": "720p"})


@pytest.mark.parametrize("given", ["true", 1, None])
def test_a_row_is_matched_by_type_and_value(given):
    engine = catalogue.get("fal-ai/kling-video/v2.6/pro/text-to-video")
    with pytest.raises(UnknownRow, match="no price for generate_audio"):
        price_usd(engine.price.rule, {"duration": "5", "generate_audio": given})


def test_an_unknown_row_says_which_are_known():
    engine = catalogue.get("fal-ai/wan-25-preview/text-to-video")
    with pytest.raises(UnknownRow, match=r"no price for resolution=8k.*resolution=1080p"):
        price_usd(engine.price.rule, {"duration": "5", "resolution": "8k"})


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ([], "rule"),
        ({"rate": {"usd": "1"}}, "rule.quantity"),
        (rule(extra=1), "rule.extra"),
        (rule(quantity={"kind": "parsecs"}), "quantity.kind"),
        (rule(quantity={"kind": "seconds"}), "quantity.param"),
        (rule(quantity={"kind": "seconds", "param": 6}), "quantity.param"),
        (rule(quantity={"kind": "one", "param": "duration"}), "quantity.param"),
        (rule(quantity={"kind": "blocks", "block_s": 0}), "quantity.block_s"),
        (rule(rate={}), "rate"),
        (rule(rate={"usd": "1", "rows": []}), "rate"),
        (rule(rate={"usd": "-1"}), "rate.usd"),
        (rule(rate={"usd": "NaN"}), "rate.usd"),
        (rule(rate={"usd": float("inf")}), "rate.usd"),
        (rule(rate={"usd": True}), "rate.usd"),
        (rule(rate={"usd": None}), "rate.usd"),
        (rule(rate={"by": [], "rows": []}), "rate.by"),
        (rule(rate={"by": ["a"], "rows": []}), "rate.rows"),
        (rule(rate={"by": ["a"], "rows": [{"when": {"b": "1"}, "usd": "1"}]}), "rate.rows[0].when"),
        (rule(rate={"by": ["a"], "rows": [{"when": {}, "usd": "1"}]}), "rate.rows[0].when"),
        (rule(rate={"by": ["a"], "rows": [{"when": {"a": 1.5}, "usd": "1"}]}), "rate.rows[0].when.a"),
        (rule(rate={"by": ["a"], "rows": [{"when": {"a": "1"}}]}), "rate.rows[0].usd"),
        (rule(base_usd="x"), "base_usd"),
        (rule(included_quantity=-1), "included_quantity"),
        (rule(multipliers={}), "multipliers"),
        (rule(multipliers=[{"when": {"a": True}, "times": 0}]), "multipliers[0].times"),
        (rule(assume=[]), "assume"),
    ],
)
def test_a_malformed_rule_is_refused_with_its_place(broken, field):
    with pytest.raises(BadRule) as refused:
        price_usd(broken, {"duration": 6, "a": "1"})
    assert refused.value.field == field


def test_a_rule_handed_out_can_be_changed_without_changing_the_catalogue():
    engine = catalogue.get("fal-ai/wan-pro/text-to-video")
    engine.price.rule["rate"]["usd"] = "0.01"
    assert price_usd(engine.price.rule, {}) == Decimal("0.80")


def test_rules_survive_the_round_trip_through_json():
    for engine in catalogue.engines():
        assert json.loads(json.dumps(engine.price.rule)) == engine.price.rule
