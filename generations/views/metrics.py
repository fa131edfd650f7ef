"""`/metrics` for Prometheus: with METRICS_TOKEN as a bearer token, or, where none is set, from this machine alone."""

from __future__ import annotations

import ipaddress
import secrets

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from generations import metrics as room

# Whatever a proxy adds: a request that has one comes from elsewhere, however near its last hop is.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """200 with every figure, 401 for a wrong token, 404 from elsewhere where there is no token."""
    if settings.METRICS_TOKEN:
        if not _has_token(request):
            refusal = HttpResponse("a bearer token is needed\n", status=401, content_type="text/plain")
            refusal["WWW-Authenticate"] = 'Bearer realm="metrics"'
            return refusal
    elif not _is_from_here(request):
        raise Http404
    return HttpResponse(room.exposition(), content_type=CONTENT_TYPE_LATEST)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and secrets.compare_digest(
        token.strip().encode(), settings.METRICS_TOKEN.encode()
    )


def _is_from_here(request: HttpRequest) -> bool:
    if any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
