"""The queue as fal documents it: places in the line, states, logs, results, cancelling, deadlines, locks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.generations.sandbox.conftest import PICTURE_ENGINE, Caller, caller_for, picture_uri
from tests.sandbox_server import RunningSandbox, running_sandbox


def test_a_job_is_queued_runs_and_completes(caller: Caller) -> None:
    job = caller.accepted("A fox [[sandbox: seconds=0.6]]")
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["status"] != "COMPLETED":
        reply = caller.status(job)
        seen.append(reply.json())
        assert reply.status_code == (200 if seen[-1]["status"] == "COMPLETED" else 202)
        time.sleep(0.01)
    states = list(dict.fromkeys(each["status"] for each in seen))
    assert states == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
    places = [each["queue_position"] for each in seen if each["status"] == "IN_QUEUE"]
    assert places == sorted(places, reverse=True)
    assert {1, 2} <= set(places)
    lines = [len(each["logs"]) for each in seen if each["status"] == "IN_PROGRESS"]
    assert lines == sorted(lines)
    assert lines[-1] > lines[0]
    assert seen[-1]["metrics"]["inference_time"] == pytest.approx(0.48, abs=0.2)


def test_the_result_names_the_clip_and_what_it_cost(caller: Caller) -> None:
    job = caller.accepted("A fox")
    assert caller.result(job).status_code == 400
    caller.completed(job)
    reply = caller.result(job)
    assert reply.json()["video"]["url"].startswith(f"{caller.sandbox.cdn_url}/files/")
    assert reply.headers["x-fal-billable-units"] == "1"
    assert reply.headers["x-fal-request-id"] == job["request_id"]
    assert caller.http.get(job["response_url"] + "/response").json() == reply.json()


def test_follow_ups_take_the_whole_endpoint_id_too(caller: Caller) -> None:
    job = caller.accepted("A fox")
    whole = (
        f"{caller.sandbox.queue_url}/fal-ai/minimax/hailuo-2.3/pro/text-to-video/requests/{job['request_id']}"
    )
    assert caller.http.get(f"{whole}/status").status_code == 202
    other = f"{caller.sandbox.queue_url}/fal-ai/veo3.1/requests/{job['request_id']}"
    assert caller.http.get(f"{other}/status").status_code == 404


def test_only_so_many_run_at_once(tmp_path: Path) -> None:
    with (
        running_sandbox(tmp_path, job_seconds=0.5, concurrency=2) as sandbox,
        caller_for(sandbox).http as http,
    ):
        caller = Caller(sandbox, http)
        jobs = [caller.accepted(f"Fox {number}") for number in range(5)]
        busiest = 0
        states = {"IN_QUEUE"}
        while states != {"COMPLETED"}:
            now = [row["state"] for row in sandbox.jobs()]
            states, busiest = set(now), max(busiest, now.count("IN_PROGRESS"))
            time.sleep(0.01)
        assert busiest == 2
        ends = [caller.row(job)["completed_at"] for job in jobs]
        assert ends == sorted(ends)


def test_position_counts_strangers_down(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: position=5 seconds=0.5]]")
    assert job["queue_position"] == 5
    places = []
    while (status := caller.status(job).json())["status"] == "IN_QUEUE":
        places.append(status["queue_position"])
        time.sleep(0.01)
    assert places == sorted(places, reverse=True)
    assert {4, 3, 2, 1} <= set(places)


def test_a_queued_job_can_be_cancelled(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: stuck=queue]]")
    reply = caller.cancel(job)
    assert (reply.status_code, reply.json()["status"]) == (202, "CANCELLATION_REQUESTED")
    assert caller.status(job).json()["error_type"] == "client_cancelled"
    assert caller.result(job).status_code == 499
    assert caller.cancel(job).status_code == 400
    assert caller.http.put(job["cancel_url"].replace(job["request_id"], "nobody")).status_code == 404


def test_a_running_job_stops_soon_after_its_cancel(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: stuck]]")
    while caller.status(job).json()["status"] != "IN_PROGRESS":
        time.sleep(0.01)
    assert caller.cancel(job).status_code == 202
    caller.completed(job)
    assert caller.result(job).json()["error_type"] == "client_cancelled"
    assert caller.platform("models/billing-events", request_id=job["request_id"])["billing_events"] == []


def test_a_cancel_may_be_ignored(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: cancel=ignored]]")
    assert caller.cancel(job).status_code == 202
    caller.completed(job)
    assert caller.result(job).status_code == 200


def test_stuck_stays_until_the_control_endpoint_ends_it(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: stuck]]")
    time.sleep(0.5)
    assert caller.status(job).json()["status"] == "IN_PROGRESS"
    assert caller.sandbox.control(f"jobs/{job['request_id']}/finish", {}) == {"finished": True}
    assert caller.completed(job)["status"] == "COMPLETED"
    assert caller.result(job).status_code == 200


@pytest.mark.parametrize("header", ["X-Fal-Request-Start-Timeout", "X-Fal-Request-Timeout"])
def test_a_start_deadline_that_passes_is_a_504(caller: Caller, header: str) -> None:
    job = caller.accepted("[[sandbox: stuck=queue]]", headers={header: "0.2"})
    assert caller.completed(job)["error_type"] == "request_timeout"
    reply = caller.result(job)
    assert reply.status_code == 504
    assert reply.headers["x-fal-request-timeout-type"] == "user"
    assert reply.headers["x-fal-error-type"] == "request_timeout"


def test_slow_adds_seconds(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: slow=0.5]]")
    caller.completed(job)
    row = caller.row(job)
    assert row["completed_at"] - row["started_at"] == pytest.approx(0.66, abs=0.2)


def test_the_stream_tells_every_change_and_ends(caller: Caller) -> None:
    job = caller.accepted("A fox [[sandbox: seconds=0.4]]")
    with caller.http.stream("GET", f"{job['status_url']}/stream", params={"logs": 1}) as reply:
        assert reply.headers["content-type"] == "text/event-stream"
        events = [json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: ")]
    assert list(dict.fromkeys(event["status"] for event in events)) == [
        "IN_QUEUE",
        "IN_PROGRESS",
        "COMPLETED",
    ]
    assert caller.row(job)["counts"]["stream"] == 1
    assert caller.row(job)["counts"]["status"] == 0


def test_a_stream_may_be_missing_or_cut(caller: Caller) -> None:
    job = caller.accepted("[[sandbox: stream=404]]")
    assert caller.http.get(f"{job['status_url']}/stream").status_code == 404
    job = caller.accepted("[[sandbox: stream=drop]]")
    with (
        pytest.raises(httpx.RemoteProtocolError),
        caller.http.stream("GET", f"{job['status_url']}/stream") as reply,
    ):
        list(reply.iter_lines())


def test_submitting_needs_a_key(sandbox: RunningSandbox) -> None:
    address = f"{sandbox.queue_url}/fal-ai/veo3.1"
    assert httpx.post(address, json={"prompt": "x"}).status_code == 401
    assert httpx.post(address, json={"prompt": "x"}, headers={"Authorization": "Key"}).status_code == 401


def test_a_given_key_is_the_only_one(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, key="k:1", admin_key="a:1") as sandbox:
        address = f"{sandbox.queue_url}/fal-ai/veo3.1"
        events = f"{sandbox.platform_url}/models/billing-events"
        answers = {}
        for key in ("k:2", "k:1", "a:1"):
            headers = {"Authorization": f"Key {key}"}
            posted = httpx.post(address, json={"prompt": "x"}, headers=headers)
            answers[key] = (posted.status_code, httpx.get(events, headers=headers).status_code)
        assert answers == {"k:2": (401, 403), "k:1": (200, 403), "a:1": (200, 200)}


def test_an_unknown_endpoint_is_a_404(caller: Caller) -> None:
    assert caller.submit("x", engine="fal-ai/no-such-thing").status_code == 404


def test_input_that_does_not_fit_completes_as_an_unbilled_422(caller: Caller) -> None:
    reply = caller.outcome("A fox", engine=PICTURE_ENGINE)
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == ["body", "image_url"]
    assert reply.json()["detail"][0]["type"] == "missing"
    assert reply.headers["x-fal-billable-units"] == "0"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("data:image/png;base64,aGVsbG8=", "image_load_error"),
        ("http://127.0.0.1:9/nothing.png", "file_download_error"),
        ("data:image/png;base64,***", "file_download_error"),
        (picture_uri(200, 200), "image_too_small"),
    ],
)
def test_a_picture_that_will_not_do_is_a_422(caller: Caller, address: str, kind: str) -> None:
    reply = caller.outcome("A fox", engine=PICTURE_ENGINE, params={"image_url": address})
    assert (reply.status_code, reply.json()["detail"][0]["type"]) == (422, kind)


def test_a_long_queue_can_be_declined(caller: Caller) -> None:
    jobs = [caller.accepted(f"[[sandbox: stuck=queue]] {number}") for number in range(2)]
    assert caller.submit("x", query={"fal_max_queue_length": "1"}).status_code == 429
    for job in jobs:
        caller.cancel(job)


def test_a_locked_account_submits_and_uploads_nothing_but_reads_on(caller: Caller) -> None:
    job = caller.accepted("A fox")
    caller.sandbox.settings(locked=True)
    try:
        reply = caller.submit("A fox")
        upload = caller.http.post(f"{caller.sandbox.rest_url}/storage/upload/initiate", json={})
        assert (reply.status_code, upload.status_code) == (403, 403)
        assert reply.json()["detail"].startswith("User is locked. Reason: Exhausted balance.")
        caller.completed(job)
    finally:
        caller.sandbox.settings(locked=False)
    assert caller.submit("A fox").status_code == 200


def test_an_emptied_account_locks_itself(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, balance_usd=0.5) as sandbox, caller_for(sandbox).http as http:
        caller = Caller(sandbox, http)
        for number in range(2):
            caller.outcome(f"Fox {number}")
        assert caller.platform("account/billing", expand="credits")["credits"]["current_balance"] == -0.48
        assert caller.submit("A fox").status_code == 403
