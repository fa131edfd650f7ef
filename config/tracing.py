"""Traces to an OpenTelemetry collector, where OTEL_EXPORTER_OTLP_ENDPOINT is set; nothing of it is imported otherwise.

A trace goes from the browser's request over the bell to the task that answers it and its calls to fal and
PostgreSQL; our ids (generations/trace.py) stand on every span as `clipledger.*`, so the generation's id also finds
the traces of what came later: fal's webhook, the clip brought home. What members write stays here: no bodies, no
queries of addresses, no tokens, no messages of exceptions, no visitors' addresses. What the watcher asks fal all day
is no span. PACKAGES (the extra `otel` of pyproject.toml) bring it; sampling, names and headers go by the usual OTEL_...
variables (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import httpx
from celery import signals
from django.core.exceptions import ImproperlyConfigured

from config.log_filters import without_tokens
from generations import queue, trace

PACKAGES = (
    "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http opentelemetry-instrumentation-django "
    "opentelemetry-instrumentation-httpx opentelemetry-instrumentation-psycopg"
)
try:
    from opentelemetry import propagate
    from opentelemetry import trace as otel
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor, ResponseInfo
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
    from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImproperlyConfigured(
        "OTEL_EXPORTER_OTLP_ENDPOINT is set and packages of OpenTelemetry are missing: install them "
        f"(pip install {PACKAGES}), or unset it."
    ) from error

# Requests that a machine makes every few seconds, and files.
NOT_TRACED = "/healthz$,/readyz$,/metrics$,/static/"
# What may leave this house, besides our ids; whatever else an instrumentation adds one day stays here.
KEPT = frozenset(
    {
        *("http.method", "http.request.method", "http.route", "http.scheme", "url.scheme"),
        *("http.status_code", "http.response.status_code", "error.type"),
        *("http.url", "url.full", "http.target", "url.path", "net.peer.port", "server.port"),
        *("http.host", "http.server_name", "net.host.name", "net.peer.name", "server.address"),
        *("db.system", "db.system.name", "db.name", "db.namespace", "db.statement", "db.query.text"),
        *("messaging.system", "messaging.message.id", "exception.type"),
    }
)
ADDRESSES = frozenset({"http.url", "url.full", "http.target", "url.path"})
# Beat and the watcher ring these every two seconds whether there is work or not.
ROUNDS = frozenset({queue.DISPATCH, queue.SWEEP})


def start(exporter: SpanExporter | None = None) -> TracerProvider:
    """Trace from now on; to the collector, unless another exporter is given. Once per process, before it forks.

    Raises ImproperlyConfigured for a protocol other than HTTP.
    """
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        raise ImproperlyConfigured(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}: only http/protobuf is spoken here."
        )
    if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        os.environ.setdefault("OTEL_SERVICE_NAME", "clipledger")
    sending = BatchSpanProcessor(Discreet(exporter or OTLPSpanExporter()))
    provider = _provider(sending)
    otel.set_tracer_provider(provider)
    if "OTEL_PROPAGATORS" not in os.environ:
        # Without the baggage: what a browser puts there would go on to fal.
        propagate.set_global_textmap(TraceContextTextMapPropagator())
    HTTPXClientInstrumentor().instrument(response_hook=_name_fals_request)
    # A query is part of what asked it; those of the watcher and of beat's rounds belong to no trace and are none.
    within = _provider(sending, sampler=ParentBased(ALWAYS_OFF))
    PsycopgInstrumentor().instrument(tracer_provider=within)
    _follow_bells()
    # A worker's processes end without running what is registered with atexit.
    signals.worker_process_shutdown.connect(_flush, weak=False)
    return provider


def start_pages() -> None:
    """A span for each request; once, when the settings are there and before the first handler is made."""
    is_said = {"OTEL_PYTHON_DJANGO_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"} & os.environ.keys()
    urls = {} if is_said else {"excluded_urls": NOT_TRACED}
    # Second, so that the request's id is bound when its span begins.
    DjangoInstrumentor().instrument(middleware_position=1, **urls)


def _provider(*processors: SpanProcessor, sampler: ParentBased | None = None) -> TracerProvider:
    provider = TracerProvider(sampler=sampler)
    for processor in (Ids(), *processors):
        provider.add_span_processor(processor)
    return provider


class Ids(SpanProcessor):
    """Put the ids that are bound where a span begins on it."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        span.set_attributes({f"clipledger.{name}": value for name, value in trace.current().items()})


class Discreet(SpanExporter):
    """Hands on what `KEPT` names, with addresses cut before their query and without tokens."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_discreet(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _discreet(span: ReadableSpan) -> ReadableSpan:
    """The same span; the description of its status and of its exceptions may quote a row, and are left out."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_kept(span.attributes),
        events=[Event(each.name, _kept(each.attributes), each.timestamp) for each in span.events],
        links=span.links,
        kind=span.kind,
        status=otel.Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _kept(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        name: without_tokens(value.partition("?")[0]) if name in ADDRESSES else value
        for name, value in (attributes or {}).items()
        if name in KEPT or name.startswith("clipledger.")
    }


def _follow_bells() -> None:
    """The context of whoever rings, in the headers of the bell, and a span for the task that answers.

    Not by the instrumentation for Celery: it leaves its span current where a bell cannot be rung (no broker), and in a
    thread of the web server every later request would become a part of that one.
    """
    signals.before_task_publish.connect(_carry_context, weak=False)
    signals.task_prerun.connect(_begin_task, weak=False)
    signals.task_failure.connect(_task_failed, weak=False)
    signals.task_postrun.connect(_end_task, weak=False)


def _carry_context(headers: dict[str, Any], **_: Any) -> None:
    propagate.inject(headers)


def _begin_task(task: Any, **_: Any) -> None:
    """A round that nobody's request asked for is no trace, or an idle house would write one every two seconds."""
    fields = propagate.get_global_textmap().fields
    came = propagate.extract({name: getattr(task.request, name, None) or "" for name in fields})
    if task.name in ROUNDS and not otel.get_current_span(came).get_span_context().is_valid:
        return
    inside = ExitStack()
    span = otel.get_tracer(__name__).start_span(task.name, context=came, kind=otel.SpanKind.CONSUMER)
    span.set_attributes({"messaging.system": "celery", "messaging.message.id": task.request.id})
    inside.enter_context(otel.use_span(span, end_on_exit=True))
    task.request.clipledger_span = inside


def _task_failed(sender: Any, exception: BaseException, **_: Any) -> None:
    if getattr(sender.request, "clipledger_span", None):
        span = otel.get_current_span()
        span.record_exception(exception)
        span.set_status(otel.StatusCode.ERROR)


def _end_task(task: Any, **_: Any) -> None:
    inside = getattr(task.request, "clipledger_span", None)
    if inside:
        inside.close()


def _name_fals_request(span: otel.Span, _request: object, response: ResponseInfo) -> None:
    """By the header fal puts on each of its answers; the id of a new request is known from there on."""
    named = httpx.Headers(response.headers).get("x-fal-request-id")
    if named:
        span.set_attribute("clipledger.fal_request", named)


def _flush(**_: Any) -> None:
    provider = otel.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()
