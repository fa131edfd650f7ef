"""The live streams: a raw ASGI application beside Django, one Valkey subscription per process for all open pages.

A stream is one open page of one person. `queue.announce` names a generation that changed; every stream of its team then
sends what `generations:updates` answers for that page, which is asked through Django's own handler: the same session,
the same permission checks, the same bytes as a page gets that asks by itself. A new stream begins with one such answer,
so nothing is missed between the first paint and the connection, nor across a reconnection.

Django runs in a few threads of this room's own and gives its database connections back after every answer. A stream
that keeps one starves the pool: with 8 connections and 1000 streams, 992 would die.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import redis.asyncio
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import close_old_connections
from django.http.cookie import parse_cookie
from redis.exceptions import RedisError

from generations.queue import LIVE_PREFIX

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

UPDATES_PATH = "/updates/"
TEAM_HEADER = "X-Live-Team"
THREADS = 4
MOST_STREAMS = 2000
MOST_PER_SESSION = 12
MOST_CHANGED = 48
HEARTBEAT_SECONDS = 15.0
# A page asks anew now and then even when nobody called: what is published may be lost.
REFRESH_HEARTBEATS = 2
# Changes come in bursts (submitted, running, position): one answer for all of them.
GATHER_SECONDS = 0.08
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(eq=False)
class Stream:
    """One open page. `changed` holds the generations that changed since the last answer."""

    scope: Scope
    team_id: int = 0
    session: bytes = b""
    changed: set[str] = field(default_factory=set)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    def call(self, generation_id: str = "") -> None:
        if generation_id and len(self.changed) < MOST_CHANGED:
            self.changed.add(generation_id)
        self.called.set()


@dataclass(frozen=True)
class Answer:
    """What Django said: the fragments, and whose they are."""

    status: int
    team_id: int
    html: str


class Hub:
    """All streams of this process and the one subscription that calls them."""

    def __init__(self) -> None:
        self.streams: dict[int, set[Stream]] = defaultdict(set)
        self.per_session: dict[bytes, int] = defaultdict(int)
        self.pages = ThreadPoolExecutor(THREADS, thread_name_prefix="live")
        self.handler = BaseHandler()
        self.handler.load_middleware()
        self.listener: asyncio.Task[None] | None = None
        self.is_closing = False

    @property
    def open_streams(self) -> int:
        return sum(len(streams) for streams in self.streams.values())

    async def ask(self, stream: Stream) -> Answer:
        """What the page should show now."""
        ids = sorted(stream.changed)
        stream.changed.clear()
        return await asyncio.get_running_loop().run_in_executor(self.pages, self._answer, stream.scope, ids)

    def _answer(self, scope: Scope, ids: list[str]) -> Answer:
        close_old_connections()
        try:
            response = self.handler.get_response(_request(scope, ids))
            team_id = int(response.headers.get(TEAM_HEADER, 0))
            return Answer(response.status_code, team_id, response.content.decode())  # type: ignore[attr-defined]
        finally:
            close_old_connections()

    @contextlib.contextmanager
    def enrolled(self, stream: Stream) -> Iterator[None]:
        self.streams[stream.team_id].add(stream)
        self.per_session[stream.session] += 1
        if self.listener is None or self.listener.done():
            self.listener = asyncio.get_running_loop().create_task(self._listen())
        try:
            yield
        finally:
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        self.streams[stream.team_id].discard(stream)
        if not self.streams[stream.team_id]:
            del self.streams[stream.team_id]
        self.per_session[stream.session] -= 1
        if not self.per_session[stream.session]:
            del self.per_session[stream.session]

    async def _listen(self) -> None:
        """Call the streams of a team at each message; while Valkey is away, call everybody now and then instead."""
        pause = 0.5
        while not self.is_closing:
            try:
                async for team_id, generation_id in _messages():
                    pause = 0.5
                    for stream in self.streams.get(team_id, ()):
                        stream.call(generation_id)
            except (RedisError, OSError) as error:
                log.warning("live pages are not called at the moment, they ask by themselves: %s", error)
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)
            self.call_all()

    def call_all(self) -> None:
        for streams in self.streams.values():
            for stream in streams:
                stream.call()

    async def close(self) -> None:
        """End every stream, so that a server told to stop stops."""
        self.is_closing = True
        if self.listener:
            self.listener.cancel()
        self.call_all()


async def _messages() -> AsyncIterator[tuple[int, str]]:
    """(team, generation) for each announcement, from one subscription; raises when it breaks."""
    client = redis.asyncio.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=2, health_check_interval=15, decode_responses=True
    )
    async with client, client.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.psubscribe(f"{LIVE_PREFIX}*")
        while True:
            message = await channel.get_message(timeout=HEARTBEAT_SECONDS)
            if message:
                team = message["channel"].removeprefix(LIVE_PREFIX)
                if team.isdecimal():
                    yield int(team), message["data"]


def _request(scope: Scope, ids: list[str]) -> ASGIRequest:
    """The page's own request for its updates: its cookies, its query, and the generations that changed."""
    query = scope.get("query_string", b"")
    more = urlencode([("ids", pk) for pk in ids]).encode()
    asked = {**scope, "path": UPDATES_PATH, "raw_path": UPDATES_PATH.encode(), "root_path": ""}
    asked["query_string"] = b"&".join(filter(None, (query, more)))
    return ASGIRequest(asked, io.BytesIO())


