"""Waiting for many: the same answers read the same way, from polls and from streams."""

import asyncio
import json
import socket
from contextlib import aclosing

import pytest

from generations.fal import (
    Completed,
    ForeignUrl,
    InProgress,
    InQueue,
    LogLine,
    NoAnswer,
    NotSent,
    ProtocolError,
    RequestUnknown,
    Status,
    TryLater,
)
from generations.fal.watch import AsyncFal
from tests.generations.fal.wire_server import Seen, WireServer, http, running_server, silence

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n"


def event(**status: object) -> bytes:
    return b"data: " + json.dumps(status).encode() + b"\n\n"


QUEUED = event(status="IN_QUEUE", queue_position=1)
RUNNING = event(status="IN_PROGRESS", logs=[{"message": "50%"}])
DONE = event(status="COMPLETED", logs=None, metrics={"inference_time": 2})


@pytest.fixture
def url(fal: WireServer) -> str:
    return f"{fal.url}/fal-ai/minimax/requests/req-1/status"


async def streamed(fal: WireServer, url: str, **options: float) -> list[Status]:
    async with AsyncFal(fal.config()) as watch, aclosing(watch.stream(url, **options)) as stream:
        return [status async for status in stream]


async def test_a_poll_reads_what_the_client_reads(fal: WireServer, url: str) -> None:
    fal.says(http(202, {"status": "IN_PROGRESS", "logs": [{"message": "50%"}]}))
    async with AsyncFal(fal.config(), max_connections=2) as watch:
        assert await watch.status(f"{url}?sig=a%2Fb", with_logs=True) == InProgress((LogLine("50%"),))
    assert fal.seen[0].target.endswith("/status?sig=a%2Fb&logs=1")
    assert fal.seen[0].headers["authorization"] == "Key id:secret"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(404, {"status": "NOT_FOUND"}), RequestUnknown),
        (http(429, {}), TryLater),
        (http(502, b"nginx"), NoAnswer),
        (http(200, {"status": "FAILED"}), ProtocolError),
        (http(200, b"x" * 70_000), ProtocolError),
        (http(200, {"status": "IN_QUEUE"}, content_length="500"), NoAnswer),
        (None, NoAnswer),
        (b"nonsense\r\n\r\n", NoAnswer),
    ],
)
async def test_a_poll_that_fails_says_so(
    fal: WireServer, url: str, answer: bytes | None, kind: type[Exception]
) -> None:
    fal.says(answer)
    async with AsyncFal(fal.config(max_answer_bytes=50_000), max_connections=2) as watch:
        with pytest.raises(kind):
            await watch.status(url)


async def test_a_poll_without_an_answer_ends_in_time(fal: WireServer, url: str) -> None:
    fal.answer = silence(0.5)
    async with AsyncFal(fal.config(read_timeout_seconds=0.1), max_connections=2) as watch:
        with pytest.raises(NoAnswer):
            await watch.status(url)


