"""The client that waits: one loop, few connections, many requests.

aiohttp, because it asks at a tenth of the processor time of the alternatives; polling shares a small pool of kept
connections, and each open status stream has one of its own, from a pool with a limit of its own, so that streams can
never starve the polling that stands behind them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from urllib.request import getproxies

import aiohttp
from yarl import URL

from generations.fal.answers import question_error, read_status
from generations.fal.errors import FalError, NoAnswer, NotSent, ProtocolError
from generations.fal.headers import authorization
from generations.fal.sse import EventReader
from generations.fal.transport import USER_AGENT
from generations.fal.types import Completed, FalConfig, Status
from generations.fal.wire import Answer, checked_url, parse_status, stream_url, with_logs_query

_CHUNK_BYTES = 64 * 1024
_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


class AsyncFal:
    """`max_connections` bounds the polling, `max_streams` the open streams; one more of either waits, then is NotSent.

    Use as an async context manager, within one event loop.
    """

    def __init__(self, config: FalConfig, *, max_connections: int = 32, max_streams: int = 1000) -> None:
        self.config = config
        self._max_connections = max_connections
        self._max_streams = max_streams

    async def __aenter__(self) -> Self:
        self._polling = self._session(self._max_connections)
        self._streaming = self._session(self._max_streams)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._polling.close()
        await self._streaming.close()

    async def status(self, status_url: str, *, with_logs: bool = False) -> Status:
        """Where it stands, asked once. Raises RequestUnknown, NoAnswer, NotSent, TryLater, ProtocolError."""
        url = with_logs_query(checked_url(status_url, self.config.queue_url), with_logs=with_logs)
        timeout = aiohttp.ClientTimeout(
            total=self.config.total_timeout_seconds,
            connect=self.config.connect_timeout_seconds,
            sock_read=self.config.read_timeout_seconds,
        )
        async with _errors_named(), self._get(self._polling, url, "application/json", timeout) as response:
            return read_status(await self._read(response))

    async def stream(
        self, status_url: str, *, idle_timeout_seconds: float = 60.0
    ) -> AsyncGenerator[Status, None]:
        """Each status as fal announces it, logs included, ending with Completed.

        Raises NoAnswer where the stream is silent for `idle_timeout_seconds` or ends early: poll, then open another.
        """
        url = stream_url(checked_url(status_url, self.config.queue_url))
        timeout = aiohttp.ClientTimeout(
            total=None, connect=self.config.connect_timeout_seconds, sock_read=idle_timeout_seconds
        )
        async with _errors_named(), self._get(self._streaming, url, "text/event-stream", timeout) as response:
            if response.status != 200 or response.content_type != "text/event-stream":
                raise await self._not_a_stream(response)
            events = EventReader(max_event_bytes=self.config.max_answer_bytes)
            async for chunk in response.content.iter_any():
                for data in events.feed(chunk):
                    status = _parse_event(data)
                    yield status
                    if isinstance(status, Completed):
                        return
        raise NoAnswer("fal's status stream ended before the request did")

    def _session(self, limit: int) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            # Told to look, aiohttp also reads a .netrc for each request, in a thread: as dear as the request itself.
            trust_env=bool(getproxies()),
        )

    def _get(
        self, session: aiohttp.ClientSession, url: str, accept: str, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.client._RequestContextManager:
        headers = authorization(self.config.key) | {"Accept": accept}
        return session.get(URL(url, encoded=True), headers=headers, timeout=timeout, allow_redirects=False)

    async def _read(self, response: aiohttp.ClientResponse) -> Answer:
        body = bytearray()
        limit = self.config.max_answer_bytes
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > limit:
                response.close()
                break
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, bytes(body[:limit]), is_whole=len(body) <= limit)

    async def _not_a_stream(self, response: aiohttp.ClientResponse) -> FalError:
        if response.status == 200:
            return ProtocolError("fal's status stream is not one", http_status=200)
        return question_error(await self._read(response))


@asynccontextmanager
async def _errors_named() -> AsyncIterator[None]:
    """aiohttp's failures as ours."""
    try:
        yield
    except _NEVER_SENT as error:
        raise NotSent(f"could not connect: {type(error).__name__}") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NoAnswer(f"no answer: {type(error).__name__}") from error


def _parse_event(data: str) -> Status:
    try:
        return parse_status(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("an event of fal's status stream is not JSON") from error
