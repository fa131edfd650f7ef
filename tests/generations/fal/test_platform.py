"""fal's books, read to the cent."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from generations.fal import AccountMisconfigured, FalClient, NoAnswer, ProtocolError, TryLater
from tests.generations.fal.wire_server import WireServer, http

ENGINE = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"
AT = datetime(2026, 5, 6, 7, 8, 9, tzinfo=timezone(timedelta(hours=2)))


def test_past_requests_are_read_page_by_page(fal: WireServer, client: FalClient) -> None:
    row = {
        "request_id": "req-1",
        "endpoint_id": ENGINE,
        "sent_at": "2026-05-06T05:08:10Z",
        "started_at": None,
        "status_code": 200,
        "json_input": {"prompt": "a wave"},
    }
    fal.says(
        http(200, {"items": [row], "has_more": True, "next_cursor": "c2"}),
        http(
            200,
            {
                "items": [row | {"request_id": "req-2", "json_input": None}],
                "has_more": False,
                "next_cursor": None,
            },
        ),
    )
    first, second = client.find_requests(ENGINE, start=AT, end=AT + timedelta(hours=1))
    assert (first.request_id, first.inputs, first.http_status) == ("req-1", {"prompt": "a wave"}, 200)
    assert (first.sent_at, first.started_at) == (datetime(2026, 5, 6, 5, 8, 10, tzinfo=UTC), None)
    assert (second.request_id, second.inputs) == ("req-2", None)
    assert fal.seen[0].path == "/v1/models/requests/by-endpoint"
    assert fal.seen[0].query == {
        "endpoint_id": [ENGINE],
        "start": ["2026-05-06T05:08:09Z"],
        "end": ["2026-05-06T06:08:09Z"],
        "expand": ["payloads"],
        "limit": ["100"],
    }
    assert fal.seen[0].headers["authorization"] == "Key id:secret"
    assert fal.seen[1].query["cursor"] == ["c2"]


def test_a_list_without_end_is_given_up(fal: WireServer, client: FalClient) -> None:
    fal.says(http(200, {"items": [], "has_more": True, "next_cursor": "again"}))
    with pytest.raises(ProtocolError):
        client.find_requests(ENGINE, start=AT, end=AT)
    assert len(fal.seen) == 100


def test_billing_events_are_exact_and_asked_for_in_batches_with_the_admin_key(
    fal: WireServer, client: FalClient
) -> None:
    body = (
        b'{"billing_events": [{"request_id": "req-1", "endpoint_id": "a/b", "timestamp": "2026-05-06T05:08:10Z",'
        b'"output_units": 1.1, "unit_price": 0.1, "cost_total": 0.3000000000000000001}], "has_more": false}'
    )
    fal.says(http(200, body), http(200, {"billing_events": []}))
    (event,) = client.billing_events([f"req-{n}" for n in range(51)], start=AT)
    assert (event.output_units, event.unit_price_usd) == (Decimal("1.1"), Decimal("0.1"))
    assert event.cost_total_usd == Decimal("0.3000000000000000001")
    assert [len(seen.query["request_id"][0].split(",")) for seen in fal.seen] == [50, 1]
    assert fal.seen[0].query["start"] == ["2026-05-06T05:08:09Z"]
    assert {seen.headers["authorization"] for seen in fal.seen} == {"Key admin:secret"}


def test_list_prices_are_read(fal: WireServer, client: FalClient) -> None:
    fal.says(
        http(
            200, {"prices": [{"endpoint_id": "a/b", "unit_price": 0.49, "unit": "videos", "currency": "USD"}]}
        )
    )
    (price,) = client.pricing(["a/b"])
    assert (price.endpoint_id, price.unit_price, price.unit) == ("a/b", Decimal("0.49"), "videos")


def test_the_balance_is_read_with_the_admin_key(fal: WireServer, client: FalClient) -> None:
    fal.says(http(200, {"username": "us", "credits": {"current_balance": -1.25, "currency": "USD"}}))
    assert client.account_balance().amount == Decimal("-1.25")
    assert fal.seen[0].headers["authorization"] == "Key admin:secret"


def test_without_an_admin_key_nothing_is_asked(fal: WireServer) -> None:
    with FalClient(fal.config(admin_key="")) as client:
        with pytest.raises(AccountMisconfigured):
            client.account_balance()
        with pytest.raises(AccountMisconfigured):
            client.billing_events(["req-1"])
    assert fal.seen == []


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, {"error": {"type": "authorization_error", "message": "no"}}, AccountMisconfigured),
        (429, {"error": {"type": "rate_limited"}}, TryLater),
        (500, {"error": {"type": "server_error"}}, NoAnswer),
        (400, {"error": {"type": "validation_error"}}, ProtocolError),
        (200, {"billing_events": None}, ProtocolError),
        (200, {"billing_events": [{"request_id": "r", "endpoint_id": "a/b"}]}, ProtocolError),
        (
            200,
            {"billing_events": [{"request_id": "r", "endpoint_id": "a/b", "cost_total": "NaN"}]},
            ProtocolError,
        ),
        (200, b"nonsense", ProtocolError),
    ],
)
def test_books_that_cannot_be_read_are_an_error_and_not_nothing(
    fal: WireServer, client: FalClient, status: int, body: object, kind: type[Exception]
) -> None:
    fal.says(http(status, body))
    with pytest.raises(kind):
        client.billing_events(["r"])


def test_a_time_without_a_zone_is_not_asked_about(fal: WireServer, client: FalClient) -> None:
    with pytest.raises(ValueError, match="zone"):
        client.find_requests(ENGINE, start=AT.replace(tzinfo=None), end=AT)
