"""Bodies are taken in before a page's thread is: whoever never finishes one holds nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from config import bodies
from config.asgi import application

Messages = Sequence[dict[str, Any]]


def receiving(messages: Messages) -> bodies.Receive:
    """These messages, and then silence."""
    left = list(messages)

    async def receive() -> bodies.Message:
        if not left:
            await asyncio.sleep(60)
        return left.pop(0)

    return receive


def piece(body: bytes, *, more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more_body}


def taken(messages: Messages, *, most_bytes: int = 1000) -> bytes:
    async def take() -> bytes:
        body, has_more = b"", True
        with await bodies.whole(receiving(messages), most_bytes=most_bytes, idle_seconds=0.05) as whole:
            while has_more:
                message = await whole.receive()
                body, has_more = body + message["body"], message["more_body"]
        return body

    return asyncio.run(take())


def test_pieces_come_out_as_they_went_in() -> None:
    assert taken([piece(b"a=1", more_body=True), piece(b"&b=2")]) == b"a=1&b=2"
    large = b"x" * (3 * bodies.CHUNK_BYTES)
    assert taken([piece(large)], most_bytes=len(large)) == large


def test_a_body_that_stalls_is_given_up() -> None:
    with pytest.raises(bodies.BodyRefused) as refused:
        taken([piece(b"a", more_body=True)])
    assert refused.value.status == 408


def test_a_body_over_the_limit_is_refused_before_its_end() -> None:
    with pytest.raises(bodies.BodyRefused) as refused:
        taken([piece(b"x" * 600, more_body=True)] * 2)
    assert refused.value.status == 413


def test_half_a_form_is_never_taken_for_a_whole_one() -> None:
    with pytest.raises(bodies.BodyBrokeOff):
        taken([piece(b"duration=1", more_body=True), {"type": "http.disconnect"}])


def test_a_post_that_breaks_off_reaches_no_page() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/generate/", "headers": [], "query_string": b""}
    left = [piece(b"prompt=half", more_body=True), {"type": "http.disconnect"}]
    asyncio.run(application(scope, receiving(left), send))
    assert sent == []
