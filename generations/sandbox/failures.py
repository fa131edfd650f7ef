"""What a failed job answers: fal's two error shapes, by status and type (fal.ai/docs/errors). Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

REQUEST_ERRORS = {
    "request_timeout": 504,
    "startup_timeout": 504,
    "runner_scheduling_failure": 503,
    "runner_connection_timeout": 503,
    "runner_disconnected": 503,
    "runner_connection_refused": 503,
    "runner_connection_error": 503,
    "runner_incomplete_response": 502,
    "runner_server_error": 500,
    "client_disconnected": 499,
    "client_cancelled": 499,
    "bad_request": 400,
    "internal_error": 500,
}
DEFAULT_TYPES = {
    400: "bad_request",
    422: "value_error",
    499: "client_cancelled",
    500: "internal_server_error",
    502: "runner_incomplete_response",
    503: "runner_disconnected",
    504: "generation_timeout",
}
CONTEXTS: dict[str, dict[str, Any]] = {
    "image_too_small": {"min_width": 300, "min_height": 300},
    "image_too_large": {"max_width": 7680, "max_height": 7680},
    "file_too_large": {"max_size": 20_971_520},
    "unsupported_image_format": {"supported_formats": [".jpg", ".jpeg", ".png", ".webp"]},
    "one_of": {"expected": ["6", "10"]},
}
MESSAGES = {
    "content_policy_violation": "The content could not be processed because it was flagged by a content checker.",
    "internal_server_error": "Internal server error.",
    "generation_timeout": "The generation took too long.",
    "image_load_error": "Failed to load the image. Please ensure the image file is not corrupted.",
    "file_download_error": "Failed to download the file. Please check that the URL is accessible.",
    "request_timeout": "Request timed out before it could be processed.",
    "client_cancelled": "Request was cancelled by the client.",
}
PLAIN = {
    401: "Authentication is required",
    403: "Forbidden",
    404: "Not found",
    409: "Conflict",
    429: "Too many requests",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """How a job ended badly: the status and body of its result, and what fal would have taken for it."""

    status_code: int
    body: dict[str, Any]
    error: str
    error_type: str
    is_free: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def failure(
    status_code: int,
    error_type: str = "",
    *,
    loc: list[str] | None = None,
    context: dict[str, Any] | None = None,
    is_free: bool = False,
) -> Failure:
    """Build the answer for a status and, where given, one of fal's error types.

    `is_free` marks what fal never bills whatever its status: refused by the request schema, or never run.
    """
    kind = error_type or DEFAULT_TYPES.get(status_code, "")
    message = MESSAGES.get(kind) or kind.replace("_", " ").capitalize() or PLAIN.get(status_code, "Error")
    if kind in REQUEST_ERRORS:
        body: dict[str, Any] = {"detail": message, "error_type": kind}
        return Failure(status_code, body, message, kind, is_free=is_free)
    if not kind:
        return Failure(status_code, {"detail": message}, message, "", is_free=is_free)
    page = f"https://docs.fal.ai/errors#{kind}"
    detail: dict[str, Any] = {"loc": loc or ["body", "prompt"], "msg": message, "type": kind, "url": page}
    if context or kind in CONTEXTS:
        detail["ctx"] = context or CONTEXTS[kind]
    return Failure(status_code, {"detail": [detail]}, message, kind, is_free=is_free)


def locked(reason: str) -> dict[str, str]:
    """The body of the 403 that a locked account gets at submit and at upload."""
    words = reason or "Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
    detail = f"User is locked. Reason: {words}"
    return {"detail": detail, "message": detail}
