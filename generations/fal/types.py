"""What is said to fal and what fal says, as frozen values.

`status` is always fal's word here; our own word for where a generation stands is `state`, and it is not known in this
room.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

MIB = 1024 * 1024


def _checked_base_url(name: str, url: str) -> str:
    parts = urlsplit(url)
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain or not url.isascii():
        raise ValueError(f"{name} has to be an http(s) address of a host and at most a path, not {url!r}")
    return url.rstrip("/")


def _checked_key(name: str, key: str) -> str:
    if not all("!" <= character <= "~" for character in key):
        raise ValueError(f"{name} contains a blank or a character that cannot stand in a header")
    return key


@dataclass(frozen=True)
class FalConfig:
    """Where fal is, who we are there, and the limits on every exchange.

    `cdn_url` is where fal serves files from; it is not spoken to here, but whoever fetches clips needs it.
    `platform_url` includes the version of the API. `admin_key` is only used for the calls that need one (billing);
    leave it empty in processes that do not reconcile.
    """

    key: str = field(repr=False)
    queue_url: str = "https://queue.fal.run"
    rest_url: str = "https://rest.fal.ai"
    cdn_url: str = "https://v3.fal.media"
    platform_url: str = "https://api.fal.ai/v1"
    jwks_url: str = "https://rest.fal.ai/.well-known/jwks.json"
    admin_key: str = field(default="", repr=False)
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 30.0
    total_timeout_seconds: float = 120.0
    max_answer_bytes: int = 16 * MIB

    def __post_init__(self) -> None:
        for name in ("queue_url", "rest_url", "cdn_url", "platform_url", "jwks_url"):
            object.__setattr__(self, name, _checked_base_url(name, getattr(self, name)))
        _checked_key("key", self.key)
        _checked_key("admin_key", self.admin_key)


@dataclass(frozen=True)
class Submitted:
    """fal's receipt. The three addresses have been checked to lie under `FalConfig.queue_url`."""

    request_id: str
    status_url: str
    response_url: str
    cancel_url: str
    queue_position: int | None = None
    gateway_request_id: str = ""


@dataclass(frozen=True)
class LogLine:
    message: str
    timestamp: datetime | None = None
    level: str = ""


@dataclass(frozen=True)
class InQueue:
    """Waiting; `position` counts the requests ahead of this one, None where fal does not say."""

    position: int | None = None


@dataclass(frozen=True)
class InProgress:
    logs: tuple[LogLine, ...] = ()


@dataclass(frozen=True)
class Completed:
    """Over, well or badly: fal has no failed status. What became of it is only known from the result."""

    logs: tuple[LogLine, ...] = ()
    error: str = ""
    error_type: str = ""
    inference_seconds: float | None = None


Status = InQueue | InProgress | Completed


@dataclass(frozen=True)
class Result:
    """`billable_units` times the unit price is what fal takes before discounts; None where fal did not say.

    `headers` holds fal's own (`x-fal-...`) headers, names in lower case.
    """

    data: dict[str, Any]
    billable_units: Decimal | None
    headers: dict[str, str]


class CancelAnswer(StrEnum):
    """REMOVED never ran; REQUESTED may still complete (and be billed): go on watching it."""

    REMOVED = "removed"
    REQUESTED = "requested"
    ALREADY_COMPLETED = "already_completed"
    NOT_FOUND = "not_found"


@dataclass(frozen=True)
class PastRequest:
    """A row of fal's request history. `inputs` is None where fal does not keep payloads."""

    request_id: str
    endpoint_id: str
    sent_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    http_status: int | None
    inputs: dict[str, Any] | None


@dataclass(frozen=True)
class BillingEvent:
    """What fal took for one request, in US dollars, after its discount."""

    request_id: str
    endpoint_id: str
    billed_at: datetime | None
    output_units: Decimal | None
    unit_price_usd: Decimal | None
    cost_total_usd: Decimal


@dataclass(frozen=True)
class Price:
    """fal's list price. `unit` is a label and not to be relied on ("units" may mean six seconds of video)."""

    endpoint_id: str
    unit_price: Decimal
    unit: str
    currency: str


@dataclass(frozen=True)
class Balance:
    account_name: str
    amount: Decimal
    currency: str
