"""The client that acts: submit, ask, fetch, cancel, upload, read fal's books. Synchronous, for tasks and commands.

Ours and not the vendor's because of one promise: a submit is one POST on the wire, whatever happens to it (the package
docstring has the particulars). Make one client per process after it has forked; it is safe to share between threads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urlencode

import httpx
from fal_client.client import AppId

from generations.fal import storage
from generations.fal.answers import question_error, read_cancel, read_result, read_status, read_submit
from generations.fal.errors import NoAnswer, NotSent, SubmitLost
from generations.fal.headers import authorization, submit_headers
from generations.fal.platform import Platform
from generations.fal.transport import Transport
from generations.fal.types import (
    Balance,
    BillingEvent,
    CancelAnswer,
    FalConfig,
    PastRequest,
    Price,
    Result,
    Status,
    Submitted,
)
from generations.fal.wire import Answer, checked_url, parse_request_id, with_logs_query

_ENDPOINT_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")


class FalClient:
    """Every method makes one attempt and raises FalError; trying again is the caller's decision."""

    def __init__(self, config: FalConfig) -> None:
        self.config = config
        tls = httpx.create_ssl_context()
        self._once = Transport(config, tls=tls, is_keep_alive=False)
        self._transport = Transport(config, tls=tls)
        self._platform = Platform(self._transport, config)

    def submit(
        self,
        endpoint_id: str,
        inputs: Mapping[str, Any],
        *,
        webhook_url: str | None = None,
        tags: Mapping[str, str] | None = None,
        start_timeout_seconds: float | None = None,
        output_expiration_seconds: int | None = None,
        is_server_retry_off: bool = False,
    ) -> Submitted:
        """One POST. `output_expiration_seconds`: when fal deletes the clip; `start_timeout_seconds`: its longest wait.

        Raises NotSent (nothing left), SubmitLost (unknown: never send it again), Refused, AttemptFailed, TryLater,
        AccountLocked, AccountMisconfigured; and ValueError for what cannot be sent at all.
        """
        url = f"{self.config.queue_url}/{_checked_endpoint_id(endpoint_id)}"
        if webhook_url is not None:
            url += "?" + urlencode({"fal_webhook": webhook_url})
        headers = submit_headers(
            tags=tags,
            start_timeout_seconds=start_timeout_seconds,
            output_expiration_seconds=output_expiration_seconds,
            is_server_retry_off=is_server_retry_off,
        )
        return read_submit(
            self._post_once(url, headers, _json_bytes(inputs)), queue_url=self.config.queue_url
        )

    def locate(self, endpoint_id: str, request_id: str) -> Submitted:
        """The receipt of a request whose own receipt was lost, for adopting it by its id. Nothing is sent.

        fal asks clients to use the addresses of the receipt; these are built as its own client builds them.
        """
        app = AppId.from_endpoint_id(_checked_endpoint_id(endpoint_id))
        path = "/".join(part for part in (app.namespace, app.owner, app.alias) if part)
        url = f"{self.config.queue_url}/{path}/requests/{parse_request_id(request_id)}"
        return Submitted(request_id, status_url=f"{url}/status", response_url=url, cancel_url=f"{url}/cancel")

    def status(self, status_url: str, *, with_logs: bool = False) -> Status:
        """Where it stands. Raises RequestUnknown, NoAnswer, TryLater, ProtocolError."""
        return read_status(self._ask("GET", with_logs_query(status_url, with_logs=with_logs)))

    def result(self, response_url: str) -> Result:
        """What came of it, with the units fal bills.

        Raises StillRunning and ResultNotReady (ask again), AttemptFailed (its `outcome` decides), RequestUnknown.
        """
        return read_result(self._ask("GET", response_url))

    def cancel(self, cancel_url: str) -> CancelAnswer:
        """Ask fal to stop. A request that was already running may go on all the same."""
        return read_cancel(self._ask("PUT", cancel_url))

    def upload(self, data: BinaryIO, *, content_type: str, file_name: str, expiration_seconds: int) -> str:
        """The public address of the file at fal, which deletes it after `expiration_seconds`. `data` must seek."""
        return storage.upload(
            self._transport,
            self.config,
            data,
            content_type=content_type,
            file_name=file_name,
            expiration_seconds=expiration_seconds,
        )

    def find_requests(self, endpoint_id: str, *, start: datetime, end: datetime) -> tuple[PastRequest, ...]:
        """fal's history of the endpoint: the search for a request whose receipt was lost."""
        return self._platform.find_requests(endpoint_id, start=start, end=end)

    def billing_events(
        self, request_ids: Sequence[str], *, start: datetime | None = None
    ) -> tuple[BillingEvent, ...]:
        """What fal took in US dollars, per request; without `start` fal looks back one day. Needs the admin key."""
        return self._platform.billing_events(request_ids, start=start)

    def billing_pages(self, *, start: datetime, end: datetime) -> Iterator[tuple[BillingEvent, ...]]:
        """See `Platform.billing_pages`."""
        return self._platform.billing_pages(start=start, end=end)

    def pricing(self, endpoint_ids: Sequence[str]) -> tuple[Price, ...]:
        """fal's list prices."""
        return self._platform.pricing(endpoint_ids)

    def account_balance(self) -> Balance:
        """The prepaid balance at fal. Needs the admin key."""
        return self._platform.account_balance()

    def fetch_jwks(self) -> bytes:
        """The keys fal signs its webhooks with, as they came: what `JwksCache` is given. Sent without our key."""
        answer = self._transport.send("GET", self.config.jwks_url, headers={})
        if not answer.is_ok or not answer.is_whole:
            raise question_error(answer)
        return answer.body

    def close(self) -> None:
        self._once.close()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post_once(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        try:
            return self._once.send(
                "POST", url, headers=authorization(self.config.key) | headers, content=body
            )
        except NotSent:
            raise
        except NoAnswer as error:
            raise SubmitLost(str(error)) from error

    def _ask(self, method: str, url: str) -> Answer:
        """With the key, and therefore only ever under the configured host. Raises ForeignUrl."""
        return self._transport.send(
            method, checked_url(url, self.config.queue_url), headers=authorization(self.config.key)
        )


def _checked_endpoint_id(endpoint_id: str) -> str:
    if not _ENDPOINT_ID.fullmatch(endpoint_id):
        raise ValueError(f"{endpoint_id!r} is not an endpoint id of fal's")
    return endpoint_id


def _json_bytes(inputs: Mapping[str, Any]) -> bytes:
    """The bytes the vendor's client would send. Raises ValueError for a number or a text that JSON cannot carry."""
    return json.dumps(dict(inputs), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
