"""Which of our errors an answer of fal's is: one function per question, pure.

The rule behind all of them: a failure is believed only where fal wrote it itself (see `wire.has_fal_marks`); what an
ingress or a proxy wrote says nothing about the request.
"""

from __future__ import annotations

import re

from generations.fal.errors import (
    AccountLocked,
    AccountMisconfigured,
    AttemptFailed,
    FalError,
    NoAnswer,
    ProtocolError,
    Refused,
    RequestUnknown,
    ResultNotReady,
    StillRunning,
    SubmitLost,
    TryLater,
)
from generations.fal.outcomes import Fault, Phase, detail_items
from generations.fal.types import CancelAnswer, Result, Status, Submitted
from generations.fal.wire import (
    Answer,
    billable_units,
    has_fal_marks,
    parse_result,
    parse_status,
    parse_submitted,
    retry_after_seconds,
)

_ACCOUNT_STATUSES = (401, 402, 403)
# HTTP says of these that the request was not carried out and has to be sent elsewhere; of 302 and 303 it does not.
_MOVED = (301, 307, 308)
_STILL_RUNNING = re.compile(r"still in progress", re.IGNORECASE)


def read_submit(answer: Answer, *, queue_url: str) -> Submitted:
    """The receipt, or the error that says whether a request may exist."""
    if answer.is_ok:
        return _read_receipt(answer, queue_url=queue_url)
    if answer.http_status in _MOVED:
        raise _error(AccountMisconfigured, answer, Phase.SUBMIT, note=": the queue address is redirected")
    if answer.http_status < 400 or (answer.http_status >= 500 and not has_fal_marks(answer)):
        raise _error(SubmitLost, answer, Phase.SUBMIT)
    raise _common_error(answer, Phase.SUBMIT) or _error(
        AttemptFailed if answer.http_status >= 500 else Refused, answer, Phase.SUBMIT
    )


def read_status(answer: Answer) -> Status:
    """fal answers 202 while it waits or runs and 200 when it is over; the word in the body is what counts."""
    if answer.is_ok:
        return parse_status(answer.json())
    raise question_error(answer)


def read_result(answer: Answer) -> Result:
    """The result call repeats what the model answered, status and headers and all."""
    if _is_still_running(answer):
        raise _error(StillRunning, answer, Phase.RESULT)
    if answer.is_ok:
        return parse_result(answer)
    if answer.http_status < 400:
        raise _error(ProtocolError, answer, Phase.RESULT)
    if not has_fal_marks(answer) and answer.http_status not in (404, 429, *_ACCOUNT_STATUSES):
        raise _error(ResultNotReady, answer, Phase.RESULT)
    if not _is_models_own(answer) and answer.http_status in (404, 429):
        raise question_error(answer)
    raise _common_error(answer, Phase.RESULT) or _error(AttemptFailed, answer, Phase.RESULT)


def read_cancel(answer: Answer) -> CancelAnswer:
    """fal's pages differ on the body; any 2xx means that the wish was taken."""
    word = answer.json_or_empty().get("status")
    if word == "ALREADY_COMPLETED":
        return CancelAnswer.ALREADY_COMPLETED
    if answer.http_status == 404:
        return CancelAnswer.NOT_FOUND
    if answer.is_ok:
        return CancelAnswer.REMOVED if word == "OK" else CancelAnswer.REQUESTED
    raise question_error(answer)


def question_error(answer: Answer) -> FalError:
    """For calls that change nothing (status, cancel, upload, books): what a non-2xx answer is."""
    if answer.http_status == 404:
        return _error(RequestUnknown, answer, Phase.RUN)
    if answer.http_status in (408, 429):
        return _error(TryLater, answer, Phase.RUN)
    if answer.http_status in _ACCOUNT_STATUSES:
        return _common_error(answer, Phase.SUBMIT) or _error(AccountMisconfigured, answer, Phase.SUBMIT)
    return _error(NoAnswer if answer.http_status >= 500 else ProtocolError, answer, Phase.RUN)


def _read_receipt(answer: Answer, *, queue_url: str) -> Submitted:
    """A receipt we cannot use still means that a request exists: it is lost, not failed."""
    try:
        return parse_submitted(answer.json_object(), queue_url=queue_url)
    except ProtocolError as error:
        raise _error(SubmitLost, answer, Phase.SUBMIT, note=f": {error}") from error


def _common_error(answer: Answer, phase: Phase) -> FalError | None:
    """The errors that concern the whole site, at any call."""
    if answer.http_status == 429 and not (phase is Phase.RESULT and _is_models_own(answer)):
        return _error(TryLater, answer, phase)
    if answer.http_status not in _ACCOUNT_STATUSES:
        return None
    error = _error(AttemptFailed, answer, phase)
    if error.outcome.fault is not Fault.ACCOUNT:
        return None
    is_locked = error.outcome.reason == "account_locked"
    return _error(AccountLocked if is_locked else AccountMisconfigured, answer, phase)


def _is_models_own(answer: Answer) -> bool:
    """Whether the model said it (typed, or with units), and not the queue in front of it."""
    body = answer.json_or_empty()
    is_typed = bool(_error_type(answer) or detail_items(body.get("detail")))
    return is_typed or billable_units(answer.headers) is not None


def _is_still_running(answer: Answer) -> bool:
    body = answer.json_or_empty()
    if answer.http_status == 202:
        return body.get("status") in ("IN_QUEUE", "IN_PROGRESS")
    detail = body.get("detail")
    return answer.http_status == 400 and isinstance(detail, str) and bool(_STILL_RUNNING.search(detail))


def _error_type(answer: Answer) -> str:
    value = answer.json_or_empty().get("error_type") or answer.headers.get("x-fal-error-type", "")
    return value if isinstance(value, str) else ""


def _error(kind: type[FalError], answer: Answer, phase: Phase, *, note: str = "") -> FalError:
    body = answer.json_or_empty()
    error_type = _error_type(answer)
    named = body.get("request_id") or answer.headers.get("x-fal-request-id", "")
    return kind(
        f"fal answered {answer.http_status} {error_type}".rstrip() + note,
        http_status=answer.http_status,
        error_type=error_type,
        detail=body.get("detail"),
        phase=phase,
        headers={name: value for name, value in answer.headers.items() if name.startswith("x-fal-")},
        request_id=named if isinstance(named, str) else "",
        billable_units=billable_units(answer.headers),
        retry_after_seconds=retry_after_seconds(answer.headers),
    )
