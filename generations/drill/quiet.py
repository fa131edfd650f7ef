"""When it is over: nothing unsettled here, nothing running at the sandbox, no webhook on its way."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import httpx
from django.db import Error, connection

from generations.drill.fal_books import FalBooks
from generations.drill.fleet import Fleet
from generations.models import Attempt, Delivery, Generation

LOOK_SECONDS = 1.0
SAY_SECONDS = 15
# Seen twice in a row, so that a bell still on its way does not pass for quiet.
QUIET_LOOKS = 2


def wait(fleet: Fleet, books: FalBooks, *, patience_seconds: float, say: Callable[[str], object]) -> bool:
    """Keep the fleet up until it is quiet; False if patience ends first."""
    ends_at, looks, said_at = time.monotonic() + patience_seconds, 0, time.monotonic()
    while looks < QUIET_LOOKS and time.monotonic() < ends_at:
        fleet.tend()
        time.sleep(LOOK_SECONDS)
        try:
            loud = _loud(books)
        except Error as error:
            connection.close()
            loud = str(error)
        looks = 0 if loud else looks + 1
        if loud and time.monotonic() - said_at > SAY_SECONDS:
            said_at = time.monotonic()
            say(f"  not quiet yet: {loud}")
    return looks >= QUIET_LOOKS


def _loud(books: FalBooks) -> str:
    """What still moves, in words; "" when nothing does."""
    ours = {
        "unsettled generations": Generation.objects.unsettled().count(),
        "open attempts": Attempt.objects.open().count(),
        "deliveries to act upon": Delivery.objects.filter(processed_at__isnull=True).count(),
    }
    jobs = [job["request_id"] for job in books.jobs() if job["state"] != "COMPLETED"]
    if not any(ours.values()):
        for request_id in jobs:  # given up here, stuck there: its late end belongs to the drill
            with suppress(httpx.HTTPError):
                books.finish(request_id)
    moving = ("waiting", "sending")
    theirs = {
        "jobs at fal": len(jobs),
        "webhooks on the way": sum(each["state"] in moving for each in books.webhooks()),
    }
    return ", ".join(f"{n} {name}" for name, n in (ours | theirs).items() if n)
