"""The Celery tasks: each hands an id to lifecycle. Running one twice, late, or not at all is harmless.

No task retries through the broker: "when next" is a column, and the sweep rings again for whatever is due.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task, signals

from generations import lifecycle, media, proving, pulse, queue


@signals.worker_ready.connect
@signals.worker_process_init.connect
def tidy(**_: Any) -> None:
    """A process that takes the place of a killed one removes the clips that one was in the middle of."""
    media.sweep_scratch()


@shared_task(name=queue.DISPATCH)
def dispatch() -> None:
    """Send to fal what may go now."""
    pulse.beat(pulse.WORKER, pulse.here())
    lifecycle.dispatch()


@shared_task(name=queue.INGEST)
def ingest(generation_id: str) -> None:
    """Bring a finished clip home and settle."""
    lifecycle.ingest(generation_id)


@shared_task(name=queue.LATE)
def late(attempt_id: str) -> None:
    """Bring home what fal finished after we had given it up."""
    lifecycle.bring_late(attempt_id)


@shared_task(name=queue.CANCEL)
def cancel(generation_id: str) -> None:
    """Ask fal to stop."""
    lifecycle.send_cancel(generation_id)


@shared_task(name=queue.PROCESS_DELIVERY)
def process_delivery(delivery_id: str) -> None:
    """Let a webhook have its effect."""
    lifecycle.process_delivery(delivery_id)


@shared_task(name=queue.SWEEP)
def sweep() -> None:
    """Move on what is stuck."""
    lifecycle.sweep()


@shared_task(name=queue.CHECK_BOOKS)
def check_books() -> None:
    """Prove the books, once a day."""
    proving.daily()
