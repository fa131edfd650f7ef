"""Signs of life: who swept, watched or worked last, and when. Kept in Valkey alone: losing them costs a few seconds.

Nothing is decided by a pulse. It is what the metrics and the operations page show, and both say "not known" without it.
"""

from __future__ import annotations

import logging
import os
import socket
from functools import cache
from typing import cast

import redis
from django.conf import settings

from accounts import clock

log = logging.getLogger(__name__)

SWEEP = "sweep"
WATCHER = "watcher"
WORKER = "worker"
PREFIX = "clipledger:pulse:"
KEPT_SECONDS = 3600
# Whoever was heard of within this time counts as alive.
ALIVE_SECONDS = 30


def here() -> str:
    """The name of this process: its host and its number."""
    return f"{socket.gethostname()[:30]}:{os.getpid()}"


def beat(kind: str, owner: str) -> None:
    """`owner` is alive and has just done what `kind` says. Without Valkey it is alive all the same."""
    now = clock.now().timestamp()
    try:
        with _valkey().pipeline(transaction=False) as pipe:
            pipe.zadd(PREFIX + kind, {owner: now})
            pipe.zremrangebyscore(PREFIX + kind, 0, now - KEPT_SECONDS)
            pipe.execute()
    except redis.RedisError as error:
        log.info("the pulse of %s was not written: %s", kind, error)


def leave(kind: str, owner: str) -> None:
    """`owner` ends in good order."""
    try:
        _valkey().zrem(PREFIX + kind, owner)
    except redis.RedisError as error:
        log.info("%s left without a word: %s", owner, error)


def ages(kind: str) -> dict[str, float] | None:
    """Seconds since each owner's last beat, none older than an hour; None where Valkey does not answer."""
    now = clock.now().timestamp()
    try:
        found = cast(
            list[tuple[bytes, float]],
            _valkey().zrangebyscore(PREFIX + kind, now - KEPT_SECONDS, "+inf", withscores=True),
        )
    except redis.RedisError:
        return None
    return {owner.decode(): max(now - at, 0.0) for owner, at in found}


@cache
def _valkey() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
