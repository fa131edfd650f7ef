"""One reconciliation: read fal's bills from where the last one stopped, and say anew what every open row is.

A week of bills is read page by page; each page is written whole or not at all, and the week is behind us once its last
page was. The last days are read again each time, and what is still missing is asked for by its id: bills come late.
An answer that does not come ends the run where it is. What was written stands, nothing is concluded from what was not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F

from accounts import clock
from generations import fal
from generations.lifecycle import fal_client
from generations.models import Attempt, BillCursor, BillMatch
from generations.reconciliation import bills, classes, orphans
from generations.states import AttemptState, State

log = logging.getLogger(__name__)

# fal looks back ninety days, by its own clock.
REACH = timedelta(days=89)
OVERLAP = timedelta(days=3)
SLICE = timedelta(days=7)
EVERY = timedelta(hours=20)
ASKED_AT_ONCE = 1000


@dataclass(frozen=True)
class Outcome:
    """`read` counts requests that fal billed in the time looked at, `changed` the rows that say something else now."""

    start: datetime
    end: datetime
    read: int
    changed: int
    attached: int


def is_due() -> bool:
    """Whether this process may ask fal for its bills, and nobody came through with it lately."""
    cursor = BillCursor.objects.filter(pk=1).first()
    last = cursor.finished_at if cursor else None
    return bool(settings.FAL_ADMIN_KEY) and (last is None or clock.now() - last >= EVERY)


def reconcile(*, start: datetime | None = None, end: datetime | None = None) -> Outcome:
    """Once, safe at any time and twice at once. With `start` or `end`, that stretch is read again.

    Raises `fal.FalError`, after noting it: `fal.AccountMisconfigured` without the admin key.
    """
    now = clock.now()
    try:
        outcome = _reconcile(start, end, now=now)
    except fal.FalError as error:
        _note(tried_at=now, error=f"{type(error).__name__}: {error}"[:300])
        raise
    _note(tried_at=now, finished_at=now, error="")
    return outcome


def _reconcile(start: datetime | None, end: datetime | None, *, now: datetime) -> Outcome:
    is_usual = start is None and end is None
    oldest = now - REACH
    # fal is asked in whole seconds, and its clock may be ahead of ours.
    ahead = now + orphans.CLOCK_SKEW
    first, last = max(start or _resume_at(oldest), oldest), min(end or ahead, ahead)
    read, changed = set[str](), 0
    for begin, until in _slices(first, last):
        for page in fal_client().billing_pages(start=begin, end=until):
            ids = bills.keep(page)
            changed += classes.classify(ids)
            read |= ids
        if is_usual:
            _note(read_until=min(until, now))
    changed += classes.classify(_captured_without_row(oldest))
    changed += classes.classify(_asked_for(oldest, now=now))
    attached = orphans.attach(since=oldest)
    changed += classes.classify(attached | set(_undecided(oldest)))
    return Outcome(first, last, len(read), changed, len(attached))


def _resume_at(oldest: datetime) -> datetime:
    cursor = BillCursor.objects.filter(pk=1).first()
    return cursor.read_until - OVERLAP if cursor and cursor.read_until else oldest


def _slices(first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    while first < last:
        until = min(first + SLICE, last)
        yield first, until
        first = until


def _captured_without_row(oldest: datetime) -> list[str]:
    """What a capture was made for: only with this fal, for the sandbox's bills are not the real one's."""
    rows = Attempt.objects.filter(
        state=AttemptState.DONE,
        ended_at__gte=oldest,
        generation__state=State.SUCCEEDED,
        generation__is_simulated=settings.FAL_IS_SANDBOX,
        bill_match__isnull=True,
    )
    return list(rows.exclude(request_id="").values_list("request_id", flat=True))


def _asked_for(oldest: datetime, *, now: datetime) -> list[str]:
    """Ask for overdue bills by id, longest unasked first: whatever window they came into, they are found."""
    overdue = BillMatch.objects.filter(
        fal_usd__isnull=True,
        happened_at__range=(oldest, now - classes.GRACE),
        kind__in=(BillMatch.Kind.OPEN, BillMatch.Kind.NOT_BILLED),
    ).order_by(F("asked_at").asc(nulls_first=True), "pk")
    ids = list(overdue.values_list("request_id", flat=True)[:ASKED_AT_ONCE])
    for begin in range(0, len(ids), fal.IDS_PER_CALL):
        batch = ids[begin : begin + fal.IDS_PER_CALL]
        bills.keep(fal_client().billing_events(batch, start=oldest))
        BillMatch.objects.filter(request_id__in=batch).update(asked_at=now)
    return ids


def _undecided(oldest: datetime) -> Iterator[str]:
    rows = BillMatch.objects.filter(kind__in=BillMatch.UNDECIDED, happened_at__gte=oldest)
    return rows.values_list("request_id", flat=True).iterator()


def _note(**fields: object) -> None:
    """How far we are never goes back, whoever else runs at the same time."""
    BillCursor.objects.get_or_create(pk=1)
    rows = BillCursor.objects.filter(pk=1)
    until = fields.get("read_until")
    if until is not None:
        rows = rows.exclude(read_until__gte=until)
    rows.update(**fields)
