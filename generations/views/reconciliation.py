"""Our books against fal's bills: one number, and each row a click from its generation. Staff only; days are UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts import clock, sheets
from generations import reconciliation, spend
from generations.models import BillMatch
from generations.reconciliation import figures
from generations.spend.periods import DEFAULT, Period
from generations.views.operations import staff

ROWS_PER_PAGE = 50
ZONE = ZoneInfo("UTC")
HEADER = (
    "happened_at",
    "class",
    "fal_usd",
    "our_usd",
    "unexplained_usd",
    "engine",
    "request_id",
    "generation",
    "attempt",
    "team",
    "member",
)


@require_safe
@staff
def bills(request: HttpRequest) -> HttpResponse:
    period, kind = _asked(request)
    start, end = period.bounds(ZONE)
    pages = Paginator(figures.rows(start=start, end=end, kind=kind), ROWS_PER_PAGE)
    query = {name: request.GET[name] for name in ("period", "first", "last") if request.GET.get(name)}
    context: dict[str, Any] = {
        "period": period,
        "periods": spend.PERIODS.items(),
        "kind": kind,
        "kinds": BillMatch.Kind.choices,
        "summary": reconciliation.summary(start=start, end=end),
        "page": pages.get_page(request.GET.get("page")),
        "run": reconciliation.last_run(),
        "has_key": bool(settings.FAL_ADMIN_KEY),
        "query": urlencode(query),
        "query_with_kind": urlencode(query | ({"kind": kind} if kind else {})),
    }
    return render(request, "generations/reconciliation.html", context)


@require_safe
@staff
def bills_file(request: HttpRequest) -> StreamingHttpResponse:
    """The rows of the page's own filter, all of them."""
    period, kind = _asked(request)
    start, end = period.bounds(ZONE)
    rows = (_cells(row) for row in figures.rows(start=start, end=end, kind=kind).iterator(chunk_size=500))
    response = StreamingHttpResponse(sheets.csv_chunks(HEADER, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="reconciliation.csv"'
    return response


def _asked(request: HttpRequest) -> tuple[Period, str]:
    asked = request.GET
    today = clock.now().astimezone(UTC).date()
    period = spend.chosen(
        asked.get("period", DEFAULT), today=today, first=asked.get("first", ""), last=asked.get("last", "")
    )
    kind = asked.get("kind", "")
    return period, kind if kind in BillMatch.Kind.values else ""


def _cells(row: BillMatch) -> list[sheets.Cell]:
    generation = row.attempt.generation if row.attempt else None
    return [
        row.happened_at.astimezone(UTC).isoformat(),
        row.kind,
        *_amounts(row),
        row.endpoint_id,
        row.request_id,
        str(generation.pk) if generation else "",
        row.attempt_id,
        generation.team.slug if generation else "",
        generation.user.email if generation else "",
    ]


def _amounts(row: BillMatch) -> Iterator[sheets.Cell]:
    for amount in (row.fal_usd, row.our_usd, row.unexplained_usd):
        # Negative, it would be guarded as a formula is; a number of nine digits after the point fits a float.
        yield None if amount is None else float(amount)
