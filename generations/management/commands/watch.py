"""`manage.py watch`: the process that waits for fal. Run one or more beside the workers."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand

from generations.watcher import Watcher


class Command(BaseCommand):
    help = "Wait for fal: follow what it queues and runs, and sweep. Ends cleanly on SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(_watch())


async def _watch() -> None:
    watcher, loop = Watcher(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, watcher.stop)
    await watcher.run()
