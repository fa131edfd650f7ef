"""What a load balancer asks: is this process alive, and can it serve a request from start to end?

`/healthz` does nothing but answer: restart what does not. `/readyz` tries what every request relies on, each for a
second at most and all at the same time; a host that answers 503 should get no visitors until it says 200 again. The
answers name no host, user or error text; those are in the log.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import closing
from functools import cache

import redis
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

log = logging.getLogger(__name__)

MOST_SECONDS = 1.0
# A bucket bills every write: what could be written to is taken at its word for so long.
STORAGE_TRUSTED_SECONDS = 10.0


class NotReady(Exception):
    """The check came to an end, and this is what it found."""


@require_safe
@never_cache
def healthz(_request: HttpRequest) -> HttpResponse:
    """200 from a process that answers at all."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 or 503, and per check whether it held and in how many milliseconds."""
    found = results()
    is_ready = all(each["ok"] for each in found.values())
    return JsonResponse({"ready": is_ready, "checks": found}, status=200 if is_ready else 503)


def results() -> dict[str, dict[str, object]]:
    """Every check, run at the same time; one that takes longer than MOST_SECONDS counts as failed."""
    running = {name: _started(name, check) for name, check in CHECKS.items()}
    wait([future for future in running.values() if future], timeout=MOST_SECONDS)
    return {name: _result(name, future) for name, future in running.items()}


def _result(name: str, future: Future[float] | None) -> dict[str, object]:
    if future is None or not future.done():
        log.warning("not ready: %s has not answered within %s s", name, MOST_SECONDS)
        return {"ok": False, "problem": "too slow"}
    try:
        return {"ok": True, "ms": round(future.result() * 1000, 1)}
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, it is not ready
        log.warning("not ready: %s: %s: %s", name, type(error).__name__, error)
        return {"ok": False, "problem": str(error) if isinstance(error, NotReady) else "unreachable"}


_pending: dict[str, Future[float]] = {}
_pending_lock = threading.Lock()


def _started(name: str, check: Callable[[], None]) -> Future[float] | None:
    """The check under way; None where an earlier one still hangs, so that probes never pile up threads."""
    with _pending_lock:
        earlier = _pending.get(name)
        if earlier is not None and not earlier.done():
            return None
        _pending[name] = Future()
        threading.Thread(
            target=_run, args=(check, _pending[name]), name=f"readyz-{name}", daemon=True
        ).start()
        return _pending[name]


def _run(check: Callable[[], None], future: Future[float]) -> None:
    began_at = time.monotonic()
    try:
        check()
    except Exception as error:  # noqa: BLE001 - it is raised again by whoever asks for the result
        future.set_exception(error)
    else:
        future.set_result(time.monotonic() - began_at)


def _fresh_connection() -> BaseDatabaseWrapper:
    """A connection of the check's own: those of the pages may be the very thing that is exhausted or broken."""
    fresh = connections[DEFAULT_DB_ALIAS].copy()
    limit = f"-c statement_timeout={MOST_SECONDS * 1000:.0f}"
    fresh.settings_dict["OPTIONS"] |= {"connect_timeout": 2, "options": limit}
    return fresh


def _postgresql() -> None:
    with closing(_fresh_connection()) as fresh, fresh.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        if cursor.fetchone()[0]:
            raise NotReady("read-only standby")


def _migrations() -> None:
    with closing(_fresh_connection()) as fresh, fresh.cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations")
        missing = _last_migrations() - set(cursor.fetchall())
    if missing:
        raise NotReady(f"{len(missing)} not applied: run manage.py migrate")


@cache
def _last_migrations() -> frozenset[tuple[str, str]]:
    """The last of each application, as this process's own code has them."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


def _valkey() -> None:
    limits = {"socket_timeout": MOST_SECONDS, "socket_connect_timeout": MOST_SECONDS}
    with closing(redis.Redis.from_url(settings.REDIS_URL, **limits)) as client:
        client.ping()


_storage_written_at = 0.0


def _storage() -> None:
    """Write a few bytes and take them away again: a full or read-only disk can still be listed."""
    global _storage_written_at  # noqa: PLW0603 - what this process knows
    if time.monotonic() - _storage_written_at < STORAGE_TRUSTED_SECONDS:
        return
    name = default_storage.save(f"health/{uuid.uuid4().hex}", ContentFile(b"ready?"))
    default_storage.delete(name)
    _storage_written_at = time.monotonic()


CHECKS: dict[str, Callable[[], None]] = {
    "postgresql": _postgresql,
    "migrations": _migrations,
    "valkey": _valkey,
    "storage": _storage,
}
