"""Errors to Sentry, where SENTRY_DSN is set; nothing of it is imported otherwise.

What members write stays here: no bodies, no local variables, no cookies or addresses are sent, and the tokens in
addresses are taken out. `pip install 'sentry-sdk>=2.75,<3'` (the extra `sentry`) brings the package.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.log_filters import without_tokens
from generations import trace

try:
    import sentry_sdk
    from sentry_sdk.types import Event, Hint
    from sentry_sdk.utils import BadDsn
except ImportError as error:
    raise ImproperlyConfigured(
        "SENTRY_DSN is set and the package sentry-sdk is missing: install it (pip install 'sentry-sdk>=2.75,<3'), "
        "or unset SENTRY_DSN."
    ) from error


def start(dsn: str, *, environment: str) -> None:
    """Report errors from now on. Raises ImproperlyConfigured where `dsn` is no DSN."""
    try:
        sentry_sdk.init(
            dsn,
            environment=environment,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
            before_send=_before_send,
            before_breadcrumb=_before_breadcrumb,
        )
    except BadDsn as error:
        raise ImproperlyConfigured("SENTRY_DSN is not a DSN: copy it from the project's settings.") from error


def _before_send(event: Event, _hint: Hint) -> Event:
    """Tag the event with our ids; a query may hold what somebody typed, a path the token of an invitation."""
    event["tags"] = {**dict(event.get("tags") or {}), **trace.current()}
    request = event.get("request")
    if request:
        request.pop("query_string", None)
        request.pop("headers", None)
    return _clean(event)


def _before_breadcrumb(crumb: dict[str, Any], _hint: Hint) -> dict[str, Any] | None:
    """SQL and outgoing calls carry values of rows and keys of links; log lines are ours and stay."""
    if crumb.get("category") in {"query", "httplib", "redis"}:
        return None
    return _clean(crumb)


def _clean(value: Any) -> Any:
    match value:
        case str():
            return without_tokens(value)
        case dict():
            return {key: _clean(each) for key, each in value.items()}
        case list():
            return [_clean(each) for each in value]
        case _:
            return value
