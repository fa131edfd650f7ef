"""Every directive about submit, run, result, status and download, as a client meets it on the wire."""

from __future__ import annotations

import time

import httpx
import pytest

from generations.sandbox import failures
from tests.generations.sandbox.conftest import Caller


def posts(caller: Caller, prompt: str) -> list[dict[str, object]]:
    return [post for post in caller.sandbox.posts() if post["prompt"] == prompt]


@pytest.mark.parametrize("status", [400, 408, 409, 422, 429, 500, 503, 504])
def test_submit_answers_the_status_asked_for(caller: Caller, status: int) -> None:
    prompt = f"[[sandbox: submit={status}]]"
    reply = caller.submit(prompt)
    assert reply.status_code == status
    assert reply.json()["detail"] == reply.json()["message"]
    assert [post["request_id"] for post in posts(caller, prompt)] == [None]


def test_submit_may_fail_after_accepting(caller: Caller) -> None:
    prompt = "[[sandbox: submit=504:after]]"
    assert caller.submit(prompt).status_code == 504
    assert posts(caller, prompt)[0]["request_id"]


def test_nginx_answers_html_without_a_request_id(caller: Caller) -> None:
    reply = caller.submit("[[sandbox: nginx=502]]")
    assert reply.status_code == 502
    assert "nginx" in reply.text
    assert "x-fal-request-id" not in reply.headers


@pytest.mark.parametrize(("where", "is_accepted"), [("before", False), ("after", True)])
def test_a_dropped_connection_may_or_may_not_have_been_accepted(
    caller: Caller, where: str, *, is_accepted: bool
) -> None:
    prompt = f"A fox [[sandbox: drop={where}]]"
    with pytest.raises(httpx.RemoteProtocolError):
        caller.submit(prompt)
    assert [bool(post["request_id"]) for post in posts(caller, prompt)] == [is_accepted]


@pytest.mark.parametrize(("where", "is_accepted"), [("before", False), ("after", True)])
def test_hang_never_answers(caller: Caller, where: str, *, is_accepted: bool) -> None:
    prompt = f"A fox [[sandbox: hang={where}]]"
    with pytest.raises(httpx.ReadTimeout):
        caller.http.post(
            f"{caller.sandbox.queue_url}/fal-ai/veo3.1",
            json={"prompt": prompt},
            timeout=httpx.Timeout(5, read=0.3),
        )
    assert [bool(post["request_id"]) for post in posts(caller, prompt)] == [is_accepted]


def test_locked_refuses_this_one_submit(caller: Caller) -> None:
    reply = caller.submit("[[sandbox: locked]]")
    assert (reply.status_code, reply.json()["detail"][:14]) == (403, "User is locked")


def test_a_counted_fault_lets_the_next_submit_through(caller: Caller) -> None:
    prompt = "Twice unlucky [[sandbox: submit=500*2]]"
    assert [caller.submit(prompt).status_code for _ in range(3)] == [500, 500, 200]


def test_an_unknown_directive_is_refused_with_its_name(caller: Caller) -> None:
    reply = caller.submit("[[sandbox: explode=1]]")
    assert reply.status_code == 422
    assert "explode" in reply.json()["detail"]


def test_the_control_endpoint_makes_the_next_submits_fail(caller: Caller) -> None:
    caller.sandbox.settings(fail_submits={"count": 2, "fault": "submit=503"})
    assert [caller.submit("A fox").status_code for _ in range(3)] == [503, 503, 200]
    with pytest.raises(Exception, match="400"):
        caller.sandbox.settings(fail_submits={"count": 1, "fault": "run=500"})


@pytest.mark.parametrize(("kind", "status"), [*failures.REQUEST_ERRORS.items()])
def test_request_errors_carry_their_type_in_body_header_and_status(
    caller: Caller, kind: str, status: int
) -> None:
    job = caller.accepted(f"[[sandbox: run={status}:{kind}]]")
    assert caller.completed(job)["error_type"] == kind
    reply = caller.result(job)
    assert (reply.status_code, reply.json()["error_type"], reply.headers["x-fal-error-type"]) == (
        status,
        kind,
        kind,
    )


