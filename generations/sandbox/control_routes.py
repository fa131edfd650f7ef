"""`/control`: what fal has no endpoint for. Settings, forced failures, every job's counts, every webhook sent."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from generations.sandbox.desk import DESK, answer
from generations.sandbox.directives import DirectiveError, parse
from generations.sandbox.platform_routes import tags_of
from generations.sandbox.store import COUNTERS, Row, loads

KINDS = frozenset({"genuine", "forged", "stale", "unknown", "payload_error"})
HIDDEN = frozenset(
    {"seq", "body", "failure", "prepared", "picture", "prompt_key", "base_url", "pretend_ahead"}
)


async def state(request: web.Request) -> web.Response:
    """Settings, how many jobs are in which state, and requests by kind since the last reset."""
    desk = request.app[DESK]
    rows = desk.store.rows("SELECT state, count(*) AS n FROM jobs GROUP BY state")
    return answer(
        {
            "settings": desk.options.adjustable(),
            "failing": desk.failing,
            "jobs": {row["state"]: row["n"] for row in rows},
            "counts": dict(desk.counts),
            "spent_usd": round(desk.store.spent_usd(), 6),
        }
    )


async def settings(request: web.Request) -> web.Response:
    """Change settings while running, and with `fail_submits` make the next submits fail.

    `{"fail_submits": {"count": 3, "fault": "submit=503"}}`; the fault is any submit directive of the table.
    """
    desk, wanted = request.app[DESK], await request.json()
    failing = wanted.pop("fail_submits", None)
    try:
        desk.options.adjust(wanted)
        if failing is not None:
            desk.failing[:] = [_submit_fault(failing["fault"])] * int(failing["count"])
    except (ValueError, KeyError, TypeError) as error:
        return answer({"detail": str(error)}, status=400)
    desk.clock.wake()
    return await state(request)


def _submit_fault(text: str) -> str:
    parse(f"[[sandbox: {text}]]")
    if text.partition("=")[0] not in {"submit", "nginx", "drop", "hang", "locked"}:
        raise DirectiveError(f"{text} is not a fault of the submit")
    return text


async def jobs(request: web.Request) -> web.Response:
    """Every job, oldest first, with its counts; `?request_id=`, `?tag=name=value` and `?state=` choose."""
    rows = request.app[DESK].store.rows("SELECT * FROM jobs ORDER BY seq")
    query = request.query
    chosen = [
        row
        for row in rows
        if query.get("request_id") in {None, row["request_id"]}
        and query.get("state") in {None, row["state"]}
        and _has_tag(row, query.get("tag"))
    ]
    return answer({"jobs": [_view(row) for row in chosen]})


def _has_tag(row: Row, tag: str | None) -> bool:
    return tag is None or tag in {f"{name}={value}" for name, value in tags_of(row).items()}


def _view(row: Row) -> dict[str, Any]:
    counts = {name: row[f"{name}_count"] for name in COUNTERS}
    rest = {name: value for name, value in row.items() if name not in HIDDEN and not name.endswith("_count")}
    return rest | {"tags": tags_of(row), "counts": counts}


async def finish(request: web.Request) -> web.Response:
    """Let one job end now."""
    is_done = request.app[DESK].clock.finish_now(request.match_info["request_id"])
    return answer({"finished": is_done}, status=200 if is_done else 404)


async def posts(request: web.Request) -> web.Response:
    """Every submit that reached us, whatever came of it: proof of one POST per attempt. `?tag=` chooses."""
    rows = request.app[DESK].store.rows("SELECT * FROM posts ORDER BY seq")
    chosen = [row for row in rows if _has_tag(row, request.query.get("tag"))]
    return answer({"posts": [row | {"tags": tags_of(row)} for row in chosen]})


async def webhooks(request: web.Request) -> web.Response:
    """Every webhook queued or sent, with its kind, attempts and the last answer."""
    rows = request.app[DESK].store.rows("SELECT * FROM webhooks ORDER BY seq")
    return answer({"webhooks": [row | {"body": loads(row["body"])} for row in rows]})


async def send_webhook(request: web.Request) -> web.Response:
    """Send one webhook of a finished job again: `{"request_id": ..., "kind": "forged", "url": optional}`."""
    desk, wanted = request.app[DESK], await request.json()
    job, kind = desk.store.job(wanted.get("request_id", "")), wanted.get("kind", "genuine")
    if job is None or job["completed_at"] is None or kind not in KINDS:
        return answer({"detail": f"a finished request_id and one of {', '.join(sorted(KINDS))}"}, status=400)
    desk.courier.add(job | {"webhook_url": wanted.get("url") or job["webhook_url"]}, kind, due_at=time.time())
    desk.clock.wake()
    return answer({"queued": kind})


async def reset(request: web.Request) -> web.Response:
    """Forget counters, or with `{"jobs": true}` everything."""
    desk = request.app[DESK]
    wanted = await request.json() if request.can_read_body else {}
    desk.counts.clear()
    desk.failing.clear()
    desk.store.reset(counters_only=not wanted.get("jobs"))
    return await state(request)
