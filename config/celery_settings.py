"""Celery's part of Django's settings as a plain dictionary, read when Celery first asks.

Every bell looks up some fifty names; asked through `django.conf.settings` each, that cost more than ringing it.
"""

from __future__ import annotations

from django.conf import settings

PREFIX = "CELERY_"
VALUES = {
    name.removeprefix(PREFIX).lower(): getattr(settings, name)
    for name in dir(settings)
    if name.startswith(PREFIX)
}
