"""Alerts, seen from the sweep: what the book says, what fal says of the account, and a bell for what is to be sent."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.cache import cache

from accounts import alerts
from generations import fal, queue
from generations.lifecycle.connection import fal_client
from generations.models import DispatchPause

log = logging.getLogger(__name__)

BALANCE_SECONDS = 900


def look() -> int:
    """How many alerts are new. Sending waits on the network: that is a task's, rung for while anything is due."""
    told = alerts.look() + _locked() + _balance()
    if alerts.is_anything_due():
        queue.enqueue(queue.ALERT)
    return told


def _locked() -> int:
    pause = DispatchPause.current()
    return alerts.account_locked(pause.reason, since=pause.since_at) if pause else 0


def _balance() -> int:
    """fal is asked every quarter of an hour, by one process, if there is a key for it."""
    if not settings.FAL_ADMIN_KEY or not cache.add("alerts:balance", 1, BALANCE_SECONDS):
        return 0
    try:
        return alerts.account_balance(fal_client().account_balance().amount)
    except fal.FalError as error:
        log.info("fal's balance could not be read: %s", error)
        return 0
