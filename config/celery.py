"""The Celery application: a doorbell over PostgreSQL's truth. Beat only rings; the rows decide what is due."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("clipledger")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["generations"])
app.conf.beat_schedule = {
    "dispatch": {"task": "generations.dispatch", "schedule": 2.0, "options": {"expires": 10}},
    "sweep": {"task": "generations.sweep", "schedule": 15.0, "options": {"expires": 60}},
}