async def test_a_refused_connection_is_known_as_such(fal: WireServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with AsyncFal(fal.config(queue_url=base), max_connections=2) as watch:
            with pytest.raises(NotSent):
                await watch.status(f"{base}/a/b/requests/1/status")


async def test_neither_poll_nor_stream_takes_the_key_elsewhere(fal: WireServer, url: str) -> None:
    with running_server() as elsewhere:
        elsewhere.says(http(200, {"status": "COMPLETED"}))
        fal.says(http(307, b"", location=f"{elsewhere.url}/x"))
        async with AsyncFal(fal.config(), max_connections=2) as watch:
            for foreign in (f"{elsewhere.url}/a/b/requests/1/status", "https://evil.example/status"):
                with pytest.raises(ForeignUrl):
                    await watch.status(foreign)
                with pytest.raises(ForeignUrl):
                    await anext(watch.stream(foreign))
            with pytest.raises(ProtocolError):
                await watch.status(url)
            with pytest.raises(ProtocolError):
                await anext(watch.stream(url))
        assert elsewhere.seen == []


async def test_polls_share_few_connections(fal: WireServer, url: str) -> None:
    now, peak = [0], [0]

    def slow(_seen: Seen, _socket: socket.socket) -> bytes:
        now[0] += 1
        peak[0] = max(peak[0], now[0])
        silence(0.01)(_seen, _socket)
        now[0] -= 1
        return http(202, {"status": "IN_QUEUE", "queue_position": 1})

    fal.answer = slow
    async with AsyncFal(fal.config(), max_connections=3) as watch:
        assert set(await asyncio.gather(*(watch.status(url) for _ in range(30)))) == {InQueue(1)}
    assert 1 < peak[0] <= 3


async def test_a_stream_tells_each_status_and_ends_at_completed(fal: WireServer, url: str) -> None:
    fal.says(HEAD + b": ping\n\n" + QUEUED + RUNNING + DONE + QUEUED)
    statuses = await streamed(fal, url)
    assert statuses == [InQueue(1), InProgress((LogLine("50%"),)), Completed(inference_seconds=2.0)]
    assert (fal.seen[0].path.endswith("/status/stream"), fal.seen[0].query) == (True, {"logs": ["1"]})
    assert fal.seen[0].headers["accept"] == "text/event-stream"


async def test_events_are_put_together_from_any_pieces(fal: WireServer, url: str) -> None:
    body = (b'event: x\r\nid: 1\r\ndata: {"status":\r\ndata: "IN_QUEUE"}\r\n\r\n' + RUNNING + DONE).replace(
        b"50%", "½".encode()
    )

    def piecemeal(_seen: Seen, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in HEAD + body:
            connection.sendall(bytes([byte]))

    fal.answer = piecemeal
    assert [type(status) for status in await streamed(fal, url)] == [InQueue, InProgress, Completed]


async def test_a_status_arrives_while_the_stream_is_still_open(fal: WireServer, url: str) -> None:
    def patient(_seen: Seen, connection: socket.socket) -> None:
        connection.sendall(HEAD + QUEUED)
        silence(0.3)(_seen, connection)
        connection.sendall(DONE)

    fal.answer = patient
    loop = asyncio.get_running_loop()
    async with AsyncFal(fal.config(), max_connections=1) as watch, aclosing(watch.stream(url)) as stream:
        started_at = loop.time()
        assert await anext(stream) == InQueue(1)
        assert loop.time() - started_at < 0.2
        assert isinstance(await anext(stream), Completed)


@pytest.mark.parametrize("tail", [b"", RUNNING, b'data: {"status": "COMPLETED"}'])
async def test_a_stream_that_ends_early_is_no_answer(fal: WireServer, url: str, tail: bytes) -> None:
    fal.says(HEAD + QUEUED + tail)
    with pytest.raises(NoAnswer):
        await streamed(fal, url)


async def test_a_silent_stream_is_no_answer(fal: WireServer, url: str) -> None:
    def stuck(_seen: Seen, connection: socket.socket) -> None:
        connection.sendall(HEAD + QUEUED)
        silence(0.5)(_seen, connection)

    fal.answer = stuck
    with pytest.raises(NoAnswer):
        await streamed(fal, url, idle_timeout_seconds=0.1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(404, {"status": "NOT_FOUND"}), RequestUnknown),
        (http(429, {"detail": "too many streams"}), TryLater),
        (http(503, b"nginx"), NoAnswer),
        (http(200, {"status": "COMPLETED"}, content_type="application/json"), ProtocolError),
        (HEAD + b"data: nonsense\n\n", ProtocolError),
        (HEAD + b"data: \xff\n\n", ProtocolError),
        (HEAD + event(status="FAILED"), ProtocolError),
        (HEAD + b"data: " + b"x" * 60_000, ProtocolError),
        (HEAD + b"data: xxxxxxxxx\n" * 6000, ProtocolError),
    ],
)
async def test_what_is_no_stream_of_fals_is_refused(
    fal: WireServer, url: str, answer: bytes, kind: type[Exception]
) -> None:
    fal.says(answer)
    async with AsyncFal(fal.config(max_answer_bytes=50_000), max_connections=1) as watch:
        with pytest.raises(kind):
            await anext(watch.stream(url))


async def test_full_streams_leave_the_polling_alone(fal: WireServer, url: str) -> None:
    def answer(seen: Seen, connection: socket.socket) -> bytes | None:
        if not seen.path.endswith("/stream"):
            return http(202, {"status": "IN_QUEUE", "queue_position": 1})
        connection.sendall(HEAD + QUEUED)
        return silence(0.6)(seen, connection)

    fal.answer = answer
    config = fal.config(connect_timeout_seconds=0.1)
    async with (
        AsyncFal(config, max_connections=1, max_streams=1) as watch,
        aclosing(watch.stream(url)) as first,
    ):
        assert await anext(first) == InQueue(1)
        with pytest.raises(NotSent):
            await anext(watch.stream(url))
        assert await watch.status(url) == InQueue(1)
