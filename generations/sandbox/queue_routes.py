"""fal's queue: submit, status, status stream, result, cancel (fal.ai/docs, "Queue").

Follow-up addresses keep only owner and app of the endpoint id; the full id in front of `/requests/` works too.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from generations.sandbox import desk as front
from generations.sandbox import engines, failures
from generations.sandbox.desk import DESK, Desk, answer
from generations.sandbox.directives import DirectiveError, Fault, parse
from generations.sandbox.jobs import Order, prompt_key
from generations.sandbox.store import COMPLETED, IN_QUEUE, Row, loads
from generations.sandbox.webhooks import absolute

START_TIMEOUT_HEADERS = ("X-Fal-Request-Start-Timeout", "X-Fal-Request-Timeout")
LIFECYCLE_HEADER = "X-Fal-Object-Lifecycle-Preference"
LOG_LINES = (
    "Starting runner",
    "Loading weights",
    *(f"Sampling {n}0%" for n in range(1, 10)),
    "Encoding video",
)
STILL_RUNNING = "Request is still in progress"
NOT_FOUND = {"status": "NOT_FOUND", "detail": "Request not found"}


async def queue(request: web.Request) -> web.StreamResponse:
    """The door of `/queue/...`: POST submits; everything else is about one request."""
    return await dispatch(request, request.match_info["path"])


async def dispatch(request: web.Request, path: str) -> web.StreamResponse:
    """Answer a queue request for a path without its leading slash."""
    parts = path.strip("/").split("/")
    if "requests" in parts[2:]:
        at = parts.index("requests", 2)
        return await _follow_up(request, "/".join(parts[:at]), parts[at + 1 :])
    if request.method != "POST":
        return answer({"detail": "Method Not Allowed"}, status=405)
    return await _submit(request, "/".join(parts))


async def _submit(request: web.Request, endpoint_id: str) -> web.StreamResponse:
    desk = request.app[DESK]
    desk.counts["submit"] += 1
    front.need_key(request)
    params = await _params(request)
    answered, reply, request_id = await _decide(request, desk, endpoint_id, params)
    desk.store.record_post(
        endpoint_id=endpoint_id,
        tags=request.headers.get("X-Fal-Tags", ""),
        prompt=engines.prompt_of(params),
        answer=answered,
        request_id=request_id,
    )
    if answered.startswith("hang"):
        return await front.hang(request)
    return front.drop(request) if reply is None else reply


async def _decide(
    request: web.Request, desk: Desk, endpoint_id: str, params: dict[str, Any]
) -> tuple[str, web.Response | None, str | None]:
    """What to do with a submit: a word for the record, the reply if there is one, the request id if accepted."""
    refusal = _refusal(request, desk, endpoint_id, params)
    if refusal is not None:
        return str(refusal.status), refusal, None
    fault = _submit_fault(desk, endpoint_id, params)
    if fault is None:
        job = desk.clock.accept(_order(request, endpoint_id, params))
        return "200", _accepted(desk, job), job["request_id"]
    name, value = fault
    is_accepted = value.value == "after" or value.tail == "after"
    request_id = (
        desk.clock.accept(_order(request, endpoint_id, params))["request_id"] if is_accepted else None
    )
    return f"{name}={value.value}", _faulty_reply(name, value), request_id


def _refusal(
    request: web.Request, desk: Desk, endpoint_id: str, params: dict[str, Any]
) -> web.Response | None:
    """The honest refusals, in the order fal makes them."""
    if desk.options.locked:
        return answer(failures.locked(desk.options.locked), status=403)
    if engines.find(endpoint_id) is None:
        return answer({"detail": f"Application '{endpoint_id}' not found"}, status=404)
    limit = request.query.get("fal_max_queue_length", "")
    if limit.isdigit() and desk.store.queued() > int(limit):
        return answer({"detail": "Queue is too long"}, status=429)
    try:
        parse(engines.prompt_of(params))
    except DirectiveError as error:
        return answer({"detail": str(error)}, status=422)
    return None


def _submit_fault(desk: Desk, endpoint_id: str, params: dict[str, Any]) -> tuple[str, Fault] | None:
    """The fault that strikes this submit: one ordered by the control endpoint, else one of the prompt."""
    if desk.failing:
        name, _, value = desk.failing.pop(0).partition("=")
        return name, Fault(value)
    faults = parse(engines.prompt_of(params))
    for name in ("locked", "submit", "nginx", "drop", "hang"):
        fault = faults.get(name)
        if fault and desk.store.strike(f"{name}:{prompt_key(endpoint_id, params)}", fault.times):
            return name, fault
    return None


def _faulty_reply(name: str, fault: Fault) -> web.Response | None:
    if name == "locked":
        return answer(failures.locked(""), status=403)
    if name == "nginx":
        return front.nginx(fault.status_code)
    if name == "submit":
        detail = failures.PLAIN.get(fault.status_code, "Internal Server Error")
        return answer(
            {"detail": detail}, status=fault.status_code, request_id="00000000-0000-0000-0000-000000000000"
        )
    return None


async def _params(request: web.Request) -> dict[str, Any]:
    try:
        params = await request.json()
    except ValueError:
        params = None
    if not isinstance(params, dict):
        text = json.dumps(
            {"detail": [{"loc": ["body"], "msg": "JSON object expected", "type": "json_invalid"}]}
        )
        raise web.HTTPUnprocessableEntity(text=text, content_type="application/json")
    return params


def _order(request: web.Request, endpoint_id: str, params: dict[str, Any]) -> Order:
    return Order(
        endpoint_id=endpoint_id,
        params=params,
        base_url=front.base_url(request),
        tags=request.headers.get("X-Fal-Tags", ""),
        webhook_url=request.query.get("fal_webhook", ""),
        start_timeout_seconds=_start_timeout(request),
        lifecycle_seconds=lifecycle_seconds(request),
    )


def _start_timeout(request: web.Request) -> float | None:
    for name in START_TIMEOUT_HEADERS:
        with suppress(KeyError, ValueError):
            seconds = float(request.headers[name])
            return seconds if seconds > 0 else None
    return None


def lifecycle_seconds(request: web.Request) -> float | None:
    """How long a file is to be kept, from the lifecycle header; `None` for ever."""
    with suppress(KeyError, ValueError, TypeError, AttributeError):
        seconds = json.loads(request.headers[LIFECYCLE_HEADER]).get("expiration_duration_seconds")
        return float(seconds) if seconds else None
    return None


def _accepted(desk: Desk, job: Row) -> web.Response:
    body = {
        "status": IN_QUEUE,
        "queue_position": desk.clock.position(job),
        "gateway_request_id": job["request_id"],
    }
    return answer(body | _links(job), request_id=job["request_id"])


def _links(job: Row) -> dict[str, str]:
    url = f"{job['base_url']}/queue/{job['app']}/requests/{job['request_id']}"
    return {
        "request_id": job["request_id"],
        "response_url": url,
        "status_url": f"{url}/status",
        "cancel_url": f"{url}/cancel",
    }


async def _follow_up(request: web.Request, app: str, rest: list[str]) -> web.StreamResponse:
    desk = request.app[DESK]
    job = desk.store.job(rest[0]) if rest else None
    if job is None or app not in {job["app"], job["endpoint_id"]}:
        return answer(NOT_FOUND, status=404)
    match request.method, rest[1:]:
        case "GET", ["status"]:
            return _status(request, desk, job)
        case "GET", ["status", "stream"]:
            return await _stream(request, desk, job)
        case "GET", [] | ["response"]:
            return _result(desk, job)
        case "PUT", ["cancel"]:
            return _cancel(desk, job)
    return answer({"detail": "Not Found"}, status=404)


def _status(request: web.Request, desk: Desk, job: Row) -> web.Response:
    number = desk.store.count(job["request_id"], "status")
    desk.counts["status"] += 1
    fault = parse(job["prompt"]).get("status")
    if fault and (fault.times is None or number <= fault.times):
        return answer({"detail": "Service unavailable"}, status=fault.status_code)
    body = status_body(desk, job, with_logs=_wants_logs(request))
    return answer(body, status=200 if job["state"] == COMPLETED else 202, request_id=job["request_id"])


def _wants_logs(request: web.Request) -> bool:
    return request.query.get("logs", "").lower() in {"1", "true"}


def status_body(desk: Desk, job: Row, *, with_logs: bool) -> dict[str, Any]:
    """fal's status object for a job, with `logs` always there because the Python client insists on it."""
    body: dict[str, Any] = {"status": job["state"], **_links(job), "logs": _logs(job) if with_logs else None}
    if job["state"] == IN_QUEUE:
        body["queue_position"] = desk.clock.position(job)
    if job["state"] == COMPLETED:
        started_at = job["started_at"] or job["completed_at"]
        body["metrics"] = {"inference_time": round(job["completed_at"] - started_at, 3)}
        if job["status_code"] != 200:
            body |= {"error": job["error"], "error_type": job["error_type"]}
    return body


