"""Leases: who is busy with a generation right now. A lease that is not renewed lapses, and another may take over.

A lease only saves work; nothing is right or wrong because of one. Every step behind it is a compare-and-swap.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, Q

from accounts import clock
from generations.models import Generation
from generations.states import State

# A lease that ends so much later than one from now is none.
FAR_AHEAD = timedelta(minutes=10)


def new_owner(kind: str) -> str:
    """A name for one holder of leases: what it is, where it runs, and something nobody else has."""
    return f"{kind}@{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(6)}"


def free(now: datetime, *, prefix: str = "") -> Q:
    """Rows nobody holds a lease on; `prefix` reaches the generation from another table.

    No lease is given for so long: one that ends later was written before the clock was put back.
    """
    none, lapsed = Q(**{f"{prefix}lease_until__isnull": True}), Q(**{f"{prefix}lease_until__lt": now})
    return none | lapsed | Q(**{f"{prefix}lease_until__gt": now + length() + FAR_AHEAD})


def length() -> timedelta:
    return timedelta(seconds=settings.LEASE_SECONDS)


def until(now: datetime) -> datetime:
    return now + length()


def take(generation_id: uuid.UUID | str, *, owner: str, states: Collection[State]) -> bool:
    """Take the lease if it is free and the generation is in one of `states`."""
    now = clock.now()
    rows = Generation.objects.filter(free(now), pk=generation_id, state__in=states)
    return rows.update(lease_owner=owner, lease_until=until(now)) == 1


def renew(ids: Iterable[uuid.UUID | str], *, owner: str) -> int:
    """Lengthen the leases `owner` still holds; how many they were."""
    rows = Generation.objects.filter(pk__in=list(ids), lease_owner=owner)
    return rows.update(lease_until=until(clock.now()))


def renew_all(*, owner: str, states: Collection[State]) -> set[uuid.UUID]:
    """Lengthen every lease `owner` holds on rows in `states`, with one statement; which they are."""
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE generations_generation SET lease_until = %(until)s
            WHERE lease_owner = %(owner)s AND state = ANY(%(states)s) RETURNING id""",
            {"until": until(clock.now()), "owner": owner, "states": [state.value for state in states]},
        )
        return {row[0] for row in cursor.fetchall()}


def holders(kind: str, *, states: Collection[State]) -> int:
    """How many owners of a kind hold leases on rows in `states`."""
    rows = Generation.objects.filter(
        state__in=states, lease_owner__startswith=f"{kind}@", lease_until__gte=clock.now()
    )
    return int(rows.aggregate(count=Count("lease_owner", distinct=True))["count"])


def give_back(ids: Iterable[uuid.UUID | str], *, owner: str) -> int:
    """Let go of the leases `owner` still holds."""
    rows = Generation.objects.filter(pk__in=list(ids), lease_owner=owner)
    return rows.update(lease_owner="", lease_until=None)


def give_back_all(*, owner: str, states: Collection[State]) -> int:
    """Let go of every lease `owner` holds on rows in `states`; how many they were."""
    rows = Generation.objects.filter(state__in=states, lease_owner=owner)
    return rows.update(lease_owner="", lease_until=None)


def claim_due(*, owner: str, states: Collection[State], limit: int) -> list[uuid.UUID]:
    """Take leases on up to `limit` due rows with an accepted attempt, skipping what another is just claiming."""
    now = clock.now()
    with transaction.atomic():
        due = Generation.objects.filter(
            free(now), state__in=states, next_check_at__lte=now, attempts__state="accepted"
        )
        rows = due.select_for_update(of=("self",), skip_locked=True).order_by("next_check_at")
        ids = list(rows.values_list("pk", flat=True)[:limit])
        Generation.objects.filter(pk__in=ids).update(lease_owner=owner, lease_until=until(now))
    return ids


@contextmanager
def held(generation_id: uuid.UUID | str, *, kind: str, states: Collection[State]) -> Iterator[str]:
    """The lease for the length of a block, renewed behind it; yields the owner's name, or "" where it was taken."""
    owner = new_owner(kind)
    if not take(generation_id, owner=owner, states=states):
        yield ""
        return
    try:
        with renewed(generation_id, owner=owner):
            yield owner
    finally:
        give_back([generation_id], owner=owner)


@contextmanager
def renewed(generation_id: uuid.UUID | str, *, owner: str) -> Iterator[None]:
    """Renew a lease in the background while a block talks to the network."""
    done = threading.Event()
    beat = threading.Thread(target=_renew_until, args=(done, generation_id, owner), daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()


def _renew_until(done: threading.Event, generation_id: uuid.UUID | str, owner: str) -> None:
    try:
        while not done.wait(settings.LEASE_SECONDS / 3):
            try:
                renew([generation_id], owner=owner)
            except DatabaseError:
                connection.close()  # a lapsed lease only means that somebody else may look as well
    finally:
        connection.close()