class LiveApplication:
    """The ASGI application of `/live/`."""

    def __init__(self) -> None:
        self._hub: Hub | None = None

    @property
    def hub(self) -> Hub:
        if self._hub is None:
            self._hub = Hub()
        return self._hub

    async def close(self) -> None:
        if self._hub is not None:
            await self._hub.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = Stream(scope, session=_session(scope))
        refusal = self._refusal(stream)
        if refusal:
            await _refuse(send, *refusal)
            return
        first = await self.hub.ask(stream)
        if first.status != 200 or not first.team_id:
            await _refuse(send, 403 if first.status < 400 else first.status, "Sign in first.")
            return
        stream.team_id = first.team_id
        with self.hub.enrolled(stream):
            await self._serve(stream, first, receive, send)

    def _refusal(self, stream: Stream) -> tuple[int, str] | None:
        if stream.scope["method"] != "GET":
            return 405, "Only GET."
        is_full = self.hub.open_streams >= MOST_STREAMS
        if is_full or self.hub.per_session.get(stream.session, 0) >= MOST_PER_SESSION:
            return 503, "Too many live streams; the page asks by itself instead."
        return None

    async def _serve(self, stream: Stream, first: Answer, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        # What changed between the first answer and the enrolment was announced to nobody here: ask once more.
        stream.call()
        gone = asyncio.ensure_future(_gone(receive))
        talking = asyncio.ensure_future(self._talk(stream, first, send))
        done, left = await asyncio.wait({gone, talking}, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if talking in done and not talking.exception():
            with contextlib.suppress(Exception):  # the other side may be gone by now
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _talk(self, stream: Stream, first: Answer, send: Send) -> None:
        """Answer after answer until the page may no longer see them, changes its team, or the server stops."""
        await _write(send, event(first.html))
        quiet = 0
        while not self.hub.is_closing:
            if not await _called(stream):
                quiet += 1
                await _write(send, b": still here\n\n")
                if quiet % REFRESH_HEARTBEATS:
                    continue
            answer = await self.hub.ask(stream)
            if answer.status != 200 or answer.team_id != stream.team_id:
                return
            await _write(send, event(answer.html))


async def _called(stream: Stream) -> bool:
    """True when something changed, after a moment in which more may come; False after a heartbeat's silence."""
    try:
        # Not `wait_for`: on Python 3.11 it swallows a cancellation that comes together with the call.
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            await stream.called.wait()
    except TimeoutError:
        return False
    await asyncio.sleep(GATHER_SECONDS)
    stream.called.clear()
    return True


def event(html: str) -> bytes:
    """An unnamed event: htmx swaps its fragments where they belong."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip())
    return f"{lines}\n".encode()


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def _session(scope: Scope) -> bytes:
    """What tells one visitor's streams from another's, without reading the session: its cookie, and no other's."""
    cookies = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    return parse_cookie(cookies.decode("latin-1")).get(settings.SESSION_COOKIE_NAME, "").encode()


application = LiveApplication()
