"""The line of everything that waits with us, in the order in which it will go to fal: `turns` with the rows it needs.

The line of one member (a person in a team) is in the order of `queued_at`, which they may change; `turns` weaves the
lines of all members into one. Dispatch takes the first of it, and the pages show places in it, so both ask here.
"""

from __future__ import annotations

import math
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.fields.json import KeyTextTransform

from accounts import clock
from accounts.models import Team
from generations.lifecycle import breaking, turns
from generations.lifecycle.turns import Member, Standing
from generations.models import Attempt, Generation
from generations.states import AT_FAL, State

# A turn used longer ago counts as never used; bounds what is read of somebody who works for several teams.
REMEMBERED = timedelta(days=1)
# A line so long costs tens of milliseconds, and every page that shows something waiting asks for it.
LONG = 200
LONG_KEPT_SECONDS = 2.0


class Waiting(NamedTuple):
    """One that waits, with what its time at fal may depend on. All None: one that somebody thinks of ordering."""

    pk: uuid.UUID | None = None
    engine: str | None = None
    duration: str | None = None
    resolution: str | None = None
    member: Member | None = None


class Place(NamedTuple):
    """The `number`-th of `total`."""

    number: int
    total: int

    @property
    def is_first(self) -> bool:
        return self.number == 1

    @property
    def is_last(self) -> bool:
        return self.number == self.total


class Positions(dict[uuid.UUID, int]):
    """How many are ahead of each waiting generation; what has just stopped waiting has nobody ahead."""

    def __missing__(self, pk: uuid.UUID) -> int:
        return 0


@dataclass(frozen=True)
class Line:
    """Everything that waits for its turn, first to go first, and how many wait in fal's own queue before them.

    The first `leaving` of them are being sent this moment: nothing moves them any more.
    """

    rows: list[Waiting]
    queued_at_fal: int
    leaving: int = 0

    @cached_property
    def positions(self) -> Positions:
        return Positions(
            (row.pk, self.queued_at_fal + place) for place, row in enumerate(self.rows) if row.pk is not None
        )

    @cached_property
    def own_places(self) -> dict[uuid.UUID, Place]:
        """Where each stands among what its own member has waiting."""
        own: dict[Member | None, list[uuid.UUID]] = defaultdict(list)
        for row in self.rows[self.leaving :]:
            if row.pk is not None:
                own[row.member].append(row.pk)
        return {pk: Place(place, len(pks)) for pks in own.values() for place, pk in enumerate(pks, start=1)}


_kept: tuple[float, Line] | None = None


def waiting_line(asked: Collection[uuid.UUID] = (), *, newcomer: Member | None = None) -> Line:
    """The line as it is now, in a number of statements that does not grow with it.

    A long one is kept in this process for two seconds and used again while it knows all that is `asked` for. With a
    `newcomer` it ends in one more place: an empty `Waiting`, where that member's next clip would stand.
    """
    global _kept  # noqa: PLW0603 - what this process knows
    if newcomer is not None:
        return _line(clock.now(), newcomer)
    if _kept and clock.steady_seconds() < _kept[0] and all(pk in _kept[1].positions for pk in asked):
        return _kept[1]
    found = _line(clock.now(), None)
    is_long = len(found.rows) > LONG
    _kept = (clock.steady_seconds() + LONG_KEPT_SECONDS, found) if is_long else None
    return found


def forget() -> None:
    """The order has changed here: what was kept is wrong."""
    global _kept  # noqa: PLW0603
    _kept = None


def _line(now: datetime, newcomer: Member | None) -> Line:
    own: dict[Member, deque[Waiting]] = defaultdict(deque)
    leaving: list[Waiting] = []  # leased: being sent this moment
    for user, team, lease_until, *row in _rows():
        is_leaving = lease_until is not None and lease_until >= now
        (leaving if is_leaving else own[user, team]).append(Waiting._make([*row, (user, team)]))
    if newcomer is not None:
        own[newcomer].append(Waiting())
    queued_at_fal = Generation.objects.filter(state=State.SUBMITTED).count()
    counts = Counter({member: len(waiting) for member, waiting in own.items()})
    rows = list(leaving)
    for member in _served(counts, now):
        rows.append(own[member].popleft())
        if rows[-1].pk is None:
            break  # what stands behind the newcomer is nothing to it
    return Line(rows, queued_at_fal, len(leaving))


