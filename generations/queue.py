"""The doorbell: task names, rung by name after commit, so that lifecycle never imports the tasks that call it.

A bell that cannot be rung is logged and forgotten: the row is due, and the sweep finds it within seconds. Ringing
takes a second or two at most whatever the broker does (see BELL_OPTIONS in settings), and after a failure this process
rings nothing for a moment: a hundred bells in a row must not each wait for a broker that is frozen. The same goes for
telling open pages.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

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
LATE = "generations.late"
REQUEST_MAIL = "generations.request_mail"
SYNC_PRICES = "generations.sync_prices"
RECONCILE = "generations.reconcile"
ALERT = "generations.alert"
CHECK_BOOKS = "generations.check_books"
LIVE_PREFIX = "clipledger:live:"
# Clips come home on a queue of their own: two slow downloads must not stop every dispatch and cancel.
BELLS = "bells"
CLIPS = "clips"
QUEUES = (BELLS, CLIPS)
ROUTES = {INGEST: {"queue": CLIPS}, LATE: {"queue": CLIPS}}
# By the clock of whoever takes it, which may be an hour off; a broker that counts for itself forgets it sooner.
BELL_EXPIRES_SECONDS = 6 * 3600
BELL_KEPT_SECONDS = 600
BELL_SECONDS = 1.0
# What fails within this time was a connection the broker had closed meanwhile; a fresh one is tried at once.
QUICK_FAILURE_SECONDS = 0.5
SILENCE_SECONDS = 3.0
TASK_NAMES = frozenset(
    {DISPATCH, INGEST, CANCEL, PROCESS_DELIVERY, SWEEP, LATE, REQUEST_MAIL, ALERT}
    | {SYNC_PRICES, RECONCILE, CHECK_BOOKS}
)


def queue_of(name: str) -> str:
    """The queue in which the bells of this task wait."""
    return ROUTES.get(name, {}).get("queue", BELLS)


def enqueue(name: str, *args: str) -> None:
    """Ring `name` with `args` (primitive ids) once the surrounding transaction has committed."""
    if name not in TASK_NAMES:
        raise ValueError(f"{name!r} is not a task of ours: {sorted(TASK_NAMES)}")
    transaction.on_commit(lambda: _send(name, args), robust=True)


# Until when this process does not try again, by what it would try.
_silent_until: dict[str, float] = {}


def _is_silent(what: str) -> bool:
    return time.monotonic() < _silent_until.get(what, 0.0)


def _fall_silent(what: str) -> None:
    _silent_until[what] = time.monotonic() + SILENCE_SECONDS


def _send(name: str, args: tuple[str, ...]) -> None:
    began_at = time.monotonic()
    if _is_silent("bells"):
        log.info("bell %s%r not rung: the broker did not answer a moment ago", name, args)
        return
    try:
        try:
            _ring(name, args)
        except Exception:
            if time.monotonic() - began_at > QUICK_FAILURE_SECONDS:
                raise
            _ring(name, args)
    except Exception as error:  # noqa: BLE001 - any transport's own: the sweep does the rest
        _fall_silent("bells")
        log.warning("bell %s%r not rung: %s: %s", name, args, type(error).__name__, error)


def _ring(name: str, args: tuple[str, ...]) -> None:
    with pools.producers[_broker()].acquire(block=True, timeout=BELL_SECONDS) as producer:
        try:
            current_app.send_task(
                name,
                args=args,
                producer=producer,
                expires=BELL_EXPIRES_SECONDS,
                expiration=BELL_KEPT_SECONDS,
                timeout=BELL_SECONDS,
                confirm_timeout=BELL_SECONDS,
            )
        except BaseException:
            # Dropped without a goodbye, for which a frozen broker would have to answer.
            producer.connection.collect(socket_timeout=BELL_SECONDS)
            raise


@cache
def _broker() -> Connection:
    """Made once: it is never opened itself, it only names the pool."""
    return broker_connection()


def waiting() -> dict[str, int] | None:
    """How many bells wait in each queue for a worker; None where the broker cannot be reached."""
    try:
        with broker_connection() as broker:
            broker.ensure_connection(max_retries=0)
            return {name: _waiting_in(name, broker) for name in QUEUES}
    except Exception as error:  # noqa: BLE001 - each transport has errors of its own
        log.info("the broker does not say what waits: %s: %s", type(error).__name__, error)
        return None


def _waiting_in(name: str, broker: Any) -> int:
    """An empty queue of Redis does not exist, nor does one of RabbitMQ in which nothing has ever been."""
    with broker.channel() as channel:
        try:
            return int(channel.queue_declare(name, passive=True).message_count)
        except (*broker.channel_errors, KeyError):
            return 0


def broker_connection() -> Connection:
    """A connection to the broker, not yet opened, that waits for nothing longer than BELL_SECONDS.

    Without heartbeats: nothing in a web process would send them, and the broker would hang up.
    """
    return current_app.connection_for_write(
        heartbeat=0, connect_timeout=BELL_SECONDS, transport_options=settings.BELL_OPTIONS
    )


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
    _publish_all([(team_id, generation_id)])


def _publish_all(changes: list[tuple[int, str]]) -> None:
    if _is_silent("pages"):
        return
    try:
        with _live().pipeline(transaction=False) as pipe:
            for team_id, generation_id in changes:
                pipe.publish(live_channel(team_id), generation_id)
            pipe.execute()
    except redis.RedisError as error:
        _fall_silent("pages")
        log.warning("pages of %d generations not told: %s", len(changes), error)


@cache
def _live() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
