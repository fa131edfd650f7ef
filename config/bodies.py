"""A request's body, taken in whole on the event loop before a page's thread is given to it.

Threads are few. Whoever announces a body and sends it a byte a minute would hold one for as long as they like, and a
dozen of them would close the site for everybody: measured, fourteen such connections did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

MEMORY_BYTES = 256 * 1024
CHUNK_BYTES = 64 * 1024
# Between two pieces, not for the whole: a picture may come over a slow line.
IDLE_SECONDS = 30.0


class BodyRefused(Exception):
    """The body will not be taken; `status` is the HTTP answer to it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class BodyBrokeOff(Exception):
    """The other side left before the end: half a form must not be taken for a whole one."""


class Body:
    """A whole body, read piece by piece through `receive`. Use it in a `with`: the space goes at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    async def receive(self) -> Message:
        piece = self._file.read(CHUNK_BYTES)
        return {"type": "http.request", "body": piece, "more_body": len(piece) == CHUNK_BYTES}


async def whole(receive: Receive, *, most_bytes: int, idle_seconds: float = IDLE_SECONDS) -> Body:
    """Everything that `receive` brings. Raises BodyRefused (too long, too slow) and BodyBrokeOff."""
    file: IO[bytes] = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115 - closed by Body
    try:
        await _fill(file, receive, most_bytes=most_bytes, idle_seconds=idle_seconds)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return Body(file)


async def _fill(file: IO[bytes], receive: Receive, *, most_bytes: int, idle_seconds: float) -> None:
    size, has_more = 0, True
    while has_more:
        message = await _next(receive, idle_seconds)
        if message["type"] == "http.disconnect":
            raise BodyBrokeOff
        piece = message.get("body", b"")
        size += len(piece)
        if size > most_bytes:
            raise BodyRefused(413, "This is more than can be taken at once.")
        file.write(piece)
        has_more = message.get("more_body", False)


async def _next(receive: Receive, idle_seconds: float) -> Message:
    try:
        async with asyncio.timeout(idle_seconds):
            return await receive()
    except TimeoutError as error:
        raise BodyRefused(408, "The request did not come to its end in time.") from error
