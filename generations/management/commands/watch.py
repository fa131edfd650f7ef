"""`manage.py watch`: the process that waits for fal. Run one or more beside the workers."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import BaseCommand

from generations.watcher import Watcher


class Command(BaseCommand):
    help = "Wait for fal: follow what it queues and runs, and sweep. Ends cleanly on SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(_watch())


async def _watch() -> None:
    await Watcher().run()
