"""The Celery application: a doorbell over PostgreSQL's truth. Beat only rings; the rows decide what is due."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals

from generations import queue, trace

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# The header in which a bell carries the browser's request to the task that answers it.
REQUEST_HEADER = "clipledger_request"

app = Celery("clipledger")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["generations"])
app.conf.beat_schedule = {
    "dispatch": {"task": "generations.dispatch", "schedule": 2.0, "options": {"expires": queue.BELL_SECONDS}},
    "sweep": {"task": "generations.sweep", "schedule": 15.0, "options": {"expires": queue.BELL_SECONDS}},
}


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
