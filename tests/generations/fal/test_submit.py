"""A submit is one POST on the wire, and its outcome says whether a request may exist at fal."""

import json
import socket
import threading

import fal_client.client
import pytest

from generations.fal import (
    AccountLocked,
    AccountMisconfigured,
    AttemptFailed,
    FalClient,
    NotSent,
    Refused,
    SubmitLost,
    TryLater,
)
from tests.generations.fal.wire_server import Seen, WireServer, http, running_server, silence

ENGINE = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"
NGINX = b"<html><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></html>"
LOCKED = "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."


def submit(client: FalClient) -> None:
    client.submit(ENGINE, {"prompt": "a wave"})


def test_the_receipt_is_read_and_the_request_carries_what_fal_wants(
    fal: WireServer, client: FalClient
) -> None:
    fal.says(http(200, fal.receipt(gateway_request_id="gw-1")))

    receipt = client.submit(
        ENGINE,
        {"prompt": "ébène", "duration": "6"},
        webhook_url="https://us.example/hook/a?b=c",
        tags={"team": "7", "generation": "01H"},
        start_timeout_seconds=900,
        output_expiration_seconds=86400,
        is_server_retry_off=True,
    )

    assert (receipt.request_id, receipt.queue_position, receipt.gateway_request_id) == ("req-1", 3, "gw-1")
    assert receipt.status_url == f"{fal.url}/fal-ai/minimax/requests/req-1/status"
    (seen,) = fal.seen
    assert (seen.method, seen.path) == ("POST", f"/{ENGINE}")
    assert seen.query == {"fal_webhook": ["https://us.example/hook/a?b=c"]}
    assert json.loads(seen.body) == {"prompt": "ébène", "duration": "6"}
    assert seen.headers["authorization"] == "Key id:secret"
    assert seen.headers["content-type"] == "application/json"
    assert float(seen.headers["x-fal-request-start-timeout"]) == 900
    assert float(seen.headers["x-fal-request-timeout"]) == 900
    assert json.loads(seen.headers["x-fal-object-lifecycle-preference"]) == {
        "expiration_duration_seconds": 86400
    }
    assert seen.headers["x-app-fal-disable-fallback"] == "true"
    assert seen.headers["x-fal-tags"] == "team=7,generation=01H"
    assert seen.headers["x-fal-no-retry"] == "1"


def test_nothing_optional_is_sent_unasked(fal: WireServer, client: FalClient) -> None:
    fal.says(http(200, fal.receipt()))
    submit(client)
    optional = ("x-fal-tags", "x-fal-no-retry", "x-fal-request-timeout", "x-fal-object-lifecycle-preference")
    assert not [name for name in optional if name in fal.seen[0].headers]


