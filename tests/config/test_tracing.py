"""Traces: one leads from the browser to fal, none names what was written, and without the setting there is nothing."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from generations import trace
from tests.bells import forget_bells
from tests.config.test_settings import COMPLETE, ROOT, start
from tests.factories import MembershipFactory, TeamFactory
from tests.sandbox_server import running_sandbox

PATIENCE_SECONDS = 60
TEXT_ENGINE = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
PROMPT = "a boat drifts over the lake at dusk"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
# What a browser does, through the entry the web server loads.
WEB = """
import json, os, sys
from config.wsgi import application
from django.test import Client
from accounts.models import User
client = Client()
client.force_login(User.objects.get(email=sys.argv[1]))
assert client.get("/healthz").status_code == 200
assert client.get("/library/?q=secret-search").status_code == 200
assert client.get("/invitation/tok3n-tok3n/").status_code in (200, 404, 410)
sent = client.post("/generate/", json.loads(sys.argv[2]), headers={"x-request-id": "from-the-browser"})
assert sent.status_code == 302, sent.content.decode()
"""


class Collector:
    """What a collector of OpenTelemetry was sent: each span as (name, trace id, attributes)."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> list[tuple[str, bytes, dict[str, Any]]]:
        sent = [ExportTraceServiceRequest.FromString(body) for body in list(self.bodies)]
        scopes = [
            scope for each in sent for resource in each.resource_spans for scope in resource.scope_spans
        ]
        return [
            (span.name, span.trace_id, {it.key: it.value.string_value for it in span.attributes})
            for scope in scopes
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[tuple[str, Collector]]:
    kept = Collector()

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers["Content-Encoding"] == "gzip"
            kept.bodies.append(gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Keep) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", kept
        server.shutdown()
        thread.join()


def test_nothing_is_imported_without_the_setting() -> None:
    # What is installed of the SDK, the Redis client imports by itself, wanted or not.
    ours = "('opentelemetry.exporter', 'opentelemetry.instrumentation', 'config.tracing')"
    loaded = f"[name for name in __import__('sys').modules if name.startswith({ours})]"
    done = start(COMPLETE, show=loaded)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_missing_packages_are_said_in_a_sentence() -> None:
    hidden = "import sys; sys.modules['opentelemetry.sdk.trace'] = None; "
    done = start({**COMPLETE, ENDPOINT: "http://127.0.0.1:1"}, before=hidden)
    assert done.returncode != 0
    assert f"{ENDPOINT} is set and packages of OpenTelemetry are missing" in done.stderr


def test_a_protocol_we_do_not_speak_is_refused() -> None:
    done = start({**COMPLETE, ENDPOINT: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert done.returncode != 0
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is grpc" in done.stderr


def test_a_span_carries_our_ids_and_neither_queries_nor_tokens_nor_what_an_exception_quotes() -> None:
    from config import tracing

    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(tracing.Ids())
    provider.add_span_processor(SimpleSpanProcessor(tracing.Discreet(memory)))
    tracer = provider.get_tracer("test")

    def goes_wrong() -> None:
        with tracer.start_as_current_span("POST") as span:
            span.set_attribute("http.url", "https://fal/queue/x?fal_webhook=https://us/fal/webhook/tok3n/")
            span.set_attribute("http.target", "/invitation/tok3n/")
            span.set_attribute("http.user_agent", "somebody's")
            raise ValueError("a boat drifts")

    ids = trace.bound(request="r-12345678", generation="g", attempt=7, fal_request="f")
    with ids, pytest.raises(ValueError, match="boat"):
        goes_wrong()
    (sent,) = memory.get_finished_spans()
    assert dict(sent.attributes or {}) == {
        "clipledger.request": "r-12345678",
        "clipledger.generation": "g",
        "clipledger.attempt": "7",
        "clipledger.fal_request": "f",
        "http.url": "https://fal/queue/x",
        "http.target": "/invitation/…/",
    }
    assert [dict(event.attributes or {}) for event in sent.events] == [{"exception.type": "ValueError"}]
    assert "boat" not in sent.to_json()
    assert not sent.status.is_ok


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_one_trace_leads_from_the_browser_over_the_bell_to_fal(
    collector: tuple[str, Collector], tmp_path: Path
) -> None:
    endpoint, kept = collector
    member = MembershipFactory.create(team=TeamFactory(credits=200))
    form = {"form_token": str(uuid.uuid4()), "engine": TEXT_ENGINE, "prompt": PROMPT}
    with running_sandbox(tmp_path) as sandbox:
        env = environment(sandbox.base_url, endpoint, tmp_path)
        worker = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "config",
            "--quiet",
            "worker",
            "--pool=prefork",
            "-c1",
        ]
        # Before the worker, and with no bell of another test before it: whoever comes first sends what waits.
        forget_bells()
        web = [sys.executable, "-c", WEB, member.user.email, json.dumps(form)]
        subprocess.run(web, cwd=ROOT, env=env, check=True, timeout=PATIENCE_SECONDS)
        with subprocess.Popen([*worker, "--loglevel=ERROR"], cwd=ROOT, env=env) as answering:
            try:
                wait_until_sent(kept)
            finally:
                answering.send_signal(signal.SIGTERM)
    spans = kept.spans
    (asked,) = [span for span in spans if span[0] == "POST generate/"]
    mine = [span for span in spans if span[1] == asked[1]]
    (post,) = [it for name, _, it in mine if name == "POST" and it["http.url"].endswith(TEXT_ENGINE)]
    assert "generations.dispatch" in {name for name, _, _ in mine}
    assert post["clipledger.generation"]
    assert post["clipledger.fal_request"]
    assert {it["clipledger.request"] for _, _, it in mine} == {"from-the-browser"}
    assert any("accounts_hold" in it.get("db.statement", "") for _, _, it in mine), (
        "queries are part of the trace"
    )
    everything = b"".join(kept.bodies).decode(errors="replace")
    for secret in (PROMPT, "key-secret", "secret-search", "tok3n", "healthz"):
        assert secret not in everything


def environment(fal: str, endpoint: str, directory: Path) -> dict[str, str]:
    """That of a process of ours on this test's database, with traces every 100 ms."""
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    return {
        **os.environ,
        "DATABASE_URL": database.geturl(),
        "FAL_KEY": "key-id:key-secret",
        "FAL_QUEUE_URL": f"{fal}/queue",
        "FAL_REST_URL": f"{fal}/rest",
        "MEDIA_ROOT": str(directory / "media"),
        ENDPOINT: endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


def wait_until_sent(kept: Collector) -> None:
    """The span of the submit is here; with it those of what came before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(name == "POST" and it["http.url"].endswith(TEXT_ENGINE) for name, _, it in kept.spans):
        assert time.monotonic() < deadline, "no span of a submit has come"
        time.sleep(0.05)
