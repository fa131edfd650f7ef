"""A worker that no longer hears its bells ends, so that whoever keeps it up starts another.

Seen in a long drill: after Valkey had been frozen for a few seconds, one Celery worker sat in its event loop for ever
with 450 bells waiting, alive by every sign that a process manager looks at. It is an old trouble of Celery with Redis
(celery #8030, #8091, #10302), so liveness is measured by work taken while work waits, and by nothing else.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from celery import signals
from celery.worker import state
from django.conf import settings

from generations import queue

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
# What a deaf worker may take to end in good order; its bells are not acknowledged, so nothing is lost by force.
GRACE_SECONDS = 5.0


@dataclass
class Ears:
    """Whether bells have waited for so long in which a worker with hands free took none."""

    patience_seconds: float
    _taken: int = -1
    _since: float = 0.0

    def are_deaf(self, *, now: float, waiting: int, taken: int, is_busy: bool) -> bool:
        """`waiting` bells now, `taken` since the start; `now` in seconds of any steady clock."""
        if not waiting or is_busy or taken != self._taken:
            self._taken, self._since = taken, now
        return now - self._since > self.patience_seconds


@signals.worker_ready.connect
def prick_up(sender: Any, **_: Any) -> None:
    """`sender` is the consumer of a worker that has just begun to listen."""
    names = set(sender.app.amqp.queues.consume_from)
    threading.Thread(target=_listen, args=(names, sender.controller.concurrency or 1), daemon=True).start()


def _listen(names: Collection[str], hands: int) -> None:
    ears = Ears(settings.DEAF_SECONDS)
    while True:
        time.sleep(LOOK_SECONDS)
        waiting = queue.waiting() or {}
        is_deaf = ears.are_deaf(
            now=time.monotonic(),
            waiting=sum(count for name, count in waiting.items() if name in names),
            taken=sum(state.total_count.values()),
            is_busy=len(state.reserved_requests) >= hands,
        )
        if is_deaf:
            _end(waiting)


def _end(waiting: object) -> None:
    log.critical(
        "bells wait (%s) and this worker has heard none for %s s: it ends", waiting, settings.DEAF_SECONDS
    )
    os.kill(os.getpid(), signal.SIGQUIT)
    time.sleep(GRACE_SECONDS)
    os._exit(70)
