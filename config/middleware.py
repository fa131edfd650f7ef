"""What every request needs once: an id for its log lines, the membership it works under, and caches that keep fragments
and pages apart."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject

from accounts import audit
from accounts.workspace import current_membership
from generations import trace

log = logging.getLogger("clipledger.requests")

# Whatever a proxy or a browser calls its request, as long as it cannot break a line or a header.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """The id that came as X-Request-ID, or a new one: on every line logged meanwhile, and on the answer.

    The address is logged without its query, which may hold what somebody searched for or wrote.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        came = request.headers.get("X-Request-ID", "")
        mine = came if REQUEST_ID.fullmatch(came) else uuid.uuid4().hex
        began_at = time.monotonic()
        with trace.bound(request=mine), audit.bound(request, mine):
            response = get_response(request)
            milliseconds = (time.monotonic() - began_at) * 1000
            log.info("%s %s %s %.0f ms", request.method, request.path, response.status_code, milliseconds)
        response["X-Request-ID"] = mine
        return response

    return middleware


def htmx(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        patch_vary_headers(response, ("HX-Request",))
        return response

    return middleware


def workspace(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """`request.membership`, as lazy as `request.user`: falsy for whoever belongs to no team."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        request.membership = SimpleLazyObject(lambda: current_membership(request))  # type: ignore[attr-defined]
        return get_response(request)

    return middleware
