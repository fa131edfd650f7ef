"""A fal that costs next to nothing, for benches with thousands in flight: `python -m bench.light_fal --help`.

It keeps no jobs. A request id says when its run starts and ends, so status, stream and result follow from the clock:
`<start>-<end>-<anything>`, both in milliseconds since the epoch. A POST makes a job that is already part of the way
through its time, until `/whole` was asked for: from then on a whole one, so that who was filled up with jobs of every
age goes on as if it had always been so. `/counts` tells what was asked; the fullest second is found over a sliding
window. The result names a clip here, which is served where `--clip` gave one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import ssl
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

from bench.figures import LONGEST_SECONDS, QUEUE_SECONDS, SHORTEST_SECONDS

PING_SECONDS = 20.0
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def request_id(*, start: float, end: float, number: int) -> str:
    return f"{int(start * 1000)}-{int(end * 1000)}-{number}"


def times_of(request: str) -> tuple[float, float]:
    """When the run of a request starts and ends, in seconds since the epoch."""
    start, end, _ = request.split("-", 2)
    return int(start) / 1000, int(end) / 1000


def status_of(request: str, now: float) -> dict[str, Any]:
    start, end = times_of(request)
    if now < start:
        return {"status": "IN_QUEUE", "queue_position": int(start - now) // 5, "request_id": request}
    logs = [{"message": "loading the weights", "timestamp": "2026-01-01T00:00:00+00:00", "level": "INFO"}]
    word = "IN_PROGRESS" if now < end else "COMPLETED"
    return {"status": word, "request_id": request, "logs": logs}


class Desk:
    """What all connections share: the counters, and what a new job is like. Times in seconds."""

    def __init__(self, *, queue: float, shortest: float, longest: float, clip: bytes = b"") -> None:
        self.counts: Counter[str] = Counter()
        self.recent: deque[float] = deque()
        self.queue, self.shortest, self.longest = queue, shortest, longest
        self.clip = clip
        self.is_whole = False

    def new_job(self) -> str:
        self.counts["posts"] += 1
        run, queued = random.uniform(self.shortest, self.longest), random.uniform(0, self.queue)
        begun = time.time() - (0 if self.is_whole else random.uniform(0, run + queued))
        start = begun + queued
        return request_id(start=start, end=start + run, number=self.counts["posts"])

    def asked(self, kind: str) -> None:
        now = time.monotonic()
        self.counts[kind] += 1
        self.recent.append(now)
        while self.recent[0] <= now - 1:
            self.recent.popleft()
        self.counts["fullest_second"] = max(self.counts["fullest_second"], len(self.recent))

    def forget_fullest(self) -> None:
        self.counts["fullest_second"] = 0


class Connection(asyncio.Protocol):
    """One kept HTTP/1.1 connection; a stream is its last answer."""

    transport: asyncio.Transport

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.buffer = b""
        self.timers: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.desk.counts["connections"] += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        for timer in self.timers:
            timer.cancel()
        self.desk.counts["streams_open"] -= bool(self.timers)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = _content_length(head)
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self._answer(method, target)

    def _answer(self, method: str, target: str) -> None:
        path = target.partition("?")[0]
        if path == "/counts":
            self._say(200, dict(self.desk.counts))
            self.desk.forget_fullest()
        elif path == "/whole":
            self.desk.is_whole = True
            self._say(200, {})
        elif path == "/clip.mp4":
            self._send(200, "video/mp4", self.desk.clip)
        elif method == "POST":
            self._say(200, self._receipt(path))
        elif path.endswith("/status"):
            self.desk.asked("asks")
            status = status_of(path.split("/")[-2], time.time())
            self._say(200 if status["status"] == "COMPLETED" else 202, status)
        elif path.endswith("/status/stream"):
            self.desk.asked("streams")
            self._stream(path.split("/")[-3])
        else:
            self.desk.counts["results"] += 1
            self._say(200, {"video": {"url": f"{self._address()}/clip.mp4"}})

    def _address(self) -> str:
        socket = self.transport.get_extra_info("sockname")
        scheme = "https" if self.transport.get_extra_info("sslcontext") else "http"
        return f"{scheme}://{socket[0]}:{socket[1]}"

    def _receipt(self, path: str) -> dict[str, Any]:
        name = self.desk.new_job()
        base = f"{self._address()}{path}/requests/{name}"
        urls = {"status_url": f"{base}/status", "response_url": base, "cancel_url": f"{base}/cancel"}
        return {"request_id": name, **urls}

    def _stream(self, request: str) -> None:
        loop, now = asyncio.get_running_loop(), time.time()
        self.transport.write(STREAM_HEAD)
        self.desk.counts["streams_open"] += 1
        moments = [now, *(moment + 0.001 for moment in times_of(request) if moment > now)]
        for moment in moments:
            self.timers.append(loop.call_later(moment - now, self._event, request))
        self.timers.append(loop.call_later(PING_SECONDS, self._ping))

    def _event(self, request: str) -> None:
        status = status_of(request, time.time())
        self.transport.write(b"data: " + json.dumps(status).encode() + b"\n\n")
        if status["status"] == "COMPLETED":
            self.transport.close()

    def _ping(self) -> None:
        self.transport.write(b": still here\n\n")
        self.timers.append(asyncio.get_running_loop().call_later(PING_SECONDS, self._ping))

    def _say(self, http_status: int, body: dict[str, Any]) -> None:
        self._send(http_status, "application/json", json.dumps(body).encode())

    def _send(self, http_status: int, kind: str, data: bytes) -> None:
        head = f"HTTP/1.1 {http_status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
        self.transport.write(head.encode() + data)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.light_fal", description=__doc__)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--queue-seconds", type=float, default=QUEUE_SECONDS)
    parser.add_argument("--run-seconds", nargs=2, type=float, default=(SHORTEST_SECONDS, LONGEST_SECONDS))
    return parser


async def main(arguments: list[str]) -> None:
    """Print the port, then serve until the standard input ends."""
    options = _parser().parse_args(arguments)
    tls = None
    if options.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*options.tls)
    shortest, longest = options.run_seconds
    clip = options.clip.read_bytes() if options.clip else b""
    desk = Desk(queue=options.queue_seconds, shortest=shortest, longest=longest, clip=clip)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(desk), "127.0.0.1", 0, ssl=tls, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
