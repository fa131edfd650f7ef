"""One clock for all hosts: PostgreSQL's, carried on between two looks by this machine's steady clock.

Leases, due times, deadlines, expiries and budget windows are written by one host and read by another. A host whose wall
clock is wrong, or is put right by an hour while it works, would otherwise take leases that are held, expire credits
early, or put work off. Nothing that decides anything reads the wall clock.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError, connection
from django.utils import timezone

log = logging.getLogger(__name__)

# How long a look at PostgreSQL's clock is carried on; two quartz clocks part by less than a millisecond in that time.
TRUSTED_SECONDS = 30.0
# While PostgreSQL cannot be asked, each call would wait for it anew.
RETRY_SECONDS = 1.0
WORTH_A_WORD = timedelta(seconds=5)
# Unlike the monotonic clock it goes on while a laptop sleeps; only Linux has it.
STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True)
class Look:
    """PostgreSQL's time at a moment of the steady clock."""

    at: datetime
    steady_seconds: float


_looking = threading.Lock()
_last: Look | None = None
_next_look_at = float("-inf")


def now() -> datetime:
    """The time by PostgreSQL's clock, in UTC; by this machine's where PostgreSQL has never answered this process.

    Costs one statement on this thread's connection every 30 s, and nothing between. Inside an event loop, and in a
    transaction that is broken, nothing is asked.
    """
    if steady_seconds() >= _next_look_at and _may_ask() and _looking.acquire(blocking=False):
        try:
            _look()
        finally:
            _looking.release()
    return _carried_on(_last) if _last else timezone.now()


def steady_seconds() -> float:
    """Seconds of a clock that nobody can set; its zero means nothing."""
    return time.clock_gettime(STEADY)


def forget() -> None:
    """Look anew at the next call."""
    global _last, _next_look_at
    _last, _next_look_at = None, float("-inf")


def _carried_on(look: Look) -> datetime:
    return look.at + timedelta(seconds=steady_seconds() - look.steady_seconds)


def _may_ask() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return not connection.needs_rollback
    return False


def _look() -> None:
    global _last, _next_look_at  # noqa: PLW0603 - what this process knows
    before = steady_seconds()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            at = cursor.fetchone()[0].astimezone(UTC)
    except DatabaseError as error:
        log.warning("PostgreSQL's clock could not be read: %s", error)
        _next_look_at = steady_seconds() + RETRY_SECONDS
        return
    after = steady_seconds()
    look = Look(at, (before + after) / 2)
    _say_if_wrong(look)
    _last, _next_look_at = look, after + TRUSTED_SECONDS


def _say_if_wrong(look: Look) -> None:
    """Once for each time it is found out: a clock that is wrong here spoils logs, and signatures of others."""
    is_known = _last is not None and abs(_carried_on(_last) - look.at) < WORTH_A_WORD
    off = timezone.now() - _carried_on(look)
    if abs(off) >= WORTH_A_WORD and not is_known:
        log.warning(
            "this clock is %+.0f s off PostgreSQL's, which is the one that counts", off.total_seconds()
        )
