"""The Celery application: a doorbell over PostgreSQL's truth. Beat only rings; the rows decide what is due.

There may be a beat on every host: what it rings twice finds nothing to do the second time. A worker told nothing takes
both queues; `-Q clips` makes one that brings clips home, as many at once as INGEST_CONCURRENCY says.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab
from django.conf import settings
from kombu import Exchange, Queue

from generations import queue, trace

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# The header in which a bell carries the browser's request to the task that answers it.
REQUEST_HEADER = "clipledger_request"

app = Celery("clipledger")
app.config_from_object("config.celery_settings:VALUES")
app.autodiscover_tasks(["generations"])


def _kept(seconds: int) -> dict[str, int]:
    """How long the broker keeps a bell that nobody takes, where it counts for itself; else as long as any."""
    return {"expires": queue.BELL_EXPIRES_SECONDS, "expiration": seconds}


app.conf.beat_schedule = {
    "dispatch": {"task": queue.DISPATCH, "schedule": 2.0, "options": _kept(10)},
    # At a quiet hour, UTC; kept long enough for workers that are being replaced.
    "check_books": {
        "task": queue.CHECK_BOOKS,
        "schedule": crontab(hour="3", minute="17"),
        "options": _kept(3600),
    },
    "sweep": {"task": queue.SWEEP, "schedule": 15.0, "options": _kept(60)},
    # Rung far oftener than the week it is for: a beat that was away, or an answer that failed, delays it by hours.
    "sync_prices": {"task": queue.SYNC_PRICES, "schedule": 4 * 3600.0, "options": _kept(3600)},
    # Every hour, for whoever has not come through today.
    "reconcile": {"task": queue.RECONCILE, "schedule": 3600.0, "options": _kept(600)},
}


@signals.celeryd_init.connect
def mind_the_ears(**_: Any) -> None:
    """In worker processes alone: `config.ears` has its own signal to begin with."""
    from config import ears  # noqa: F401, PLC0415


@app.on_after_configure.connect
def declare_queues(sender: Celery, **_: Any) -> None:
    """Both queues, once the settings are there to say of which kind."""
    arguments = settings.QUEUE_ARGUMENTS
    sender.conf.task_queues = [
        Queue(name, Exchange(name), routing_key=name, queue_arguments=arguments) for name in queue.QUEUES
    ]
    sender.conf.task_default_queue = queue.BELLS
    sender.conf.task_routes = queue.ROUTES


@signals.celeryd_init.connect
def limit_clips(conf: Any, options: dict[str, Any], **_: Any) -> None:
    """A worker for clips alone has the limit of the settings unless its command line has one."""
    if list(options.get("queues") or ()) == [queue.CLIPS] and not options.get("concurrency"):
        conf.worker_concurrency = settings.INGEST_CONCURRENCY


@signals.before_task_publish.connect
def carry_request(headers: dict[str, Any], **_: Any) -> None:
    request = trace.current().get("request")
    if request:
        headers[REQUEST_HEADER] = request


@signals.task_prerun.connect
def take_request(task_id: str, task: Any, **_: Any) -> None:
    trace.start(task=task_id, request=task.request.get(REQUEST_HEADER))


@signals.task_postrun.connect
def forget_request(**_: Any) -> None:
    trace.start()
