"""Puts the sandbox together and serves it: one port, fal's hosts as path prefixes.

`/queue` is queue.fal.run, `/rest` rest.fal.ai, `/cdn` v3.fal.media, `/platform/v1` api.fal.ai/v1; `/proxy` takes
what the JavaScript client sends to a `proxyUrl`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from yarl import URL

from generations.sandbox import control_routes, platform_routes, storage_routes
from generations.sandbox.desk import DESK, Desk, answer
from generations.sandbox.jobs import Clock
from generations.sandbox.options import Options
from generations.sandbox.queue_routes import dispatch, queue
from generations.sandbox.store import Store
from generations.sandbox.studio import Studio
from generations.sandbox.webhooks import Courier, Signer

MAX_BODY_BYTES = 200 * 1024 * 1024
REST_TARGETS = {
    "/storage/upload/initiate": storage_routes.initiate,
    "/storage/upload/initiate-multipart": storage_routes.initiate_multipart,
    "/storage/auth/token": storage_routes.token,
}
QUEUE_HOSTS, REST_HOSTS = {"queue.fal.run"}, {"rest.fal.ai"}


def build(options: Options) -> web.Application:
    """Make the application; its clock runs for as long as the application does."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    options.data_dir.mkdir(parents=True, exist_ok=True)
    options.data_dir = options.data_dir.resolve()
    store = Store(options.data_dir / "sandbox.sqlite3")
    signer = Signer(options.data_dir / "webhook.key")
    courier = Courier(options, store, signer)
    studio = Studio(options, store)
    clock = Clock(options, store, studio, courier)
    app[DESK] = Desk(options, store, signer, courier, studio, clock)
    app.cleanup_ctx.append(_running)
    _add_routes(app)
    return app


def _add_routes(app: web.Application) -> None:
    add = app.router.add_route
    add("*", "/queue/{path:.+}", queue)
    add("*", "/proxy", proxy)
    for prefix in ("", "/rest"):
        add("GET", f"{prefix}/.well-known/jwks.json", jwks)
    for path, handler in REST_TARGETS.items():
        add("POST", f"/rest{path}", handler)
    name = "{name:[^/]+/[^/]+}"
    add("POST", "/cdn/files/upload", storage_routes.upload)
    add("POST", "/cdn/files/upload/multipart", storage_routes.upload_multipart)
    add("PUT", f"/cdn/upload/{name}", storage_routes.put_file)
    for kind in ("upload", "files"):
        middle = "" if kind == "upload" else "/multipart/{upload_id}"
        add("PUT", f"/cdn/{kind}/{name}{middle}/{{part:\\d+}}", storage_routes.put_part)
        add("POST", f"/cdn/{kind}/{name}{middle}/complete", storage_routes.complete)
    for method in ("GET", "HEAD"):
        add(method, f"/cdn/files/{name}", storage_routes.get_file)
    add("GET", "/platform/v1/models/pricing", platform_routes.pricing)
    add("GET", "/platform/v1/models/billing-events", platform_routes.billing_events)
    add("GET", "/platform/v1/models/requests/by-endpoint", platform_routes.requests_by_endpoint)
    add("DELETE", "/platform/v1/models/requests/{request_id}/payloads", platform_routes.delete_payloads)
    add("GET", "/platform/v1/account/billing", platform_routes.billing)
    add("GET", "/platform/v1/meta", platform_routes.meta)
    _add_control_routes(app)


def _add_control_routes(app: web.Application) -> None:
    add = app.router.add_route
    add("GET", "/", control_routes.state)
    add("GET", "/control", control_routes.state)
    add("POST", "/control/settings", control_routes.settings)
    add("GET", "/control/jobs", control_routes.jobs)
    add("POST", "/control/jobs/{request_id}/finish", control_routes.finish)
    add("GET", "/control/posts", control_routes.posts)
    add("GET", "/control/webhooks", control_routes.webhooks)
    add("POST", "/control/webhooks", control_routes.send_webhook)
    add("POST", "/control/reset", control_routes.reset)


async def jwks(request: web.Request) -> web.Response:
    """The public key that webhooks are signed with."""
    return answer(request.app[DESK].signer.jwks())


async def proxy(request: web.Request) -> web.StreamResponse:
    """The JavaScript client's `proxyUrl`: the real target comes in a header; only fal's own hosts are meant."""
    target = URL(request.headers.get("x-fal-target-url", ""))
    here = request.clone(rel_url=URL.build(path=target.path, query=target.query))
    if target.host in QUEUE_HOSTS:
        return await dispatch(here, target.path.lstrip("/"))
    if target.host in REST_HOSTS and target.path in REST_TARGETS:
        return await REST_TARGETS[target.path](here)
    return answer({"detail": "x-fal-target-url is missing or not one of fal's"}, status=400)


async def _running(app: web.Application) -> AsyncIterator[None]:
    desk = app[DESK]
    desk.courier.recover()
    desk.courier.on_room = desk.clock.wake
    task = asyncio.create_task(desk.clock.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await desk.courier.close()
    await desk.studio.close()
    desk.store.close()


def run(options: Options, *, announce: Callable[[str], object] = print) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets one line with the address once it answers."""
    asyncio.run(_serve(options, announce))


async def _serve(options: Options, announce: Callable[[str], object]) -> None:
    app = build(options)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port, ssl_context=_tls(options), backlog=2048)
        await site.start()
        announce(f"fal sandbox ready at {options.scheme}://{options.host}:{_port(runner)}")
        await _until_told(end_with_stdin=options.end_with_stdin)
    finally:
        app[DESK].closing.set()
        await runner.cleanup()


def _port(runner: web.AppRunner) -> int:
    return int(runner.addresses[0][1])


def _tls(options: Options) -> ssl.SSLContext | None:
    if not options.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls_cert, options.tls_key or None)
    return context


async def _until_told(*, end_with_stdin: bool) -> None:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if end_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _read_on, told)
    await told.wait()


def _read_on(told: asyncio.Event) -> None:
    """Swallow what comes in; the end of it is the word to end."""
    if not os.read(sys.stdin.fileno(), 1024):
        told.set()
