"""Errors reach Sentry where a DSN is set, without a word of what members wrote; else nothing is even imported."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import brotli
import pytest

from tests.config.test_settings import COMPLETE, start

ERROR = (
    "[__import__('logging').getLogger('generations').error('broken at /invitation/tok3n-tok3n/'), "
    "(lambda prompt: __import__('sentry_sdk').capture_exception(ValueError('oops')))('a boat drifts'), "
    "__import__('sentry_sdk').flush(5)]"
)
UNPACK = {"br": brotli.decompress, "gzip": gzip.decompress}


@pytest.fixture
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    """The DSN of a server that keeps what it is sent."""
    bodies: list[bytes] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(UNPACK[self.headers["Content-Encoding"]](body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Keep) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://key@127.0.0.1:{server.server_port}/1", bodies
        server.shutdown()
        thread.join()


def test_nothing_is_imported_without_a_dsn() -> None:
    done = start(COMPLETE, show="'sentry_sdk' in __import__('sys').modules")
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_an_error_arrives_without_prompt_and_token(sentry: tuple[str, list[bytes]]) -> None:
    dsn, bodies = sentry
    done = start({**COMPLETE, "SENTRY_DSN": dsn}, show=ERROR)
    assert done.returncode == 0, done.stderr
    sent = b"\n".join(bodies).decode()
    assert "broken at /invitation/\\u2026/" in sent
    assert "ValueError" in sent
    assert "tok3n" not in sent
    assert "a boat drifts" not in sent


def test_a_missing_package_is_said_in_a_sentence() -> None:
    hidden = "import sys; sys.modules['sentry_sdk'] = None; "
    done = start({**COMPLETE, "SENTRY_DSN": "https://key@sentry.example.com/1"}, before=hidden)
    assert done.returncode != 0
    assert "SENTRY_DSN is set and the package sentry-sdk is missing" in done.stderr


def test_what_is_no_dsn_is_refused() -> None:
    done = start({**COMPLETE, "SENTRY_DSN": "sentry"})
    assert done.returncode != 0
    assert "SENTRY_DSN is not a DSN" in done.stderr
