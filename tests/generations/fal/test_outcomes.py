"""The table of outcomes, row by row, against fal's page "Errors"."""

from decimal import Decimal
from typing import Any

import pytest

from generations.fal import Fault, Phase, judge
from generations.fal.outcomes import TABLE

REQUEST_ERRORS = [
    ("request_timeout", 504, True, Fault.FAL),
    ("startup_timeout", 504, True, Fault.FAL),
    ("runner_scheduling_failure", 503, True, Fault.FAL),
    ("runner_connection_timeout", 503, True, Fault.FAL),
    ("runner_disconnected", 503, True, Fault.FAL),
    ("runner_connection_refused", 503, True, Fault.FAL),
    ("runner_connection_error", 503, True, Fault.FAL),
    ("runner_incomplete_response", 502, True, Fault.FAL),
    ("runner_server_error", 500, True, Fault.FAL),
    ("client_disconnected", 499, False, Fault.OURS),
    ("client_cancelled", 499, False, Fault.OURS),
    ("bad_request", 400, False, Fault.OURS),
    ("internal_error", 500, True, Fault.FAL),
]
RETRYABLE_MODEL_ERRORS = [
    ("internal_server_error", 500),
    ("generation_timeout", 504),
    ("downstream_service_error", 400),
    ("downstream_service_error", 500),
    ("downstream_service_unavailable", 500),
]
INPUT_ERRORS: list[tuple[str, dict[str, Any], str]] = [
    ("content_policy_violation", {}, "content check refused"),
    ("no_media_generated", {}, "made nothing"),
    ("image_too_small", {"min_height": 300, "min_width": 400}, "at least 400 × 300 pixels"),  # noqa: RUF001
    ("image_too_large", {"max_height": 4000, "max_width": 5000}, "at most 5000 × 4000"),  # noqa: RUF001
    ("image_load_error", {}, "could not be opened"),
    ("file_download_error", {}, "could not load the picture"),
    ("face_detection_error", {}, "No face"),
    ("file_too_large", {"max_size": 20_000_000}, "at most 20 MB"),
    ("greater_than", {"gt": 0}, "“frame rate” has to be more than 0"),
    ("greater_than_equal", {"ge": 1}, "“frame rate” has to be at least 1"),
    ("less_than", {"lt": 2.5}, "“frame rate” has to be less than 2.5"),
    ("less_than_equal", {"le": 60}, "“frame rate” has to be at most 60"),
    ("multiple_of", {"multiple_of": 8}, "“frame rate” has to be a multiple of 8"),
    ("sequence_too_short", {"min_length": 1}, "at least 1 items"),
    ("sequence_too_long", {"max_length": 4}, "at most 4 items"),
    ("one_of", {"expected": ["6", "10"]}, "“frame rate” has to be one of: 6, 10"),
    ("feature_not_supported", {}, "combination of settings"),
    ("invalid_archive", {}, "archive"),
    ("archive_file_count_below_minimum", {}, "too few files"),
    ("archive_file_count_exceeds_maximum", {}, "too many files"),
    ("audio_duration_too_long", {"max_duration": 30}, "at most 30 seconds"),
    ("audio_duration_too_short", {"min_duration": 3}, "at least 3 seconds"),
    ("unsupported_audio_format", {"supported_formats": ["mp3", "wav"]}, "only as mp3, wav"),
    ("unsupported_image_format", {"supported_formats": ["png", "jpg"]}, "only as png, jpg"),
    ("unsupported_video_format", {"supported_formats": ["mp4"]}, "only as mp4"),
    ("video_duration_too_long", {"max_duration": 10}, "at most 10 seconds"),
    ("video_duration_too_short", {"min_duration": 2}, "at least 2 seconds"),
    ("value_error", {}, "“frame rate”"),
    ("value_error.number.not_ge", {}, "“frame rate”"),
    ("string_too_short", {"min_length": 2}, "at least 2 characters"),
    ("string_too_long", {"max_length": 2000}, "at most 2000 characters"),
]


def model_error(error_type: str, **ctx: Any) -> list[dict[str, Any]]:
    return [
        {
            "loc": ["body", "frame_rate"],
            "msg": "fal's text",
            "type": error_type,
            "input": "a secret",
            "ctx": ctx,
        }
    ]


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize(("error_type", "status", "is_retryable", "fault"), REQUEST_ERRORS)
def test_each_request_error_has_its_outcome(
    error_type: str, status: int, is_retryable: bool, fault: Fault, phase: Phase
) -> None:
    outcome = judge(http_status=status, error_type=error_type, detail="text", phase=phase)
    assert (outcome.reason, outcome.is_retryable, outcome.fault) == (error_type, is_retryable, fault)
    assert outcome.may_be_billed is (phase is not Phase.SUBMIT and status < 500)


@pytest.mark.parametrize(("error_type", "status", "is_retryable", "fault"), REQUEST_ERRORS)
def test_a_completed_status_with_an_error_type_alone_is_judged_alike(
    error_type: str, status: int, is_retryable: bool, fault: Fault
) -> None:
    outcome = judge(http_status=None, error_type=error_type, phase=Phase.RUN)
    assert outcome == judge(http_status=status, error_type=error_type, phase=Phase.RUN)


