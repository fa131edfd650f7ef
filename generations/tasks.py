"""The Celery tasks: each hands an id to lifecycle. Running one twice, late, or not at all is harmless.

No task retries through the broker: "when next" is a column, and the sweep rings again for whatever is due.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task, signals

from accounts import alerts
from generations import asking, fal, lifecycle, media, prices, proving, pulse, queue, reconciliation

log = logging.getLogger(__name__)


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
    """Move on what is stuck, requests for credits among them."""
    lifecycle.sweep()
    asking.sweep()


@shared_task(name=queue.REQUEST_MAIL)
def request_mail(request_id: str) -> None:
    """Tell admins of a request, or its member what became of it."""
    asking.mail(request_id)


@shared_task(name=queue.SYNC_PRICES)
def sync_prices() -> None:
    """Hold fal's list prices against ours, once a week by the rows."""
    prices.sync_if_due()


@shared_task(name=queue.RECONCILE)
def reconcile() -> None:
    """Compare the books with fal's, if nobody did lately; what breaks off is tried again by the next bell."""
    if not reconciliation.is_due():
        return
    try:
        reconciliation.reconcile()
    except fal.FalError as error:
        log.warning("fal's bills could not be read: %s: %s", type(error).__name__, error)


@shared_task(name=queue.ALERT)
def alert() -> None:
    """Send the alerts that are due: by mail and to webhooks."""
    alerts.deliver()


@shared_task(name=queue.CHECK_BOOKS)
def check_books() -> None:
    """Prove the books, once a day."""
    proving.daily()
