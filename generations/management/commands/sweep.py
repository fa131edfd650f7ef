"""`manage.py sweep`: one round of moving on what is stuck, as the watcher and beat do by themselves."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand

from generations import lifecycle


class Command(BaseCommand):
    help = "Find what is stuck and move it on; prints how many rows each step touched."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(json.dumps(lifecycle.sweep()))
