"""fal's webhooks at our door: verified, stored, answered at once. What they mean is found out afterwards, by a task."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts import clock
from generations import fal, lifecycle, trace
from generations.fal.signatures import JwksCache, KeysUnavailable, SignatureError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_000_000
# fal waits 15 s for its first delivery; when its keys cannot be had quickly it had better come again.
KEYS_TIMEOUT_SECONDS = 3.0


@csrf_exempt
@require_POST
def receive(request: HttpRequest, token: str) -> HttpResponse:
    """200 taken (or had before), 401 not fal's word, 404 not ours, 413 too long, 503 fal's keys cannot be had."""
    body = _body(request)
    if body is None:
        return HttpResponse("too long", status=413, content_type="text/plain")
    try:
        signed = _keys(lifecycle.fal_config()).verify(
            request.headers,
            body,
            now=clock.now().timestamp(),
            expected_user_id=settings.FAL_WEBHOOK_USER_ID or None,
        )
    except KeysUnavailable as error:
        log.warning("a webhook could not be checked: %s", error)
        return HttpResponse("try again later", status=503, content_type="text/plain")
    except SignatureError as error:
        log.warning("a webhook was refused: %s", error)
        return HttpResponse("not signed by fal", status=401, content_type="text/plain")
    signed_at = datetime.fromtimestamp(signed.signed_at_seconds, UTC)
    try:
        with trace.bound(fal_request=signed.request_id):
            lifecycle.record_delivery(
                token=token, request_id=signed.request_id, body=body, signed_at=signed_at
            )
    except lifecycle.UnknownDelivery as error:
        log.warning("a webhook was not ours: %s", error)
        return HttpResponse("unknown", status=404, content_type="text/plain")
    return HttpResponse("thank you", content_type="text/plain")


def _body(request: HttpRequest) -> bytes | None:
    """The raw body; None where it is longer than any answer of fal's, without reading the rest of it."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        return None
    body = request.read(MAX_BODY_BYTES + 1)
    return body if len(body) <= MAX_BODY_BYTES else None


@lru_cache(maxsize=4)
def _keys(config: fal.FalConfig) -> JwksCache:
    quick = replace(
        config,
        connect_timeout_seconds=KEYS_TIMEOUT_SECONDS,
        read_timeout_seconds=KEYS_TIMEOUT_SECONDS,
        total_timeout_seconds=KEYS_TIMEOUT_SECONDS,
    )
    return JwksCache(lambda: _fetched(quick))


def _fetched(config: fal.FalConfig) -> bytes:
    with fal.FalClient(config) as client:
        return client.fetch_jwks()
