"""The doorbell: task names, rung by name after commit, so that lifecycle never imports the tasks that call it.

A bell that cannot be rung is logged and forgotten: the row is due, and the sweep finds it within seconds. Whoever rings
waits a second at most, also for a broker that takes connections and answers nothing; then this process spares itself
the next tries for a moment, because one request may have several to make.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from functools import cache

import redis
from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu import Connection, pools

log = logging.getLogger(__name__)

DISPATCH = "generations.dispatch"
INGEST = "generations.ingest"
CANCEL = "generations.cancel"
PROCESS_DELIVERY = "generations.process_delivery"
SWEEP = "generations.sweep"
# Whoever answers a bell may have a clock that is hours off; one that nobody answered is worth nothing for longer.
BELL_SECONDS = 6 * 3600
LIVE_PREFIX = "clipledger:live:"
PATIENCE_SECONDS = 1.0
SPARED_SECONDS = 1.0
TASK_NAMES = frozenset({DISPATCH, INGEST, CANCEL, PROCESS_DELIVERY, SWEEP})


def enqueue(name: str, *args: str) -> None:
    """Ring `name` with `args` (primitive ids) once the surrounding transaction has committed."""
    if name not in TASK_NAMES:
        raise ValueError(f"{name!r} is not a task of ours: {sorted(TASK_NAMES)}")
    transaction.on_commit(lambda: _send(name, args), robust=True)


def _send(name: str, args: tuple[str, ...]) -> None:
    if _is_spared():
        return
    try:
        with pools.producers[_bell(os.getpid())].acquire(block=True, timeout=PATIENCE_SECONDS) as producer:
            current_app.send_task(name, args=args, expires=BELL_SECONDS, producer=producer)
    except Exception as error:  # noqa: BLE001 - any transport's own: the sweep does the rest
        log.warning("bell %s%r not rung: %s", name, args, error)
        _spare()


@cache
def _bell(_pid: int) -> Connection:
    """How this process rings: as Celery would, with less patience. Workers need theirs to wait for work."""
    is_redis = settings.CELERY_BROKER_URL.startswith("redis")
    waits = {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS}
    return current_app.connection_for_write(transport_options=waits | {"max_retries": 0} if is_redis else {})


_spared_until = 0.0


def _spare() -> None:
    global _spared_until  # noqa: PLW0603 - what this process knows
    _spared_until = time.monotonic() + SPARED_SECONDS


def _is_spared() -> bool:
    return time.monotonic() < _spared_until


def announce(team_id: int, generation_id: str) -> None:
    """Tell open pages of the team, after commit, that a generation changed (Valkey pub/sub; lost messages are fine).

    Pages that miss one ask again by themselves, so a broken publish is only a delay.
    """
    transaction.on_commit(lambda: _publish(team_id, generation_id), robust=True)


def announce_all(changes: Iterable[tuple[int, str]]) -> None:
    """The same for many (team, generation) at once, in one exchange."""
    told = list(dict.fromkeys(changes))
    if told:
        transaction.on_commit(lambda: _publish_all(told), robust=True)


def live_channel(team_id: int) -> str:
    return f"{LIVE_PREFIX}{team_id}"


def _publish(team_id: int, generation_id: str) -> None:
    if _is_spared():
        return
    try:
        _live().publish(live_channel(team_id), generation_id)
    except redis.RedisError as error:
        log.warning("page of team %s not told: %s", team_id, error)
        _spare()


def _publish_all(changes: list[tuple[int, str]]) -> None:
    if _is_spared():
        return
    try:
        with _live().pipeline(transaction=False) as pipe:
            for team_id, generation_id in changes:
                pipe.publish(live_channel(team_id), generation_id)
            pipe.execute()
    except redis.RedisError as error:
        log.warning("pages of %d generations not told: %s", len(changes), error)
        _spare()


@cache
def _live() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
    )
