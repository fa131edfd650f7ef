"""Everything that speaks fal's protocol, and nothing else: no Django, nothing of ours.

`FalClient` (client.py) submits, asks, fetches, cancels, uploads and reads fal's books; `watch.AsyncFal` waits for many
requests at once, and is imported from there: only the watcher needs what it is built on. `JwksCache` (signatures.py)
tells fal's webhooks from forged ones. Each failure is a `FalError` (errors.py) whose `outcome` (outcomes.py) says
whether a new attempt may be made, whose fault it was, and what the member is told.

What the vendor's own `fal-client` package does here, and what it does not:

- Its `AppId` decides how an endpoint id becomes the path of a request, so that part of the wire form stays fal's own;
  a test holds our submit against its submit (path, query, body, Authorization), and its version goes in our User-Agent.
- Its `submit()` is not used. It sends the POST again up to ten times after a dropped connection, a read timeout, 408,
  409, 429 or an ingress page, and fal offers no idempotency key, so each of them may be a job that is billed. There is
  no switch for it. Our submit is one POST on a connection of its own.
- Its result call throws the response headers away, and with them `x-fal-billable-units`: what fal took.
- Its status calls re-send as well, follow redirects with the key, and send the key to whatever host an answer names.
- Its upload has fal's host as a constant, reads the file whole into memory and re-sends; its status parser lives on
  a private class and raises KeyError where fal leaves a field out.
"""

from generations.fal.client import FalClient
from generations.fal.errors import (
    AccountLocked,
    AccountMisconfigured,
    AttemptFailed,
    FalError,
    ForeignUrl,
    NoAnswer,
    NotSent,
    ProtocolError,
    Refused,
    RequestUnknown,
    ResultNotReady,
    StillRunning,
    SubmitLost,
    TryLater,
)
from generations.fal.outcomes import Fault, Outcome, Phase, judge
from generations.fal.platform import IDS_PER_CALL
from generations.fal.types import (
    BillingEvent,
    CancelAnswer,
    Completed,
    FalConfig,
    InProgress,
    InQueue,
    LogLine,
    PastRequest,
    Price,
    Result,
    Status,
    Submitted,
)

__all__ = [
    "IDS_PER_CALL",
    "AccountLocked",
    "AccountMisconfigured",
    "AttemptFailed",
    "BillingEvent",
    "CancelAnswer",
    "Completed",
    "FalClient",
    "FalConfig",
    "FalError",
    "Fault",
    "ForeignUrl",
    "InProgress",
    "InQueue",
    "LogLine",
    "NoAnswer",
    "NotSent",
    "Outcome",
    "PastRequest",
    "Phase",
    "Price",
    "ProtocolError",
    "Refused",
    "RequestUnknown",
    "Result",
    "ResultNotReady",
    "Status",
    "StillRunning",
    "SubmitLost",
    "Submitted",
    "TryLater",
    "judge",
]
