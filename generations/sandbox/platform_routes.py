"""fal's platform API, as far as a gateway needs it: prices, billing events, request history, balance, erasure."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from generations import catalogue
from generations.sandbox import desk as front
from generations.sandbox import engines
from generations.sandbox.desk import DESK, Desk, answer
from generations.sandbox.storage_routes import erase
from generations.sandbox.store import COMPLETED, Row, loads
from generations.sandbox.webhooks import USER_ID, absolute

MOST_IDS = 50
HISTORY_SECONDS = 24 * 3600
PAGE = 100
STATUSES = {"success": (200, 299), "user_error": (400, 499), "error": (500, 599)}
NANO = 1_000_000_000


async def pricing(request: web.Request) -> web.Response:
    """Unit prices of the engines asked for, or of the whole catalogue."""
    front.need_key(request)
    ids = _ids(request, "endpoint_id") or [engine.endpoint_id for engine in catalogue.engines()]
    specs = [(each, engines.find(each)) for each in ids]
    factor = request.app[DESK].options.price_factor
    prices = [
        {"endpoint_id": each, "unit_price": spec.unit_price * factor, "unit": "units", "currency": "USD"}
        for each, spec in specs
        if spec and spec.engine.price.rule
    ]
    return answer({"prices": prices, "next_cursor": None, "has_more": False})


async def billing_events(request: web.Request) -> web.Response:
    """What was really taken, one row per billed request, once the index has caught up. Newest first, in pages."""
    front.need_admin_key(request)
    options = request.app[DESK].options
    if options.fail_billing > 0:
        options.fail_billing -= 1
        raise front.platform_error(web.HTTPInternalServerError, "server_error", "Internal server error")
    where, values = ["at <= ?"], [time.time() - options.billing_delay_seconds]
    where, values = _filtered(where, values, "request_id", _ids(request, "request_id"))
    where, values = _filtered(where, values, "endpoint_id", _ids(request, "endpoint_id"))
    where, values = _within(where, values, request, "at")
    limit, offset = _page(request, most=max(options.billing_page, 1))
    sql = f"SELECT * FROM bills WHERE {' AND '.join(where)} ORDER BY at DESC, request_id LIMIT ? OFFSET ?"
    rows = request.app[DESK].store.rows(sql, *values, limit + 1, offset)
    cursor = str(offset + limit) if len(rows) > limit else None
    events = [_event(row) for row in rows[:limit]]
    return answer({"billing_events": events, "next_cursor": cursor, "has_more": cursor is not None})


def _event(row: Row) -> dict[str, Any]:
    total = round(row["units"] * row["unit_price"], 9)
    return {
        "request_id": row["request_id"],
        "endpoint_id": row["endpoint_id"],
        "timestamp": _iso(row["at"]),
        "output_units": row["units"],
        "unit_price": row["unit_price"],
        "percent_discount": 0,
        "cost_subtotal": total,
        "cost_discount": 0,
        "cost_total": total,
        "cost_estimate_nano_usd": round(total * NANO),
    }


async def requests_by_endpoint(request: web.Request) -> web.Response:
    """Finished requests of one endpoint, newest first; payloads with `expand=payloads`."""
    front.need_key(request)
    ids = _ids(request, "endpoint_id")
    if not ids:
        raise front.platform_error(web.HTTPBadRequest, "validation_error", "endpoint_id is required")
    where, values = _filtered(["state = ?"], [COMPLETED], "endpoint_id", ids)
    where, values = _filtered(where, values, "request_id", _ids(request, "request_id"))
    where, values = _within(where, values, request, "created_at")
    if request.query.get("status") in STATUSES:
        where, values = [*where, "status_code BETWEEN ? AND ?"], [*values, *STATUSES[request.query["status"]]]
    limit, offset = _page(request)
    sql = f"SELECT * FROM jobs WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ? OFFSET ?"
    desk = request.app[DESK]
    rows = desk.store.rows(sql, *values, limit + 1, offset)
    with_payloads = "payloads" in request.query.get("expand", "").split(",")
    items = [_history(desk, row, with_payloads=with_payloads) for row in rows[:limit]]
    has_more = len(rows) > limit
    return answer(
        {"items": items, "has_more": has_more, "next_cursor": str(offset + limit) if has_more else None}
    )


def _history(desk: Desk, row: Row, *, with_payloads: bool) -> dict[str, Any]:
    started_at = row["started_at"] or row["completed_at"]
    item = {
        "request_id": row["request_id"],
        "endpoint_id": row["endpoint_id"],
        "sent_at": _iso(row["created_at"]),
        "started_at": _iso(started_at),
        "ended_at": _iso(row["completed_at"]),
        "status_code": row["status_code"],
        "duration": round(row["completed_at"] - started_at, 3),
        "tags": tags_of(row),
    }
    if with_payloads and not row["erased"]:
        item |= {
            "json_input": desk.store.input(row["request_id"]),
            "json_output": absolute(loads(row["body"]), row["base_url"]),
        }
    return item


async def billing(request: web.Request) -> web.Response:
    """The account's name and, with `expand=credits`, what is left of its credit."""
    front.need_admin_key(request)
    desk = request.app[DESK]
    body: dict[str, Any] = {"username": USER_ID}
    if "credits" in request.query.get("expand", "").split(","):
        left = round(desk.options.balance_usd - desk.store.spent_usd(), 6)
        body["credits"] = {"current_balance": left, "currency": "USD"}
    return answer(body)