@pytest.mark.parametrize(("error_type", "status"), RETRYABLE_MODEL_ERRORS)
def test_each_passing_model_error_allows_a_new_attempt(error_type: str, status: int) -> None:
    outcome = judge(http_status=status, error_type="", detail=model_error(error_type), phase=Phase.RESULT)
    assert (outcome.reason, outcome.is_retryable, outcome.fault) == (error_type, True, Fault.FAL)
    assert outcome.may_be_billed is (status < 500)


@pytest.mark.parametrize(("error_type", "ctx", "words"), INPUT_ERRORS)
def test_each_input_error_is_final_and_says_what_to_change(
    error_type: str, ctx: dict[str, Any], words: str
) -> None:
    outcome = judge(http_status=422, error_type="", detail=model_error(error_type, **ctx), phase=Phase.RESULT)
    assert (outcome.reason, outcome.is_retryable, outcome.fault) == (
        error_type.partition(".")[0],
        False,
        Fault.INPUT,
    )
    assert outcome.may_be_billed
    assert words in outcome.message
    assert "fal's text" not in outcome.message
    assert "secret" not in outcome.message


@pytest.mark.parametrize(("error_type", "ctx", "words"), INPUT_ERRORS)
def test_each_input_error_has_a_sentence_where_fal_gives_no_limits(
    error_type: str, ctx: dict[str, Any], words: str
) -> None:
    outcome = judge(http_status=422, error_type=error_type, detail="text", phase=Phase.RESULT)
    assert outcome.message.endswith(".")
    assert "{" not in outcome.message


def test_every_row_of_the_table_is_in_these_tests() -> None:
    tested = {row[0] for row in REQUEST_ERRORS} | {row[0] for row in RETRYABLE_MODEL_ERRORS}
    tested |= {row[0] for row in INPUT_ERRORS if "." not in row[0]} | {"missing"}
    assert tested == set(TABLE)


def test_a_missing_setting_is_our_fault() -> None:
    outcome = judge(http_status=422, error_type="", detail=model_error("missing"), phase=Phase.RESULT)
    assert (outcome.reason, outcome.fault, outcome.is_retryable) == ("missing", Fault.OURS, False)
    assert "“frame rate”" in outcome.message


def test_an_unknown_type_falls_back_on_the_status() -> None:
    detail = model_error("something_new")
    outcome = judge(http_status=422, error_type="", detail=detail, phase=Phase.RESULT)
    assert (outcome.reason, outcome.fault, outcome.is_retryable) == ("invalid_input", Fault.INPUT, False)


def test_the_first_entry_we_know_decides() -> None:
    detail = model_error("something_new") + model_error("image_load_error")
    assert (
        judge(http_status=422, error_type="", detail=detail, phase=Phase.RESULT).reason == "image_load_error"
    )


@pytest.mark.parametrize(
    ("status", "reason", "is_retryable"),
    [
        (500, "fal_error", True),
        (502, "fal_error", True),
        (504, "fal_error", True),
        (429, "busy", True),
        (404, "engine_unavailable", False),
        (408, "refused", False),
        (409, "refused", False),
        (413, "input_too_large", False),
        (None, "unknown_failure", False),
    ],
)
def test_without_a_type_the_status_decides(status: int | None, reason: str, is_retryable: bool) -> None:
    outcome = judge(http_status=status, error_type="", phase=Phase.RUN)
    assert (outcome.reason, outcome.is_retryable) == (reason, is_retryable)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("phase", list(Phase))
def test_a_5xx_is_never_billed(status: int, phase: Phase) -> None:
    assert not judge(http_status=status, error_type="content_policy_violation", phase=phase).may_be_billed


def test_a_4xx_with_no_units_is_not_billed() -> None:
    def may_be_billed(units: Decimal | None) -> bool:
        detail = model_error("missing")
        return judge(
            http_status=422, error_type="", detail=detail, phase=Phase.RESULT, billable_units=units
        ).may_be_billed

    assert [may_be_billed(units) for units in (None, Decimal(1), Decimal(0))] == [True, True, False]


def test_our_own_start_timeout_is_told_from_fals_timeouts() -> None:
    ours = judge(http_status=504, error_type="request_timeout", phase=Phase.RUN, is_start_timeout=True)
    assert (ours.reason, ours.is_retryable, ours.may_be_billed) == ("start_timeout", True, False)


def test_a_403_a_model_answers_concerns_that_request_only() -> None:
    detail = model_error("content_policy_violation")
    outcome = judge(http_status=403, error_type="", detail=detail, phase=Phase.RESULT)
    assert (outcome.reason, outcome.fault) == ("content_policy_violation", Fault.INPUT)
    other = judge(http_status=403, error_type="", detail="Forbidden", phase=Phase.RESULT)
    assert other.fault is Fault.ACCOUNT


@pytest.mark.parametrize(
    "detail",
    [
        [{"type": "one_of", "ctx": {"expected": {"a": 1}}}],
        [{"type": "one_of", "ctx": "text"}],
        [{"type": "greater_than", "ctx": {"gt": True}, "loc": "body"}],
        [{"type": "greater_than", "ctx": {"gt": "x" * 500}, "loc": ["<script>"]}],
        [{"type": ["greater_than"]}],
        ["text", None, 7],
        {"a": 1},
        7,
    ],
)
def test_a_detail_in_a_shape_fal_does_not_document_breaks_nothing(detail: object) -> None:
    outcome = judge(http_status=422, error_type="", detail=detail, phase=Phase.RESULT)
    assert outcome.message
    assert not set("{<x>}") & set(outcome.message) - set("x")
