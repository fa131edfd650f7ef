"""What an error of fal's means for us: a table, and one pure function over it.

Sources: fal's pages "Errors" (the types and the HTTP status each comes with), "FAQ" and "Pricing" (5xx is never
billed, 422 may be), "Retries" (what fal itself has already tried again). The sentences are for members: they say what
to do and never repeat fal's own text, which may name hosts or echo somebody's prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Phase(StrEnum):
    """When it went wrong: at the POST, while it ran (a COMPLETED status with an error), or in the fetched result."""

    SUBMIT = "submit"
    RUN = "run"
    RESULT = "result"


class Fault(StrEnum):
    """Whose it was. ACCOUNT concerns every request of the site: stop sending, fail nothing, tell the admins."""

    FAL = "fal"
    INPUT = "input"
    ACCOUNT = "account"
    OURS = "ours"


@dataclass(frozen=True)
class Outcome:
    """`is_retryable`: a new attempt under the same hold is allowed. `may_be_billed`: fal may take money for it."""

    is_retryable: bool
    fault: Fault
    reason: str
    message: str
    may_be_billed: bool = False


@dataclass(frozen=True)
class _Row:
    usual_status: int
    fault: Fault
    is_retryable: bool
    sentence: str
    with_limits: str = ""


def _of_fal(status: int, sentence: str) -> _Row:
    return _Row(status, Fault.FAL, True, sentence)


def _of_input(sentence: str, with_limits: str = "") -> _Row:
    return _Row(422, Fault.INPUT, False, sentence, with_limits)


_NO_MACHINE = "fal could not find a free machine for this."
_BROKE_OFF = "fal's machine broke off before the clip was done."
_FAL_FAULT = "Something went wrong at fal."
_ENGINE_FAULT = "The engine had a fault of its own."
_ENGINE_AWAY = "The engine is not available just now."
_SITE_FAULT = "fal could not read our request. That is a fault of this site, not of your input."
_FIELD = "The setting “{field}” "
_OUT_OF_RANGE = _FIELD + "is out of range."

_REQUEST_ROWS: dict[str, _Row] = {
    "request_timeout": _of_fal(504, "fal did not finish this in time."),
    "startup_timeout": _of_fal(504, "The engine did not start in time."),
    "runner_scheduling_failure": _of_fal(503, _NO_MACHINE),
    "runner_connection_timeout": _of_fal(503, _NO_MACHINE),
    "runner_disconnected": _of_fal(503, _BROKE_OFF),
    "runner_connection_refused": _of_fal(503, _NO_MACHINE),
    "runner_connection_error": _of_fal(503, _BROKE_OFF),
    "runner_incomplete_response": _of_fal(502, _BROKE_OFF),
    "runner_server_error": _of_fal(500, _ENGINE_FAULT),
    "client_disconnected": _Row(
        499, Fault.OURS, False, "The connection to fal ended before the clip was done."
    ),
    "client_cancelled": _Row(499, Fault.OURS, False, "The request was cancelled."),
    "bad_request": _Row(400, Fault.OURS, False, _SITE_FAULT),
    "internal_error": _of_fal(500, _FAL_FAULT),
}

_MODEL_ROWS: dict[str, _Row] = {
    "internal_server_error": _of_fal(500, _ENGINE_FAULT),
    "generation_timeout": _of_fal(504, "The engine took too long and gave up."),
    "downstream_service_error": _of_fal(400, _ENGINE_FAULT),
    "downstream_service_unavailable": _of_fal(500, _ENGINE_AWAY),
    "content_policy_violation": _of_input(
        "The content check refused this prompt or picture. Change what it shows or asks for, then try again."
    ),
    "no_media_generated": _of_input("The engine made nothing from this. Try another prompt or picture."),
    "image_too_small": _of_input(
        "The picture is too small for this engine.",
        "The picture is too small: this engine wants at least {min_width} × {min_height} pixels.",  # noqa: RUF001
    ),
    "image_too_large": _of_input(
        "The picture has too many pixels for this engine.",
        "The picture has too many pixels: this engine takes at most {max_width} × {max_height}.",  # noqa: RUF001
    ),
    "image_load_error": _of_input(
        "The picture could not be opened. It may be damaged; save it anew and try again."
    ),
    "file_download_error": _of_input(
        "fal could not load the picture or file. Add it again, then try once more."
    ),
    "face_detection_error": _of_input("No face could be found in the picture, and this engine needs one."),
    "file_too_large": _of_input(
        "The file is too large for this engine.",
        "The file is too large: this engine takes at most {max_size}.",
    ),
    "greater_than": _of_input(_OUT_OF_RANGE, _FIELD + "has to be more than {gt}."),
    "greater_than_equal": _of_input(_OUT_OF_RANGE, _FIELD + "has to be at least {ge}."),
    "less_than": _of_input(_OUT_OF_RANGE, _FIELD + "has to be less than {lt}."),
    "less_than_equal": _of_input(_OUT_OF_RANGE, _FIELD + "has to be at most {le}."),
    "multiple_of": _of_input(_OUT_OF_RANGE, _FIELD + "has to be a multiple of {multiple_of}."),
    "sequence_too_short": _of_input(
        "Too few items for “{field}”.", "“{field}” needs at least {min_length} items."
    ),
    "sequence_too_long": _of_input(
        "Too many items for “{field}”.", "“{field}” takes at most {max_length} items."
    ),
    "one_of": _of_input(
        _FIELD + "has a value this engine does not know.", _FIELD + "has to be one of: {expected}."
    ),
    "feature_not_supported": _of_input("This engine cannot do that combination of settings."),
    "invalid_archive": _of_input("The archive could not be opened."),
    "archive_file_count_below_minimum": _of_input("The archive holds too few files."),
    "archive_file_count_exceeds_maximum": _of_input("The archive holds too many files."),
    "audio_duration_too_long": _of_input(
        "The sound is too long for this engine.", "The sound is too long: at most {max_duration} seconds."
    ),
    "audio_duration_too_short": _of_input(
        "The sound is too short for this engine.", "The sound is too short: at least {min_duration} seconds."
    ),
    "unsupported_audio_format": _of_input(
        "This engine does not take that kind of sound file.",
        "This engine takes sound only as {supported_formats}.",
    ),
    "unsupported_image_format": _of_input(
        "This engine does not take that kind of picture.",
        "This engine takes pictures only as {supported_formats}.",
    ),
    "unsupported_video_format": _of_input(
        "This engine does not take that kind of video.",
        "This engine takes video only as {supported_formats}.",
    ),
    "video_duration_too_long": _of_input(
        "The video is too long for this engine.", "The video is too long: at most {max_duration} seconds."
    ),
    "video_duration_too_short": _of_input(
        "The video is too short for this engine.", "The video is too short: at least {min_duration} seconds."
    ),
    "missing": _Row(
        422, Fault.OURS, False, "fal misses the setting “{field}”. That is a fault of this site."
    ),
    "value_error": _of_input("The value of “{field}” is not one this engine takes."),
    "string_too_short": _of_input(
        "“{field}” is too short.", "“{field}” needs at least {min_length} characters."
    ),
    "string_too_long": _of_input(
        "“{field}” is too long.", "“{field}” takes at most {max_length} characters."
    ),
}

TABLE: Mapping[str, _Row] = _REQUEST_ROWS | _MODEL_ROWS

_BY_STATUS: dict[int, tuple[str, _Row]] = {
    400: ("bad_request", TABLE["bad_request"]),
    404: ("engine_unavailable", _Row(404, Fault.OURS, False, "fal does not offer this engine any more.")),
    413: ("input_too_large", _of_input("The input is too large for fal.")),
    422: ("invalid_input", _of_input("The engine did not accept these inputs.")),
    429: ("busy", _of_fal(429, "fal is busy; this is tried again by itself.")),
    499: ("client_cancelled", TABLE["client_cancelled"]),
}
_OTHER_4XX = ("refused", _Row(400, Fault.FAL, False, "fal refused the request."))
_OTHER_5XX = ("fal_error", _of_fal(500, _FAL_FAULT))
_UNKNOWN = ("unknown_failure", _Row(422, Fault.FAL, False, "fal could not finish this and did not say why."))

_START_TIMEOUT = Outcome(True, Fault.FAL, "start_timeout", "fal's queue was too long to begin this in time.")
_LOCKED = Outcome(
    False,
    Fault.ACCOUNT,
    "account_locked",
    "fal's account of this site is paused; your admins have been told; nothing is lost.",
)
_MISCONFIGURED = Outcome(
    False,
    Fault.ACCOUNT,
    "account_misconfigured",
    "This site cannot sign in to fal just now; your admins have been told; nothing is lost.",
)
NOT_SENT = Outcome(
    True, Fault.FAL, "not_sent", "fal cannot be reached just now; this is tried again by itself."
)
NO_ANSWER = Outcome(False, Fault.FAL, "no_answer", "fal does not answer just now; we go on asking.", True)
SUBMIT_LOST = Outcome(
    False,
    Fault.FAL,
    "submit_lost",
    "fal's answer was lost on the way. Your credits stay held until we know what became of the request.",
    True,
)

_LOCK_WORDS = re.compile(r"user is locked|exhausted balance|top[_ ]up|admin lock", re.IGNORECASE)
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")


def judge(
    *,
    http_status: int | None,
    error_type: str,
    phase: Phase,
    detail: object = None,
    is_start_timeout: bool = False,
    billable_units: Decimal | None = None,
) -> Outcome:
    """What the error means for the attempt, the site and the member.

    `http_status` is None for a COMPLETED status with an error, which carries the type alone. `detail` is fal's, raw:
    the list of model errors (then the first one we know decides) or a text. `is_start_timeout` is the header
    `x-fal-request-timeout-type: user`.
    """
    if is_start_timeout and http_status == 504:
        return _START_TIMEOUT
    items = detail_items(detail)
    is_models_own = bool(error_type or items or billable_units is not None)
    account = _judge_account(http_status, detail, phase=phase, is_models_own=is_models_own)
    if account is not None:
        return account
    reason, row, item = _find_row(http_status, error_type, items)
    status = row.usual_status if http_status is None else http_status
    may_be_billed = phase is not Phase.SUBMIT and status < 500 and billable_units != 0
    return Outcome(row.is_retryable, row.fault, reason, _sentence(row, item), may_be_billed)


def detail_items(detail: object) -> list[Mapping[str, object]]:
    """The entries of a model error; empty for a text, or for anything else."""
    return [item for item in detail if isinstance(item, dict)] if isinstance(detail, list) else []


def _judge_account(
    http_status: int | None, detail: object, *, phase: Phase, is_models_own: bool
) -> Outcome | None:
    """A 403 that a model answered as its result concerns that request only; any other 401, 402, 403 concerns us all."""
    if http_status not in (401, 402, 403):
        return None
    if http_status == 402 or (isinstance(detail, str) and _LOCK_WORDS.search(detail)):
        return _LOCKED
    return None if is_models_own and phase is not Phase.SUBMIT else _MISCONFIGURED


def _find_row(
    http_status: int | None, error_type: str, items: list[Mapping[str, object]]
) -> tuple[str, _Row, Mapping[str, object]]:
    for item in items:
        name = _known_type(item.get("type"))
        if name:
            return name, TABLE[name], item
    name = _known_type(error_type)
    if name:
        return name, TABLE[name], {}
    reason, row = _row_by_status(http_status)
    return reason, row, {}


def _known_type(value: object) -> str:
    """Pydantic's types carry suffixes ("value_error.missing"); the part before the dot is enough."""
    if not isinstance(value, str):
        return ""
    head = value.partition(".")[0]
    return value if value in TABLE else head if head in TABLE else ""


