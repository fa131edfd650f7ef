"""How an answer of fal's is read: pure functions, shared by the client that submits and the loop that watches.

Strict where money or the key is at stake (addresses, ids, the status word), tolerant where fal leaves things out
(logs, metrics, queue position). Sources: fal's pages "Queue",
"Queue API" (submit, status, result, cancel) and "Errors".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn
from urllib.parse import SplitResult, urlsplit, urlunsplit

from generations.fal.errors import ForeignUrl, ProtocolError
from generations.fal.types import Completed, InProgress, InQueue, LogLine, Result, Status, Submitted

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,120}")
_PLAIN_URL = re.compile(r"[!-\[\]-~]+")  # printable ASCII, no blank, no backslash
LONGEST_RETRY_AFTER_SECONDS = 300.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, header names in lower case; `is_whole` is False where the body was cut at our limit."""

    http_status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool = True

    @property
    def is_ok(self) -> bool:
        return 200 <= self.http_status < 300

    def json(self) -> Any:
        """The body as JSON. Raises ProtocolError."""
        if not self.is_whole:
            raise ProtocolError("fal's answer is longer than we read", http_status=self.http_status)
        try:
            return json.loads(self.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise ProtocolError("fal's answer is not JSON", http_status=self.http_status) from error

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object. Raises ProtocolError."""
        value = self.json()
        if not isinstance(value, dict):
            raise ProtocolError("fal's answer is not a JSON object", http_status=self.http_status)
        return value

    def json_or_empty(self) -> dict[str, Any]:
        """For error answers, whose body may be anything."""
        try:
            return self.json_object()
        except ProtocolError:
            return {}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def has_fal_marks(answer: Answer) -> bool:
    """Whether fal itself wrote this error, and not an ingress or a proxy before it."""
    names = ("x-fal-request-id", "x-fal-error-type", "x-fal-request-timeout-type")
    return any(name in answer.headers for name in names) or "detail" in answer.json_or_empty()


def billable_units(headers: Mapping[str, str]) -> Decimal | None:
    """`x-fal-billable-units`; None where it is missing or not a number that could be a quantity."""
    try:
        units = Decimal(headers.get("x-fal-billable-units", ""))
    except InvalidOperation:
        return None
    return units if units.is_finite() and units >= 0 else None


def checked_url(url: object, base_url: str) -> str:
    """`url` if it lies under `base_url` (scheme, host, port and path), so that the key may go there.

    Raises ForeignUrl.
    """
    if not isinstance(url, str) or not _PLAIN_URL.fullmatch(url):
        raise ForeignUrl("fal named an address that is not one")
    parts, base = urlsplit(url), urlsplit(base_url)
    is_same_place = _origin(parts) == _origin(base) and parts.path.startswith(base.path.rstrip("/") + "/")
    is_devious = (
        "@" in parts.netloc or "/../" in f"{parts.path}/".lower().replace("%2e", ".") or parts.fragment
    )
    if not is_same_place or is_devious:
        raise ForeignUrl("fal named an address outside the configured host")
    return url


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    try:
        return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError as error:
        raise ForeignUrl("fal named an address with an impossible port") from error


def with_logs_query(url: str, *, with_logs: bool) -> str:
    """`?logs=` added to whatever query the address already carries."""
    parts = urlsplit(url)
    flag = f"logs={int(with_logs)}"
    return urlunsplit(parts._replace(query=f"{parts.query}&{flag}" if parts.query else flag))


def stream_url(status_url: str) -> str:
    parts = urlsplit(status_url)
    return with_logs_query(urlunsplit(parts._replace(path=parts.path + "/stream")), with_logs=True)


def parse_request_id(value: object) -> str:
    if not isinstance(value, str) or not _REQUEST_ID.fullmatch(value):
        raise ProtocolError("fal's receipt carries no request id")
    return value


def parse_submitted(data: Mapping[str, Any], *, queue_url: str) -> Submitted:
    """The receipt of a submit. Raises ProtocolError, and ForeignUrl for an address that is not under `queue_url`."""
    return Submitted(
        request_id=parse_request_id(data.get("request_id")),
        status_url=checked_url(data.get("status_url"), queue_url),
        response_url=checked_url(data.get("response_url"), queue_url),
        cancel_url=checked_url(data.get("cancel_url"), queue_url),
        queue_position=_position(data.get("queue_position")),
        gateway_request_id=_text(data.get("gateway_request_id")),
    )


def parse_status(data: object) -> Status:
    """One status object, polled or streamed. Raises ProtocolError for any word but fal's three."""
    if not isinstance(data, dict):
        raise ProtocolError("fal's status is not an object")
    match data.get("status"):
        case "IN_QUEUE":
            return InQueue(_position(data.get("queue_position")))
        case "IN_PROGRESS":
            return InProgress(parse_logs(data.get("logs")))
        case "COMPLETED":
            return Completed(
                logs=parse_logs(data.get("logs")),
                error=_text(data.get("error")),
                error_type=_text(data.get("error_type")),
                inference_seconds=_inference_seconds(data.get("metrics")),
            )
        case _:
            raise ProtocolError("fal's status is none of its three words")


def parse_result(answer: Answer) -> Result:
    """A finished result (2xx). Raises ProtocolError."""
    own = {name: value for name, value in answer.headers.items() if name.startswith("x-fal-")}
    return Result(data=answer.json_object(), billable_units=billable_units(answer.headers), headers=own)


def parse_logs(value: object) -> tuple[LogLine, ...]:
    """fal's log lines; what is not one is left out."""
    lines = value if isinstance(value, list) else []
    return tuple(
        LogLine(line["message"], parse_time(line.get("timestamp")), _text(line.get("level")))
        for line in lines
        if isinstance(line, dict) and isinstance(line.get("message"), str)
    )


def parse_time(value: object) -> datetime | None:
    """An ISO time with its zone; None for anything else, for a time without a zone cannot be compared."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, five minutes at most; the form with a date is not read.

    A proxy's careless word must not hold a member's credits for days.
    """
    value = headers.get("retry-after", "")
    is_number = value.isdecimal() and value.isascii() and len(value) < 7
    return min(float(value), LONGEST_RETRY_AFTER_SECONDS) if is_number else None


def _position(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _inference_seconds(metrics: object) -> float | None:
    value = metrics.get("inference_time") if isinstance(metrics, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
