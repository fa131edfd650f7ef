"""The receipt of a clip: a page to read and a signed file to keep. Who may see the clip may see it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.models import Entry, Membership
from accounts.permissions import member_required
from generations import receipts
from generations.models import Generation
from generations.views.access import find
from generations.views.show import choices


@require_safe
@never_cache
@member_required
def receipt(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    generation = find(membership.user, pk)
    signed = _signed(generation)
    entries = Entry.objects.filter(hold=generation.hold_id).select_related("actor").order_by("seq")
    context = {
        "generation": generation,
        "receipt": signed["receipt"],
        "key": signed["key"],
        "entries": entries,
        "choices": choices(generation),
        "rule": json.dumps(signed["receipt"]["price"]["rule"], sort_keys=True),
        "attempts": generation.attempts.order_by("number").prefetch_related("deliveries"),
    }
    return render(request, "generations/receipt.html", context)


@require_safe
@never_cache
@member_required
def receipt_file(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:  # noqa: ARG001
    text = json.dumps(_signed(find(membership.user, pk)), indent=2, ensure_ascii=False)
    answer = HttpResponse(text, content_type="application/json")
    answer["Content-Disposition"] = f'attachment; filename="receipt-{pk}.json"'
    return answer


def _signed(generation: Generation) -> dict[str, Any]:
    try:
        return receipts.signed(generation)
    except receipts.NotSettled as error:
        raise Http404 from error
