"""Status, result, cancel: what is believed, and where the key goes."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from generations.fal import (
    AccountLocked,
    AccountMisconfigured,
    AttemptFailed,
    CancelAnswer,
    Completed,
    FalClient,
    FalConfig,
    ForeignUrl,
    InProgress,
    InQueue,
    LogLine,
    NoAnswer,
    ProtocolError,
    RequestUnknown,
    ResultNotReady,
    StillRunning,
    TryLater,
)
from tests.generations.fal.wire_server import WireServer, http, running_server

NGINX = b"<html><hr><center>nginx</center></html>"
LINE = {"message": "50%", "timestamp": "2026-01-02T03:04:05.678Z", "level": "INFO", "source": "USER"}
SEEN = LogLine("50%", datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), "INFO")


@pytest.fixture
def url(fal: WireServer) -> str:
    return f"{fal.url}/fal-ai/minimax/requests/req-1"


@pytest.mark.parametrize(
    ("http_status", "body", "expected"),
    [
        (202, {"status": "IN_QUEUE", "queue_position": 4}, InQueue(4)),
        (202, {"status": "IN_QUEUE"}, InQueue(None)),
        (202, {"status": "IN_PROGRESS", "logs": [LINE]}, InProgress((SEEN,))),
        (202, {"status": "IN_PROGRESS", "logs": None}, InProgress()),
        (202, {"status": "IN_PROGRESS"}, InProgress()),
        (200, {"status": "IN_PROGRESS", "logs": ["x", {"message": 7}, LINE]}, InProgress((SEEN,))),
        (
            200,
            {"status": "COMPLETED", "logs": [], "metrics": {"inference_time": 61.5}},
            Completed((), "", "", 61.5),
        ),
        (
            200,
            {"status": "COMPLETED", "error": "Runner gone", "error_type": "runner_disconnected"},
            Completed((), "Runner gone", "runner_disconnected", None),
        ),
    ],
)
def test_fals_three_words_are_read(
    fal: WireServer, client: FalClient, url: str, http_status: int, body: object, expected: object
) -> None:
    fal.says(http(http_status, body))
    assert client.status(f"{url}/status", with_logs=True) == expected
    assert (fal.seen[0].method, fal.seen[0].query) == ("GET", {"logs": ["1"]})
    assert fal.seen[0].headers["authorization"] == "Key id:secret"


def test_a_query_in_the_status_address_survives(fal: WireServer, client: FalClient, url: str) -> None:
    fal.says(http(202, {"status": "IN_QUEUE"}))
    client.status(f"{url}/status?sig=a%2Fb")
    assert fal.seen[0].target.endswith("/status?sig=a%2Fb&logs=0")


@pytest.mark.parametrize("word", ["FAILED", "CANCELLED", "completed", "", None, 7])
def test_a_fourth_word_is_no_status(fal: WireServer, client: FalClient, url: str, word: object) -> None:
    fal.says(http(200, {"status": word}))
    with pytest.raises(ProtocolError):
        client.status(f"{url}/status")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"status": "NOT_FOUND"}, RequestUnknown),
        (429, {"detail": "slow"}, TryLater),
        (401, {"detail": "who?"}, AccountMisconfigured),
        (403, {"detail": "User is locked. Reason: TOP_UP."}, AccountLocked),
        (500, {"detail": "boom"}, NoAnswer),
        (502, NGINX, NoAnswer),
        (400, {"detail": "?"}, ProtocolError),
        (307, b"", ProtocolError),
    ],
)
def test_a_status_call_that_fails_says_nothing_against_the_attempt(
    fal: WireServer, client: FalClient, url: str, status: int, body: object, kind: type[Exception]
) -> None:
    fal.says(http(status, body))
    with pytest.raises(kind) as caught:
        client.status(f"{url}/status")
    assert type(caught.value) is kind
    assert not caught.value.is_final  # type: ignore[attr-defined]


def test_the_result_comes_with_the_units_fal_bills(fal: WireServer, client: FalClient, url: str) -> None:
    video = {"video": {"url": "https://v3.fal.media/files/a.mp4"}}
    fal.says(http(200, video, x_fal_billable_units="1.5", X_Fal_Request_Id="req-1", server="x"))
    result = client.result(url)
    assert result.data == video
    assert result.billable_units == Decimal("1.5")
    assert result.headers == {"x-fal-billable-units": "1.5", "x-fal-request-id": "req-1"}


@pytest.mark.parametrize("units", ["", "many", "NaN", "Infinity", "-1"])
def test_units_that_are_no_quantity_are_not_known(
    fal: WireServer, client: FalClient, url: str, units: str
) -> None:
    fal.says(http(200, {}, x_fal_billable_units=units))
    assert client.result(url).billable_units is None


@pytest.mark.parametrize(
    ("status", "body"), [(400, {"detail": "Request is still in progress"}), (202, {"status": "IN_PROGRESS"})]
)
def test_a_result_asked_for_too_early_is_still_running(
    fal: WireServer, client: FalClient, url: str, status: int, body: object
) -> None:
    fal.says(http(status, body))
    with pytest.raises(StillRunning):
        client.result(url)


def test_a_504_without_fals_mark_right_after_completed_is_asked_again(
    fal: WireServer, client: FalClient, url: str
) -> None:
    fal.says(http(504, NGINX), http(200, {"video": {}}))
    with pytest.raises(ResultNotReady) as caught:
        client.result(url)
    assert not caught.value.is_final
    assert client.result(url).data == {"video": {}}


@pytest.mark.parametrize(
    ("status", "body", "headers", "reason", "is_retryable"),
    [
        (504, {"detail": "late", "error_type": "request_timeout"}, {}, "request_timeout", True),
        (503, b"", {"x_fal_error_type": "runner_disconnected"}, "runner_disconnected", True),
        (500, NGINX, {"x_fal_request_id": "req-1"}, "fal_error", True),
        (422, {"detail": [{"type": "content_policy_violation"}]}, {}, "content_policy_violation", False),
        (504, {"detail": "x"}, {"x_fal_request_timeout_type": "user"}, "start_timeout", True),
        (429, {"detail": [{"type": "busy"}]}, {}, "busy", True),
        (404, {"detail": "no path"}, {"x_fal_billable_units": "0"}, "engine_unavailable", False),
        (403, {"detail": [{"type": "content_policy_violation"}]}, {}, "content_policy_violation", False),
    ],
)
def test_a_failure_that_fal_vouches_for_ends_the_attempt(
    fal: WireServer,
    client: FalClient,
    url: str,
    status: int,
    body: object,
    headers: dict[str, str],
    reason: str,
    is_retryable: bool,
) -> None:
    fal.says(http(status, body, **headers))
    with pytest.raises(AttemptFailed) as caught:
        client.result(url)
    assert caught.value.is_final
    assert (caught.value.outcome.reason, caught.value.outcome.is_retryable) == (reason, is_retryable)


def test_a_failed_result_says_what_fal_took(fal: WireServer, client: FalClient, url: str) -> None:
    detail = [{"type": "no_media_generated", "input": "a secret prompt"}]
    fal.says(http(422, {"detail": detail}, x_fal_billable_units="2"))
    with pytest.raises(AttemptFailed) as caught:
        client.result(url)
    assert caught.value.billable_units == 2
    assert caught.value.detail == detail
    assert "secret" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"status": "NOT_FOUND"}, RequestUnknown),
        (404, {"detail": "Request not found"}, RequestUnknown),
        (401, {"detail": "who?"}, AccountMisconfigured),
        (429, {"detail": "slow"}, TryLater),
        (418, b"teapot", ResultNotReady),
        (302, b"", ProtocolError),
        (200, b"<html>", ProtocolError),
        (200, [1], ProtocolError),
    ],
)
def test_a_result_call_that_proves_nothing_is_not_final(
    fal: WireServer, client: FalClient, url: str, status: int, body: object, kind: type[Exception]
) -> None:
    fal.says(http(status, body))
    with pytest.raises(kind) as caught:
        client.result(url)
    assert type(caught.value) is kind
    assert not caught.value.is_final  # type: ignore[attr-defined]


def test_a_result_longer_than_the_limit_is_refused(fal: WireServer, url: str) -> None:
    fal.says(http(200, {"x": "y" * 10_000}))
    with FalClient(fal.config(max_answer_bytes=5000)) as client, pytest.raises(ProtocolError):
        client.result(url)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (202, {"status": "CANCELLATION_REQUESTED"}, CancelAnswer.REQUESTED),
        (200, {"status": "OK"}, CancelAnswer.REMOVED),
        (200, {"success": True}, CancelAnswer.REQUESTED),
        (204, b"", CancelAnswer.REQUESTED),
        (400, {"status": "ALREADY_COMPLETED"}, CancelAnswer.ALREADY_COMPLETED),
        (404, {"status": "NOT_FOUND"}, CancelAnswer.NOT_FOUND),
    ],
)
def test_the_answers_to_a_cancel(
    fal: WireServer, client: FalClient, url: str, status: int, body: object, expected: CancelAnswer
) -> None:
    fal.says(http(status, body))
    assert client.cancel(f"{url}/cancel") is expected
    assert fal.seen[0].method == "PUT"


def test_a_cancel_without_an_answer_is_not_a_cancel(fal: WireServer, client: FalClient, url: str) -> None:
    fal.says(http(502, NGINX))
    with pytest.raises(NoAnswer):
        client.cancel(f"{url}/cancel")


@pytest.mark.parametrize(
    "make",
    [
        lambda base: base.replace("127.0.0.1", "127.0.0.2"),
        lambda base: base.replace("http:", "https:"),
        lambda base: base.replace("http://", "http://127.0.0.1@"),
        lambda _: "https://evil.example/x",
        lambda _: "file:///etc/passwd",
        lambda base: base + "/../../x",
        lambda base: base + "/%2e%2E/x",
        lambda base: base + "\\x",
        lambda base: base + "/a b",
        lambda base: base + "#x",
        lambda _: "http://127.0.0.1:99999/x",
        lambda _: "",
    ],
)
def test_the_key_goes_nowhere_but_to_the_configured_host(
    fal: WireServer, client: FalClient, url: str, make
) -> None:  # type: ignore[no-untyped-def]
    for ask in (client.status, client.result, client.cancel):
        with pytest.raises(ForeignUrl):
            ask(make(url))
    assert fal.seen == []


def test_a_host_with_a_path_keeps_the_key_under_that_path(fal: WireServer) -> None:
    fal.says(http(202, {"status": "IN_QUEUE"}))
    with FalClient(fal.config(queue_url=f"{fal.url}/queue/")) as client:
        assert client.status(f"{fal.url}/queue/a/b/requests/1/status") == InQueue()
        with pytest.raises(ForeignUrl):
            client.status(f"{fal.url}/queue-of-others/a/b/requests/1/status")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_question_is_not_redirected_with_the_key(
    fal: WireServer, client: FalClient, url: str, status: int
) -> None:
    with running_server() as elsewhere:
        elsewhere.says(http(200, {"status": "COMPLETED"}))
        fal.says(http(status, b"", location=f"{elsewhere.url}/x"))
        for ask in (client.status, client.result, client.cancel):
            with pytest.raises(ProtocolError):
                ask(url)
        assert elsewhere.seen == []


@pytest.mark.parametrize(
    ("endpoint_id", "path"),
    [
        ("fal-ai/minimax/hailuo-2.3/pro/image-to-video", "fal-ai/minimax"),
        ("workflows/someone/flow", "workflows/someone/flow"),
        ("comfy/someone/flow/more", "comfy/someone/flow"),
    ],
)
def test_a_request_can_be_found_again_by_its_id_alone(
    fal: WireServer, client: FalClient, endpoint_id: str, path: str
) -> None:
    found = client.locate(endpoint_id, "req-1")
    assert found.response_url == f"{fal.url}/{path}/requests/req-1"
    assert found.status_url == f"{found.response_url}/status"
    assert found.cancel_url == f"{found.response_url}/cancel"
    with pytest.raises(ProtocolError):
        client.locate(endpoint_id, "../../x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue_url": "queue.fal.run"},
        {"rest_url": "ftp://rest.fal.ai"},
        {"platform_url": "https://a:b@api.fal.ai"},
        {"key": "id:secret\n"},
        {"admin_key": "two words"},
    ],
)
def test_a_configuration_that_cannot_work_is_refused_without_telling_the_key(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
        FalConfig(**({"key": "id:secret"} | wrong))
    assert "secret" not in str(caught.value)


def test_the_keys_are_not_in_the_words_of_a_configuration() -> None:
    assert "secret" not in repr(FalConfig(key="id:secret", admin_key="admin:secret"))
