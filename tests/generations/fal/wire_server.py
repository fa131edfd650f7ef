"""A real server on loopback whose every byte the test decides, for the answers no honest server gives."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from generations.fal import FalConfig


@dataclass(frozen=True)
class Seen:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)


@dataclass
class WireServer:
    """`answer` gets each request and the socket; what it returns is written as it stands, None drops the connection."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    answer: Callable[[Seen, socket.socket], bytes | None] = lambda _seen, _socket: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, *answers: bytes | None) -> None:
        """The answers in turn; the last one for ever."""
        queue = list(answers)
        self.answer = lambda _seen, _socket: queue.pop(0) if len(queue) > 1 else queue[0]

    def config(self, **changes: Any) -> FalConfig:
        defaults = {
            "key": "id:secret",
            "admin_key": "admin:secret",
            "queue_url": self.url,
            "rest_url": self.url,
            "cdn_url": self.url,
            "platform_url": f"{self.url}/v1",
            "jwks_url": f"{self.url}/.well-known/jwks.json",
            "read_timeout_seconds": 2.0,
        }
        return FalConfig(**(defaults | changes))

    def receipt(self, request_id: str = "req-1", **changes: Any) -> dict[str, Any]:
        url = f"{self.url}/fal-ai/minimax/requests/{request_id}"
        return {
            "request_id": request_id,
            "status_url": f"{url}/status",
            "response_url": url,
            "cancel_url": f"{url}/cancel",
            "queue_position": 3,
            "status": "IN_QUEUE",
        } | changes


def http(status: int, body: Any = None, **headers: str) -> bytes:
    """A whole answer; header names are written with underscores."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"content-length": str(len(data)), "connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + data


def silence(seconds: float) -> Callable[[Seen, socket.socket], bytes | None]:
    """Reads the request and says nothing for a while."""

    def answer(_seen: Seen, _socket: socket.socket) -> None:
        time.sleep(seconds)

    return answer


def _read_request(stream: Any) -> Seen | None:
    first = stream.readline().decode()
    if not first:
        return None
    method, target, _version = first.split()
    headers: dict[str, str] = {}
    while (line := stream.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        raise AssertionError("fal's storage is given a length, not chunks")
    return Seen(method, target, headers, stream.read(int(headers.get("content-length", "0"))))


@contextmanager
def running_server() -> Iterator[WireServer]:
    wire = WireServer()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            seen = _read_request(self.rfile)
            if seen is None:
                return
            wire.seen.append(seen)
            data = wire.answer(seen, self.request)
            if data is not None:
                self.request.sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up early is what some of the tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        wire.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield wire
        finally:
            server.shutdown()
            thread.join()