def _logs(job: Row) -> list[dict[str, str]]:
    """The lines a runner would have written by now, spread over the running time."""
    if not job["started_at"]:
        return []
    until = min(time.time(), job["completed_at"] or time.time())
    step = min(max(job["run_seconds"], 0.01), 600.0) / len(LOG_LINES)
    lines = ((job["started_at"] + number * step, line) for number, line in enumerate(LOG_LINES))
    return [
        {
            "message": line,
            "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
            "level": "INFO",
            "source": "USER",
        }
        for at, line in lines
        if at <= until
    ]


async def _stream(request: web.Request, desk: Desk, job: Row) -> web.StreamResponse:
    """One event per change of the status object, until COMPLETED."""
    desk.store.count(job["request_id"], "stream")
    desk.counts["stream"] += 1
    fault = parse(job["prompt"]).get("stream")
    if fault and fault.head == "404":
        return answer({"detail": "Not Found"}, status=404)
    headers = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache",
        "x-fal-request-id": job["request_id"],
    }
    reply = web.StreamResponse(headers=headers)
    await reply.prepare(request)
    changed = desk.clock.watch(job["request_id"])
    try:
        await _send_events(request, reply, changed, request_id=job["request_id"], is_cut=bool(fault))
    finally:
        desk.clock.unwatch(job["request_id"], changed)
    return reply