def _rows() -> Iterable[tuple[Any, ...]]:
    duration, resolution = (KeyTextTransform(name, "inputs") for name in ("duration", "resolution"))
    rows = Generation.objects.filter(breaking.sendable(), state=State.REQUESTED).order_by("queued_at", "pk")
    return rows.values_list("user", "team", "lease_until", "pk", "engine", duration, resolution)


def waiting_position(generation: Generation) -> int | None:
    """How many are ahead of it, in our queue and in fal's together; None once it runs or is settled."""
    if generation.state == State.SUBMITTED:
        return generation.fal_queue_position
    if generation.state != State.REQUESTED:
        return None
    return waiting_positions([generation.pk])[generation.pk]


def waiting_positions(asked: Collection[uuid.UUID] = ()) -> Positions:
    """The same for everything that waits with us, by id; at most two seconds old for what is not `asked` for."""
    return waiting_line(asked).positions


def next_in_turn(rows: QuerySet[Generation], now: datetime) -> uuid.UUID | None:
    """The one to send of the `rows` that may go: the first in the line of the member whose turn it is."""
    waiting = Counter(dict.fromkeys(rows.order_by().values_list("user", "team").distinct(), 1))
    member = next(iter(_served(waiting, now)), None)
    if member is None:
        return None
    own = rows.filter(user=member[0], team=member[1]).order_by("queued_at", "pk")
    return own.values_list("pk", flat=True).first()


def places() -> int:
    """How many of ours fal may have at once: what it runs, and a few that wait there so that no place stands empty."""
    return int(settings.FAL_CONCURRENCY + settings.FAL_LEAD)


def holding_places(now: datetime) -> QuerySet[Generation]:
    """What fal has of ours, and what is on its way there.

    A lost attempt keeps its place only for a while: fal queues what is too many, and a broken line must not stop
    everybody for hours. One statement, because between two a row may move from the second set to the first unseen.
    """
    long_lost = Attempt.objects.lost().filter(
        sent_at__lt=now - timedelta(seconds=settings.LOST_AFTER_SECONDS)
    )
    at_fal = Q(state__in=AT_FAL) & ~Q(pk__in=long_lost.values("generation"))
    on_the_way = Q(state=State.REQUESTED, lease_until__gte=now)
    return Generation.objects.filter(at_fal | on_the_way)


def _served(waiting: Counter[Member], now: datetime) -> Iterable[Member]:
    if len(waiting) < 2:
        return waiting.elements()  # nobody to take turns with
    rows = holding_places(now).values_list("user", "team", "state", "submitted_at")
    holders = sorted(rows, key=lambda row: (row[2] == State.REQUESTED, row[3] or now))
    held = [(user, team) for user, team, *_ in holders]
    sending = [(user, team) for user, team, state, _ in holders if state == State.REQUESTED]
    standings = _standings(waiting.keys() | set(held), sending, now)
    return turns.order(waiting, standings, held=held, places=places(), now=now.timestamp())


# Each member's last turns, as many as a round has for them: an index read of (user, submitted_at) each.
_STANDINGS = """
SELECT m.user_id, m.team_id, team.share_weight / %(unit)s, array_agg(extract(epoch FROM used.submitted_at))
FROM unnest(%(users)s::bigint[], %(teams)s::bigint[]) AS m(user_id, team_id)
JOIN accounts_team team ON team.id = m.team_id
LEFT JOIN LATERAL (
    SELECT g.submitted_at FROM generations_generation g
    WHERE g.user_id = m.user_id AND g.team_id = m.team_id AND g.submitted_at > %(since)s
    ORDER BY g.submitted_at DESC LIMIT team.share_weight / %(unit)s
) used ON true
GROUP BY m.user_id, m.team_id, team.share_weight
"""


def _standings(
    members: Collection[Member], sending: Iterable[Member], now: datetime
) -> dict[Member, Standing]:
    """Weight and turns of each member. One that is being sent this moment has used a turn already."""
    busy = Counter(sending)
    params: dict[str, Any] = {
        "unit": math.gcd(*Team.objects.order_by().values_list("share_weight", flat=True).distinct()),
        "users": [user for user, _ in members],
        "teams": [team for _, team in members],
        "since": now - REMEMBERED,
    }
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(_STANDINGS, params)
        for user, team, weight, used in cursor.fetchall():
            times = (*(float(at) for at in used if at is not None), *([now.timestamp()] * busy[user, team]))
            found[user, team] = Standing(weight, times)
    return found