def test_our_submit_has_the_wire_form_of_the_stock_client(
    fal: WireServer, client: FalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{fal.url}/")
    fal.says(http(200, fal.receipt()))
    inputs = {"prompt": "ébène ☂", "image_url": "https://x.example/a.png", "n": 1, "is_loop": False}
    with fal_client.SyncClient(key="id:secret")._client as stock_http:
        stock = fal_client.SyncClient(key="id:secret")
        stock.__dict__["_client"] = stock_http
        stock.submit(ENGINE, inputs, webhook_url="https://us.example/h?a=b&c=d")
    client.submit(ENGINE, inputs, webhook_url="https://us.example/h?a=b&c=d")

    theirs, ours = fal.seen
    assert (ours.method, ours.target, ours.body) == (theirs.method, theirs.target, theirs.body)
    for name in ("authorization", "content-type"):
        assert ours.headers[name] == theirs.headers[name]


def test_a_connection_dropped_after_the_body_was_read_is_lost_after_one_post(
    fal: WireServer, client: FalClient
) -> None:
    fal.says(None)
    with pytest.raises(SubmitLost) as caught:
        submit(client)
    assert len(fal.seen) == 1
    assert json.loads(fal.seen[0].body) == {"prompt": "a wave"}
    assert not caught.value.is_final
    assert not caught.value.outcome.is_retryable
    assert caught.value.outcome.may_be_billed


def test_the_stock_client_sends_a_dropped_submit_again(
    fal: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why ours exists. Its ten attempts are cut to three here and its waits to almost none."""
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{fal.url}/")
    monkeypatch.setattr(fal_client.client, "MAX_ATTEMPTS", 3)
    monkeypatch.setattr(fal_client.client, "BASE_DELAY", 0.001)
    fal.says(None)
    stock = fal_client.SyncClient(key="id:secret")
    with stock._client, pytest.raises(fal_client.client.httpx.TransportError):
        stock.submit(ENGINE, {"prompt": "a wave"})
    assert [seen.method for seen in fal.seen] == ["POST"] * 3


def test_a_reset_connection_is_lost_after_one_post(fal: WireServer, client: FalClient) -> None:
    def reset(_seen: object, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()

    fal.answer = reset
    with pytest.raises(SubmitLost):
        submit(client)
    assert len(fal.seen) == 1


def test_a_read_timeout_is_lost_after_one_post(fal: WireServer) -> None:
    fal.answer = silence(1.0)
    with FalClient(fal.config(read_timeout_seconds=0.2)) as client, pytest.raises(SubmitLost):
        submit(client)
    assert len(fal.seen) == 1


def test_an_answer_that_drips_is_lost_when_the_whole_takes_too_long(fal: WireServer) -> None:
    def drip(_seen: object, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b" ")
            threading.Event().wait(0.02)

    fal.answer = drip
    with FalClient(fal.config(total_timeout_seconds=0.2)) as client, pytest.raises(SubmitLost):
        submit(client)
    assert len(fal.seen) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_ingress_page_is_lost_after_one_post(fal: WireServer, client: FalClient, status: int) -> None:
    fal.says(http(status, NGINX, content_type="text/html"))
    with pytest.raises(SubmitLost) as caught:
        submit(client)
    assert (len(fal.seen), caught.value.http_status) == (1, status)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"detail": "boom"}, {}),
        ({"detail": "Runner gone", "error_type": "runner_disconnected"}, {}),
        (NGINX, {"x_fal_request_id": "req-9"}),
        (b"", {"x_fal_error_type": "internal_error"}),
    ],
)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_with_fals_own_mark_is_a_failed_attempt_that_may_be_made_anew(
    fal: WireServer, client: FalClient, status: int, body: object, headers: dict[str, str]
) -> None:
    fal.says(http(status, body, **headers))
    with pytest.raises(AttemptFailed) as caught:
        submit(client)
    assert len(fal.seen) == 1
    assert caught.value.is_final
    assert caught.value.outcome.is_retryable
    assert not caught.value.outcome.may_be_billed


@pytest.mark.parametrize("status", [400, 404, 405, 408, 409, 410, 413, 422])
def test_a_4xx_is_a_definite_no_after_one_post(fal: WireServer, client: FalClient, status: int) -> None:
    fal.says(http(status, {"detail": "no"}))
    with pytest.raises(Refused) as caught:
        submit(client)
    assert len(fal.seen) == 1
    assert caught.value.is_final
    assert not caught.value.outcome.is_retryable
    assert not caught.value.outcome.may_be_billed


def test_a_careless_retry_after_keeps_nobody_waiting_for_days(fal: WireServer, client: FalClient) -> None:
    fal.says(http(429, {"detail": "slow down"}, retry_after="999999"))
    with pytest.raises(TryLater) as caught:
        submit(client)
    assert caught.value.retry_after_seconds == 300


def test_429_is_tried_later_and_says_when(fal: WireServer, client: FalClient) -> None:
    fal.says(http(429, {"detail": "slow down"}, retry_after="7"))
    with pytest.raises(TryLater) as caught:
        submit(client)
    assert len(fal.seen) == 1
    assert caught.value.retry_after_seconds == 7
    assert caught.value.outcome.is_retryable


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (403, LOCKED),
        (403, "User is locked. Reason: Admin lock. Please contact support@fal.ai"),
        (403, "User is locked. Reason: TOP_UP."),
        (402, "Payment required"),
    ],
)
def test_a_locked_account_pauses_and_fails_nothing(
    fal: WireServer, client: FalClient, status: int, detail: str
) -> None:
    fal.says(http(status, {"detail": detail}))
    with pytest.raises(AccountLocked) as caught:
        submit(client)
    assert not caught.value.is_final
    assert caught.value.outcome.fault == "account"
    assert caught.value.detail == detail
    assert "nothing is lost" in caught.value.outcome.message


@pytest.mark.parametrize(
    ("status", "body"), [(401, {"detail": "No user found"}), (403, b"forbidden"), (403, {})]
)
def test_a_key_that_is_not_taken_is_the_sites_matter(
    fal: WireServer, client: FalClient, status: int, body: object
) -> None:
    fal.says(http(status, body))
    with pytest.raises(AccountMisconfigured) as caught:
        submit(client)
    assert not caught.value.is_final
    assert caught.value.outcome.reason == "account_misconfigured"


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_is_not_followed_with_the_key(fal: WireServer, client: FalClient, status: int) -> None:
    with running_server() as elsewhere:
        elsewhere.says(http(200, fal.receipt()))
        fal.says(http(status, b"", location=f"{elsewhere.url}/stolen"))
        with pytest.raises(AccountMisconfigured):
            submit(client)
        assert (len(fal.seen), elsewhere.seen) == (1, [])


@pytest.mark.parametrize("status", [302, 303])
def test_a_redirect_that_may_follow_a_request_carried_out_is_lost(
    fal: WireServer, client: FalClient, status: int
) -> None:
    fal.says(http(status, b"", location=f"{fal.url}/elsewhere"))
    with pytest.raises(SubmitLost):
        submit(client)
    assert len(fal.seen) == 1


@pytest.mark.parametrize("name", ["status_url", "response_url", "cancel_url"])
def test_a_receipt_with_a_foreign_address_is_lost_but_names_the_request(
    fal: WireServer, client: FalClient, name: str
) -> None:
    fal.says(http(200, fal.receipt(**{name: "https://evil.example/requests/req-1"})))
    with pytest.raises(SubmitLost) as caught:
        submit(client)
    assert caught.value.request_id == "req-1"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"request_id": 7}', b'{"request_id": NaN}', b"[" * 90000]
)
def test_a_receipt_that_cannot_be_read_is_lost(fal: WireServer, client: FalClient, body: bytes) -> None:
    fal.says(http(200, body))
    with pytest.raises(SubmitLost):
        submit(client)


def test_a_receipt_longer_than_the_limit_is_lost_and_not_read_to_its_end(fal: WireServer) -> None:
    sent: list[int] = []

    def endless(_seen: object, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 500000000\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65536))

    fal.answer = endless
    with FalClient(fal.config(max_answer_bytes=100_000)) as client, pytest.raises(SubmitLost):
        submit(client)
    assert sum(sent) < 50_000_000


def test_a_body_cut_off_on_the_way_is_lost(fal: WireServer, client: FalClient) -> None:
    fal.says(http(200, fal.receipt(), content_length="100000"))
    with pytest.raises(SubmitLost):
        submit(client)
    assert len(fal.seen) == 1


def test_a_refused_connection_was_not_sent(fal: WireServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        config = fal.config(queue_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with FalClient(config) as client, pytest.raises(NotSent) as caught:
            submit(client)
    assert not caught.value.is_final
    assert caught.value.outcome.is_retryable


def test_an_unknown_host_was_not_sent(fal: WireServer) -> None:
    config = fal.config(queue_url="http://no-such-host.invalid")
    with FalClient(config) as client, pytest.raises(NotSent):
        submit(client)


def test_a_connection_that_is_not_made_in_time_was_not_sent(fal: WireServer) -> None:
    """A listener whose backlog is full leaves a new connection hanging."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            config = fal.config(
                queue_url=f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout_seconds=0.2
            )
            with FalClient(config) as client, pytest.raises(NotSent):
                submit(client)
        finally:
            for one in waiting:
                one.close()


def test_tls_that_is_not_agreed_was_not_sent(fal: WireServer) -> None:
    """The server speaks plain HTTP: the handshake fails before a byte of the request is written."""
    config = fal.config(queue_url=fal.url.replace("http:", "https:"))
    with FalClient(config) as client, pytest.raises(NotSent):
        submit(client)


def test_every_submit_has_a_connection_of_its_own(fal: WireServer) -> None:
    """The server keeps each connection open and deaf: a second POST on one of them would be lost without need."""

    def answer_once(seen: Seen, connection: socket.socket) -> None:
        connection.sendall(http(200, fal.receipt(), connection="keep-alive"))
        silence(0.5)(seen, connection)

    fal.answer = answer_once
    with FalClient(fal.config(read_timeout_seconds=0.3)) as client:
        for _ in range(3):
            submit(client)
    assert len(fal.seen) == 3