async def _send_events(
    request: web.Request, reply: web.StreamResponse, changed: asyncio.Event, *, request_id: str, is_cut: bool
) -> None:
    desk = request.app[DESK]
    pause = max(min(desk.options.job_seconds / 12, 1.0), 0.05)
    last = None
    while not desk.closing.is_set():
        changed.clear()
        job = desk.store.job(request_id)
        body = status_body(desk, job, with_logs=_wants_logs(request)) if job else None
        if body != last:
            last = body
            await reply.write(f"data: {json.dumps(body)}\n\n".encode())
        if is_cut:
            front.drop(request)
            return
        if job is None or job["state"] == COMPLETED:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), pause)


def _result(desk: Desk, job: Row) -> web.Response:
    number = desk.store.count(job["request_id"], "result")
    desk.counts["result"] += 1
    if job["state"] != COMPLETED:
        return answer({"detail": STILL_RUNNING}, status=400, request_id=job["request_id"])
    fault = parse(job["prompt"]).get("result")
    if fault and (fault.times is None or number <= fault.times):
        return answer({"detail": "Gateway Timeout"}, status=fault.status_code)
    if job["erased"]:
        return answer(NOT_FOUND, status=404)
    body = absolute(loads(job["body"]), job["base_url"])
    headers = {} if job["units"] is None else {"x-fal-billable-units": f"{job['units']:g}"}
    if job["error_type"] in failures.REQUEST_ERRORS:
        headers["X-Fal-Error-Type"] = job["error_type"]
    if job["error_type"] == "request_timeout":
        headers["X-Fal-Request-Timeout-Type"] = "user"
    return answer(body, status=job["status_code"], request_id=job["request_id"], headers=headers)


def _cancel(desk: Desk, job: Row) -> web.Response:
    desk.store.count(job["request_id"], "cancel")
    desk.counts["cancel"] += 1
    if desk.clock.cancel(job):
        return answer({"status": "CANCELLATION_REQUESTED"}, status=202, request_id=job["request_id"])
    return answer({"status": "ALREADY_COMPLETED"}, status=400, request_id=job["request_id"])
