"""One sandbox process for the whole room, a caller that speaks to it over HTTP, and a receiver of webhooks."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.sandbox_server import RunningSandbox, running_sandbox

TEXT_ENGINE = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
PICTURE_ENGINE = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"


def picture_uri(width: int = 400, height: int = 320) -> str:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass
class Caller:
    """Speaks to a sandbox as an application would."""

    sandbox: RunningSandbox
    http: httpx.Client

    def submit(self, prompt: str, *, engine: str = TEXT_ENGINE, **options: Any) -> httpx.Response:
        """POST a job; `params`, `headers` and `query` add to input, headers and query."""
        body = {"prompt": prompt, **options.get("params", {})}
        address = f"{self.sandbox.queue_url}/{engine}"
        return self.http.post(address, json=body, headers=options.get("headers"), params=options.get("query"))

    def accepted(self, prompt: str, **options: Any) -> dict[str, Any]:
        reply = self.submit(prompt, **options)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def status(self, job: dict[str, Any], *, logs: int = 1) -> httpx.Response:
        return self.http.get(job["status_url"], params={"logs": logs})

    def completed(self, job: dict[str, Any], *, timeout_seconds: float = 10) -> dict[str, Any]:
        until = time.monotonic() + timeout_seconds
        while time.monotonic() < until:
            status = self.status(job).json()
            if status.get("status") == "COMPLETED":
                return dict(status)
            time.sleep(0.02)
        raise AssertionError(f"{job} did not complete")

    def result(self, job: dict[str, Any]) -> httpx.Response:
        return self.http.get(job["response_url"])

    def outcome(self, prompt: str, **options: Any) -> httpx.Response:
        """Submit, wait for the end, return the result as it came."""
        job = self.accepted(prompt, **options)
        self.completed(job)
        return self.result(job)

    def cancel(self, job: dict[str, Any]) -> httpx.Response:
        return self.http.put(job["cancel_url"])

    def row(self, job: dict[str, Any]) -> dict[str, Any]:
        """The sandbox's own record of a job."""
        return self.sandbox.jobs(f"request_id={job['request_id']}")[0]

    def platform(self, path: str, **query: Any) -> dict[str, Any]:
        reply = self.http.get(f"{self.sandbox.platform_url}/{path}", params=query)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())


def caller_for(sandbox: RunningSandbox) -> Caller:
    return Caller(sandbox, httpx.Client(headers={"Authorization": "Key test:key"}, timeout=10))


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running_sandbox(
        tmp_path_factory.mktemp("room"),
        job_seconds=0.1,
        concurrency=50,
        webhook_retry_seconds=0.1,
        webhook_attempts=4,
    ) as running:
        yield running


@pytest.fixture(scope="session")
def caller(sandbox: RunningSandbox) -> Iterator[Caller]:
    calling = caller_for(sandbox)
    with calling.http:
        yield calling


@dataclass
class Receiver:
    """What arrived at our webhook address; `answers` are given in order, then 200."""

    url: str
    deliveries: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def wait(self, count: int, *, timeout_seconds: float = 5) -> list[tuple[dict[str, str], bytes]]:
        until = time.monotonic() + timeout_seconds
        while len(self.deliveries) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(self.deliveries) >= count, f"{len(self.deliveries)} of {count} arrived"
        return self.deliveries


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    received = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.deliveries.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(received.answers.pop(0) if received.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield received
    server.shutdown()
    server.server_close()
    thread.join()
