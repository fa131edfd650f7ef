"""fal's books and records: past requests, what was billed, list prices, the balance.

Source: fal's Platform API v1 (its OpenAPI document). Amounts are read as Decimal from the text of the answer and never
pass through a float. Every list is paged by `next_cursor` and bounded here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from generations.fal.answers import question_error
from generations.fal.errors import AccountMisconfigured, ProtocolError
from generations.fal.headers import authorization
from generations.fal.transport import Transport
from generations.fal.types import Balance, BillingEvent, FalConfig, PastRequest, Price
from generations.fal.wire import Answer, parse_time

IDS_PER_CALL = 50
REQUESTS_PER_PAGE = 100
MAX_PAGES = 100


class Platform:
    """The calls of `FalConfig.platform_url`. All raise FalError; those that need the admin key say so."""

    def __init__(self, transport: Transport, config: FalConfig) -> None:
        self._transport = transport
        self._config = config

    def find_requests(self, endpoint_id: str, *, start: datetime, end: datetime) -> tuple[PastRequest, ...]:
        """What fal has seen on the endpoint in that time, with the inputs where fal keeps payloads."""
        query = {
            "endpoint_id": endpoint_id,
            "start": _iso(start),
            "end": _iso(end),
            "expand": "payloads",
            "limit": str(REQUESTS_PER_PAGE),
        }
        rows = self._rows("/models/requests/by-endpoint", "items", query, key=self._config.key)
        return tuple(_past_request(row) for row in rows)

    def billing_events(
        self, request_ids: Sequence[str], *, start: datetime | None = None
    ) -> tuple[BillingEvent, ...]:
        """What fal took, per request. Needs the admin key.

        fal looks back one day unless `start` says more (at most 90 days); an event may follow its request by minutes.
        """
        since = {"start": _iso(start)} if start else {}
        return tuple(
            _billing_event(row)
            for ids in _batches(request_ids)
            for row in self._rows(
                "/models/billing-events",
                "billing_events",
                {"request_id": ",".join(ids)} | since,
                key=self._admin_key(),
            )
        )

    def billing_pages(self, *, start: datetime, end: datetime) -> Iterator[tuple[BillingEvent, ...]]:
        """All that fal took in that time, page by page as they are taken. Needs the admin key.

        fal looks back at most 90 days. What is indexed meanwhile may move a row onto two pages, or onto none.
        """
        query = {"start": _iso(start), "end": _iso(end)}
        for rows in self._pages("/models/billing-events", "billing_events", query, key=self._admin_key()):
            yield tuple(_billing_event(row) for row in rows)

    def pricing(self, endpoint_ids: Sequence[str]) -> tuple[Price, ...]:
        """List prices; endpoints fal has no price for are missing from the answer."""
        return tuple(
            _price(row)
            for ids in _batches(endpoint_ids)
            for row in self._rows(
                "/models/pricing", "prices", {"endpoint_id": ",".join(ids)}, key=self._config.key
            )
        )

    def account_balance(self) -> Balance:
        """The prepaid balance, below which fal locks the account. Needs the admin key."""
        data = self._ask("/account/billing", {"expand": "credits"}, key=self._admin_key())
        balance = data.get("credits")
        if not isinstance(balance, dict):
            raise ProtocolError("fal's account answer carries no balance")
        name = data.get("username")
        return Balance(
            account_name=name if isinstance(name, str) else "",
            amount=_amount(balance, "current_balance"),
            currency=str(balance.get("currency", "USD")),
        )

    def _admin_key(self) -> str:
        if not self._config.admin_key:
            raise AccountMisconfigured("this call needs fal's admin key and none is set")
        return self._config.admin_key

    def _rows(self, path: str, name: str, query: Mapping[str, str], *, key: str) -> Iterator[dict[str, Any]]:
        for rows in self._pages(path, name, query, key=key):
            yield from rows

    def _pages(
        self, path: str, name: str, query: Mapping[str, str], *, key: str
    ) -> Iterator[list[dict[str, Any]]]:
        """Raises ProtocolError where fal's pages do not end."""
        cursor: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            page = self._ask(path, {**query, **cursor}, key=key)
            rows = page.get(name)
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise ProtocolError(f"fal's list has no {name}")
            yield rows
            if not page.get("has_more") or not isinstance(page.get("next_cursor"), str):
                return
            cursor = {"cursor": page["next_cursor"]}
        raise ProtocolError("fal's list has no end")

    def _ask(self, path: str, query: Mapping[str, str], *, key: str) -> dict[str, Any]:
        url = f"{self._config.platform_url}{path}?{urlencode(query)}"
        answer = self._transport.send("GET", url, headers=authorization(key))
        if not answer.is_ok:
            raise question_error(answer)
        return _exact_object(answer)


def _exact_object(answer: Answer) -> dict[str, Any]:
    answer.json_object()
    data: dict[str, Any] = json.loads(answer.body, parse_float=Decimal)
    return data


def _past_request(row: Mapping[str, Any]) -> PastRequest:
    http_status, inputs = row.get("status_code"), row.get("json_input")
    return PastRequest(
        request_id=_id(row, "request_id"),
        endpoint_id=_id(row, "endpoint_id"),
        sent_at=parse_time(row.get("sent_at")),
        started_at=parse_time(row.get("started_at")),
        ended_at=parse_time(row.get("ended_at")),
        http_status=http_status if isinstance(http_status, int) else None,
        inputs=inputs if isinstance(inputs, dict) else None,
    )


def _billing_event(row: Mapping[str, Any]) -> BillingEvent:
    return BillingEvent(
        request_id=_id(row, "request_id"),
        endpoint_id=_id(row, "endpoint_id"),
        billed_at=parse_time(row.get("timestamp")),
        output_units=_optional_amount(row.get("output_units")),
        unit_price_usd=_optional_amount(row.get("unit_price")),
        cost_total_usd=_amount(row, "cost_total"),
    )


def _price(row: Mapping[str, Any]) -> Price:
    return Price(
        endpoint_id=_id(row, "endpoint_id"),
        unit_price=_amount(row, "unit_price"),
        unit=str(row.get("unit", "")),
        currency=str(row.get("currency", "USD")),
    )


def _id(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise ProtocolError(f"a row of fal's has no {name}")
    return value


def _amount(row: Mapping[str, Any], name: str) -> Decimal:
    value = _optional_amount(row.get(name))
    if value is None:
        raise ProtocolError(f"a row of fal's has no {name}")
    return value


def _optional_amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), IDS_PER_CALL):
        yield ids[start : start + IDS_PER_CALL]


def _iso(moment: datetime) -> str:
    """Raises ValueError for a time without a zone, which fal would take for its own."""
    if moment.tzinfo is None:
        raise ValueError("fal is asked in times that know their zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