async def delete_payloads(request: web.Request) -> web.Response:
    """Forget a request's input, output and clip."""
    front.need_admin_key(request)
    desk = request.app[DESK]
    job = desk.store.job(request.match_info["request_id"])
    if job is None:
        raise front.platform_error(web.HTTPNotFound, "not_found", "Request not found")
    results = erase(desk, job)
    desk.store.update_job(job["request_id"], erased=1)
    return answer({"cdn_delete_results": results})


async def meta(_request: web.Request) -> web.Response:
    """Where webhooks come from."""
    return answer({"webhook_ip_ranges": ["127.0.0.0/8", "::1/128"]})


def tags_of(job: Row) -> dict[str, str]:
    """The tags a job was submitted with."""
    pairs = (pair.partition("=") for pair in job["tags"].split(",") if "=" in pair)
    return {name.strip(): value for name, _, value in pairs}


def _ids(request: web.Request, name: str) -> list[str]:
    ids = [each for value in request.query.getall(name, []) for each in value.split(",") if each]
    if len(ids) > MOST_IDS:
        raise front.platform_error(web.HTTPBadRequest, "validation_error", f"{name}: at most {MOST_IDS}")
    return ids


def _filtered(
    where: list[str], values: list[Any], column: str, ids: list[str]
) -> tuple[list[str], list[Any]]:
    if not ids:
        return where, values
    return [*where, f"{column} IN ({', '.join('?' * len(ids))})"], [*values, *ids]


def _within(
    where: list[str], values: list[Any], request: web.Request, column: str
) -> tuple[list[str], list[Any]]:
    """Limit to `start` and `end`; a look-up by request id is not limited to the last day."""
    default = 0.0 if "request_id" in request.query else time.time() - HISTORY_SECONDS
    start, end = _when(request, "start", default), _when(request, "end", time.time() + 1)
    return [*where, f"{column} BETWEEN ? AND ?"], [*values, start, end]


def _when(request: web.Request, name: str, default: float) -> float:
    text = request.query.get(name)
    if not text:
        return default
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise front.platform_error(
            web.HTTPBadRequest, "validation_error", f"{name}: ISO 8601 expected"
        ) from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _page(request: web.Request, *, most: int = PAGE) -> tuple[int, int]:
    limit, cursor = request.query.get("limit", str(most)), request.query.get("cursor", "0")
    if not (limit.isdigit() and cursor.isdigit()):
        raise front.platform_error(web.HTTPBadRequest, "validation_error", "limit and cursor must be numbers")
    return min(max(int(limit), 1), most), int(cursor)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