@pytest.mark.parametrize(
    ("run", "status", "kind"),
    [
        ("500", 500, "internal_server_error"),
        ("504", 504, "generation_timeout"),
        ("422:content_policy_violation", 422, "content_policy_violation"),
        ("422:image_too_small", 422, "image_too_small"),
        ("422", 422, "value_error"),
    ],
)
def test_model_errors_come_as_a_list_of_details(caller: Caller, run: str, status: int, kind: str) -> None:
    job = caller.accepted(f"[[sandbox: run={run}]]")
    assert caller.completed(job)["error"]
    reply = caller.result(job)
    assert (reply.status_code, reply.json()["detail"][0]["type"]) == (status, kind)


def test_a_403_at_run_is_a_plain_sentence(caller: Caller) -> None:
    reply = caller.outcome("[[sandbox: run=403]]")
    assert (reply.status_code, reply.json()["detail"]) == (403, "Forbidden")


def test_a_second_attempt_may_succeed_where_the_first_failed(caller: Caller) -> None:
    prompt = "Better next time [[sandbox: run=500*1]]"
    assert [caller.outcome(prompt).status_code for _ in range(2)] == [500, 200]


def test_the_result_may_fail_for_a_while(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: result=504*2]]")
    caller.completed(job)
    replies = [caller.result(job) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [504, 504, 200]
    assert "x-fal-request-id" not in replies[0].headers


def test_the_result_may_be_gone_for_good(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: result=404]]")
    caller.completed(job)
    assert [caller.result(job).status_code for _ in range(2)] == [404, 404]


def test_the_status_may_fail_for_a_while(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: status=503*2]]")
    assert [caller.status(job).status_code for _ in range(3)] == [503, 503, 202]


def clip_url(caller: Caller, prompt: str) -> str:
    return str(caller.outcome(prompt).json()["video"]["url"])


def test_download_404_then_back(caller: Caller) -> None:
    url = clip_url(caller, "[[sandbox: download=404*1]]")
    assert [caller.http.get(url).status_code for _ in range(2)] == [404, 200]


def test_download_html(caller: Caller) -> None:
    reply = caller.http.get(clip_url(caller, "[[sandbox: download=html]]"))
    assert (reply.status_code, reply.headers["content-type"][:9]) == (200, "text/html")


def test_download_notvideo_only_claims_to_be_one(caller: Caller) -> None:
    reply = caller.http.get(clip_url(caller, "[[sandbox: download=notvideo]]"))
    assert reply.headers["content-type"] == "video/mp4"
    assert b"ftyp" not in reply.content


def test_download_truncated_breaks_its_promise(caller: Caller) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        caller.http.get(clip_url(caller, "[[sandbox: download=truncated]]"))


def test_download_short_keeps_its_promise_and_is_half_a_clip(caller: Caller) -> None:
    whole = caller.http.get(clip_url(caller, "A whole fox")).content
    half = caller.http.get(clip_url(caller, "[[sandbox: download=short]]")).content
    assert half == whole[: len(whole) // 2]


def test_download_drop(caller: Caller) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        caller.http.get(clip_url(caller, "[[sandbox: download=drop]]"))


@pytest.mark.parametrize(("word", "length"), [("toolarge", str(8 * 1024**3)), ("endless", None)])
def test_download_too_large_goes_on_and_on(caller: Caller, word: str, length: str | None) -> None:
    with caller.http.stream("GET", clip_url(caller, f"[[sandbox: download={word}]]")) as reply:
        assert reply.headers.get("content-length") == length
        got = 0
        for chunk in reply.iter_raw():
            got += len(chunk)
            if got > 5_000_000:
                break
    assert got > 5_000_000


def test_download_slow_crawls(caller: Caller) -> None:
    url = clip_url(caller, "[[sandbox: download=slow:0.5]]")
    started = time.monotonic()
    assert caller.http.get(url).status_code == 200
    assert time.monotonic() - started >= 0.45


def test_the_clip_takes_ranges(caller: Caller) -> None:
    url = clip_url(caller, "A fox in pieces")
    reply = caller.http.get(url, headers={"Range": "bytes=4-7"})
    assert (reply.status_code, reply.content) == (206, b"ftyp")
