"""The web server's entry: pages on WSGI threads, live streams on the event loop, split by path in this one place.

Measured on one core: a small page costs 3.1-3.4 ms of CPU on WSGI and 7.1-7.4 ms as a synchronous view under ASGI,
and a thread held by every open stream would be the end of both.
"""

import os
from collections.abc import MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from a2wsgi import WSGIMiddleware
from django.conf import settings

from config import bodies
from config.wsgi import application as pages
from generations.live import Receive, Scope, Send
from generations.live import application as live

LIVE_PATH = "/live/"
CLIP_NAME = "/clip.mp4"
# The most pictures a form takes, and its words.
MOST_BODY_BYTES = 4 * settings.MAX_PICTURE_BYTES + settings.DATA_UPLOAD_MAX_MEMORY_SIZE

on_threads = WSGIMiddleware(pages, workers=settings.WEB_THREADS)  # type: ignore[arg-type]
# A player that has buffered enough stops reading, and holds its thread for as long as it is paused: not a page's.
clips_on_threads = WSGIMiddleware(pages, workers=settings.CLIP_THREADS)  # type: ignore[arg-type]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http" and scope["path"] == LIVE_PATH:
        await live(scope, receive, send)
    elif scope["type"] == "http" and scope["method"] == "POST":
        await _post(scope, receive, send)
    elif scope["type"] == "http":
        threads = clips_on_threads if scope["path"].endswith(CLIP_NAME) else on_threads
        await threads(scope, _as_coroutine(receive), send)  # type: ignore[arg-type]


async def _post(scope: Scope, receive: Receive, send: Send) -> None:
    """A form takes a thread once it is here; one that breaks off is answered by nobody."""
    try:
        with await bodies.whole(receive, most_bytes=MOST_BODY_BYTES) as body:
            await on_threads(scope, body.receive, send)  # type: ignore[arg-type]
    except bodies.BodyBrokeOff:
        return
    except bodies.BodyRefused as refusal:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": str(refusal).encode()})


def _as_coroutine(receive: Receive) -> Receive:
    """a2wsgi hands `receive()` to another thread, which takes coroutines only; granian's answers with a future."""

    async def received() -> MutableMapping[str, Any]:
        return await receive()

    return received


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await live.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
