"""What every route of the sandbox shares: the parts behind the server, who may ask, and how an answer is dressed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from generations.sandbox import failures
from generations.sandbox.jobs import Clock
from generations.sandbox.options import Options
from generations.sandbox.store import Store
from generations.sandbox.studio import Studio
from generations.sandbox.webhooks import Courier, Signer

HANG_SECONDS = 900


@dataclass
class Desk:
    """The running sandbox, as its routes see it. `failing` holds submit faults ordered by the control endpoint."""

    options: Options
    store: Store
    signer: Signer
    courier: Courier
    studio: Studio
    clock: Clock
    failing: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    closing: asyncio.Event = field(default_factory=asyncio.Event)


DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)


def answer(
    body: Any, *, status: int = 200, request_id: str = "", headers: dict[str, str] | None = None
) -> web.Response:
    """Return JSON; a body with `detail` gets the `message` that the JavaScript client reads."""
    if isinstance(body, dict) and isinstance(body.get("detail"), str):
        body = {"message": body["detail"], **body}
    extra = {"x-fal-request-id": request_id} if request_id else {}
    return web.json_response(body, status=status, headers={**extra, **(headers or {})})


def base_url(request: web.Request) -> str:
    """The sandbox's own address as the caller wrote it."""
    return f"{request.scheme}://{request.host}"


def key_of(request: web.Request) -> str:
    """The key or token a request carries, without its scheme."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() in {"key", "bearer"} else ""


def need_key(request: web.Request) -> None:
    """Raise 401 unless the request carries a key that is accepted here."""
    options = request.app[DESK].options
    key = key_of(request)
    if not key or (options.key and key not in {options.key, options.admin_key}):
        raise unauthorized(
            "Cannot access application. Authentication is required to access this application."
        )


def need_admin_key(request: web.Request) -> None:
    """Raise 401 or 403, in the platform API's words, unless the request carries the admin key."""
    options = request.app[DESK].options
    if not key_of(request):
        raise platform_error(web.HTTPUnauthorized, "authorization_error", "Authentication required")
    if options.admin_key and key_of(request) != options.admin_key:
        raise platform_error(
            web.HTTPForbidden, "authorization_error", "An Admin key is needed for this operation"
        )


def need_unlocked(request: web.Request) -> None:
    """Raise 403 in fal's words while the account is locked."""
    reason = request.app[DESK].options.locked
    if reason:
        raise locked(reason)


def locked(reason: str) -> web.HTTPForbidden:
    return web.HTTPForbidden(text=json.dumps(failures.locked(reason)), content_type="application/json")


def unauthorized(detail: str) -> web.HTTPUnauthorized:
    text = json.dumps({"detail": detail, "message": detail})
    return web.HTTPUnauthorized(text=text, content_type="application/json")


def platform_error(kind: type[web.HTTPError], error_type: str, message: str) -> web.HTTPError:
    text = json.dumps({"error": {"type": error_type, "message": message}})
    return kind(text=text, content_type="application/json")


async def hang(request: web.Request) -> web.Response:
    """Say nothing until the caller or the sandbox goes away."""
    desk = request.app[DESK]
    with suppress(TimeoutError):
        await asyncio.wait_for(desk.closing.wait(), HANG_SECONDS)
    return drop(request)


def drop(request: web.Request) -> web.Response:
    """Cut the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def nginx(status: int) -> web.Response:
    """The page of a proxy that could not reach fal: HTML, and no request id."""
    reason = {502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}.get(
        status, "Error"
    )
    title = f"{status} {reason}"
    text = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center><hr>nginx</body></html>"
    return web.Response(text=text, status=status, content_type="text/html")