def _row_by_status(http_status: int | None) -> tuple[str, _Row]:
    if http_status is None:
        return _UNKNOWN
    return _BY_STATUS.get(http_status, _OTHER_5XX if http_status >= 500 else _OTHER_4XX)


def _sentence(row: _Row, item: Mapping[str, object]) -> str:
    context = item.get("ctx")
    words = (
        {name: _words(name, value) for name, value in context.items()} if isinstance(context, dict) else {}
    )
    words["field"] = _field_name(item.get("loc"))
    try:
        return (row.with_limits or row.sentence).format_map(
            {name: text for name, text in words.items() if text}
        )
    except KeyError:
        return row.sentence.format(field=words["field"])


def _field_name(loc: object) -> str:
    names = (
        [part for part in loc if isinstance(part, str) and _FIELD_NAME.fullmatch(part)]
        if isinstance(loc, list)
        else []
    )
    return names[-1].replace("_", " ") if names else "input"


def _words(name: object, value: object) -> str:
    """A limit in words; empty for what is not a number, a short name or a list of them."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int | float | Decimal):
        return (
            _size(int(value))
            if name == "max_size"
            else f"{value:g}"
            if isinstance(value, float)
            else str(value)
        )
    if isinstance(value, str):
        return value if len(value) <= 60 and value.isprintable() else ""
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value[:20] if isinstance(entry, str | int))[:200]
    return ""


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:.3g} MB" if size_bytes >= 1_000_000 else f"{size_bytes / 1000:.3g} kB"
