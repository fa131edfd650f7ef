"""Whose a bill without an owner is: a submit whose answer was lost, found by its inputs in fal's history.

fal's history by endpoint has the inputs where fal keeps payloads. What is found while the credits are held is adopted
as always; once they were released it is never charged for: its clip is brought home and offered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q

from accounts import clock
from generations import fal, lifecycle
from generations.models import Attempt, BillMatch
from generations.states import AttemptState

log = logging.getLogger(__name__)

CLOCK_SKEW = timedelta(minutes=2)
# From the POST to fal's bill: its queue, its longest run, its accounts.
LONGEST = timedelta(days=1)
BATCH = 200


def attach(*, since: datetime) -> set[str]:
    """Give bills of later than `since` to the attempts they belong to; their request ids. Raises `fal.FalError`."""
    lifecycle.resolve_lost()
    orphans: dict[str, dict[str, datetime]] = {}
    for row in BillMatch.objects.filter(kind=BillMatch.Kind.UNKNOWN, happened_at__gte=since):
        orphans.setdefault(row.endpoint_id, {})[row.request_id] = row.happened_at
    found = set()
    for attempt in _given_up(list(orphans), since=since):
        unclaimed = orphans[attempt.generation.engine]
        request_id = _request_of(attempt, unclaimed)
        if request_id and lifecycle.adopt_given_up(attempt.pk, request_id):
            log.warning(
                "the bill for request %s belongs to attempt %s, which was given up", request_id, attempt.pk
            )
            del unclaimed[request_id]
            found.add(request_id)
    return found


def _given_up(engines: list[str], *, since: datetime) -> Iterator[Attempt]:
    """Attempts that ended without fal's answer, and of which fal may know more than we do."""
    rows = Attempt.objects.filter(
        Q(is_maybe_billed=True) | Q(error_type="never_arrived"),
        request_id="",
        state=AttemptState.FAILED,
        sent_at__gte=since - LONGEST,
        generation__engine__in=engines,
    )
    return iter(rows.select_related("generation").order_by("sent_at")[:BATCH])


def _request_of(attempt: Attempt, unclaimed: dict[str, datetime]) -> str:
    first, last = attempt.sent_at - CLOCK_SKEW, attempt.sent_at + LONGEST
    if not any(first <= billed_at <= last for billed_at in unclaimed.values()):
        return ""
    end = min(last, clock.now() + CLOCK_SKEW)
    history = lifecycle.fal_client().find_requests(attempt.generation.engine, start=first, end=end)
    same = [past for past in history if past.request_id in unclaimed and past.inputs == attempt.sent_inputs]
    return min(same, key=lambda past: _distance(past, attempt)).request_id if same else ""


def _distance(past: fal.PastRequest, attempt: Attempt) -> timedelta:
    return abs((past.sent_at or attempt.sent_at) - attempt.sent_at)
