"""One exception per thing that can have happened between fal and us.

`is_final` is the first question to ask of one: True means that the attempt is over and `outcome` says what follows;
False means that nothing is known against the attempt (it was not sent, or it may well be running).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from generations.fal.outcomes import NO_ANSWER, NOT_SENT, SUBMIT_LOST, Outcome, Phase, judge


class FalError(Exception):
    """The base of all.

    `detail` is fal's own, raw: it may echo a member's prompt, so it is for the audit trail and never for a log line.
    `retry_after_seconds` is fal's `Retry-After`, `request_id` fal's name for the request where we learnt it, and
    `billable_units` what fal says it took.
    """

    is_final: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        error_type: str = "",
        detail: object = None,
        phase: Phase = Phase.SUBMIT,
        headers: Mapping[str, str] | None = None,
        request_id: str = "",
        billable_units: Decimal | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.error_type = error_type
        self.detail = detail
        self.phase = phase
        self.headers = dict(headers or {})
        self.request_id = request_id
        self.billable_units = billable_units
        self.retry_after_seconds = retry_after_seconds

    @property
    def outcome(self) -> Outcome:
        return judge(
            http_status=self.http_status,
            error_type=self.error_type,
            phase=self.phase,
            detail=self.detail,
            is_start_timeout=self.headers.get("x-fal-request-timeout-type") == "user",
            billable_units=self.billable_units,
        )


class NotSent(FalError):
    """Nothing reached fal: refused, no such host, TLS not agreed, no connection in time. The same attempt may go on."""

    @property
    def outcome(self) -> Outcome:
        return NOT_SENT


class NoAnswer(FalError):
    """The question went out and no answer that fal vouches for came back. Ask again."""

    @property
    def outcome(self) -> Outcome:
        return NO_ANSWER


class SubmitLost(NoAnswer):
    """The POST may have been accepted and billed: unknown, and therefore never sent again.

    `request_id` is set where fal named one before the answer went wrong: such a request can be adopted.
    """

    @property
    def outcome(self) -> Outcome:
        return SUBMIT_LOST


class Refused(FalError):
    """fal answered the POST with a definite no (4xx); no request exists."""

    is_final = True


class AttemptFailed(FalError):
    """fal vouches that this attempt failed: at the POST with a 5xx of its own, or in the result."""

    is_final = True


class TryLater(FalError):
    """429. Nothing was accepted, nothing is wrong."""


class AccountLocked(FalError):
    """fal has locked the account (balance, admin lock): sending pauses for everybody and nothing fails."""


class AccountMisconfigured(FalError):
    """fal does not take our key, or the address we have for fal is not fal's: the same pause, another letter."""


class StillRunning(FalError):
    """The result was asked for before there was one."""


class ResultNotReady(NoAnswer):
    """The result call failed without a mark of fal's on it, as it can for a moment right after COMPLETED. Ask again."""


class RequestUnknown(FalError):
    """404: fal does not know the request, or does not know it any more."""


class ProtocolError(FalError):
    """fal answered something that is not its protocol."""


class ForeignUrl(ProtocolError):
    """An address that does not lie under the configured host; the key is not sent there."""
