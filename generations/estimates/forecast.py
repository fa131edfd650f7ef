"""The line played through the places at fal: when each may start, and with that when it may be here.

Every place becomes free after what is left of the run on it; the next in line takes it for as long as its kind takes
on average. What usually goes before as well, of members who order meanwhile, is added in proportion. Means add up along
a place and spreads add up as squares, so a long line costs one heap operation for each that waits. What is paused takes
no place.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heapreplace
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import F
from django.db.models.fields.json import KeyTextTransform

from generations import lifecycle
from generations.estimates.history import DEPENDS_ON, History, Kind, Run, has_to_wait, kind
from generations.estimates.times import MIDDLE, UPPER, Times
from generations.models import Generation
from generations.states import AT_FAL, State

# For one ahead of which nothing is known; nothing is said about it itself.
GUESS_SECONDS = 120.0
# What is past all experience: the rest grows with what has passed.
LATE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is left until it is on the screen: `typical_seconds` as often less as more, `upper_seconds` one in ten more.

    `run_seconds` is what its run at fal usually takes in all. `is_late` says that it runs for longer than we ever saw.
    """

    typical_seconds: float
    upper_seconds: float
    run_seconds: float
    is_learned: bool
    is_late: bool = False
    ahead: int = 0


class Start(NamedTuple):
    """When a place becomes free: the mean, in seconds from now, and the square of its upper spread."""

    seconds: float = 0.0
    spread: float = 0.0

    def crowded(self, by: float) -> Start:
        return Start(self.seconds * by, self.spread * by * by)


@dataclass(frozen=True)
class Plan:
    """When everything that waits would start if nobody else came: `at_fal`, and `ours`, with None for one more.

    `halted` are the engines of which nothing is sent; None where nothing at all is.
    """

    at_fal: dict[uuid.UUID, Start]
    ours: dict[uuid.UUID | None, Start]
    crowding: float
    halted: frozenset[str] | None

    def start(self, pk: uuid.UUID | None, engine: str) -> Start | None:
        if self.halted is None or engine in self.halted:
            return None
        if pk in self.at_fal:
            return self.at_fal[pk]
        return self.ours[pk].crowded(self.crowding) if pk in self.ours else None


def plan(
    rows: Sequence[lifecycle.Waiting], known: History, *, now: datetime, halted: frozenset[str] | None
) -> Plan:
    """`rows` is our line, `halted` the engines of which nothing is sent (None: of all)."""
    places, queued = _at_fal(known, now, at_most=len(rows))
    lengths: dict[Kind, Start] = {}

    def played(waiting: Iterable[tuple[Any, Kind]]) -> dict[Any, Start]:
        starts = {}
        for pk, what in waiting:
            if what not in lengths:
                lengths[what] = _length(known.run(what), known.starting_seconds)
            its = lengths[what]
            starts[pk] = places[0]
            heapreplace(places, Start(places[0].seconds + its.seconds, places[0].spread + its.spread))
        return starts

    at_fal = played(queued)
    return Plan(at_fal, played(_ours(rows, halted)), known.crowding, halted)


def _ours(
    rows: Iterable[lifecycle.Waiting], halted: frozenset[str] | None
) -> Iterable[tuple[uuid.UUID | None, Kind]]:
    for row in rows:
        if halted is not None and row.engine not in halted:
            yield row.pk, (row.engine or "", row.duration, row.resolution)


def _length(run: Run | None, starting_seconds: float) -> Start:
    """How long it holds a place."""
    if run is None:
        return Start(GUESS_SECONDS, GUESS_SECONDS**2)
    return Start(starting_seconds + run.times.mean_rest(), _spread(run.times, 0.0))


def _spread(sample: Times, passed_seconds: float) -> float:
    return (sample.rest(UPPER, passed_seconds) - sample.rest(MIDDLE, passed_seconds)) ** 2


def _at_fal(
    known: History, now: datetime, *, at_most: int
) -> tuple[list[Start], list[tuple[uuid.UUID, Kind]]]:
    """Each place with what is left of the run on it, as a heap; and fal's own queue of ours, in order.

    Of free places no more than could be taken by that queue and `at_most` others.
    """
    inputs = (KeyTextTransform(name, "inputs") for name in DEPENDS_ON)
    rows = Generation.objects.filter(state__in=AT_FAL).order_by(
        F("fal_queue_position").asc(nulls_first=True), "submitted_at"
    )
    left, queued = [], []
    for pk, state, started_at, engine, *choices in rows.values_list(
        "pk", "state", "started_at", "engine", *inputs
    ):
        what: Kind = (engine, *choices)
        if state == State.SUBMITTED:
            queued.append((pk, what))
            continue
        run, passed = known.run(what), (now - (started_at or now)).total_seconds()
        left.append(_left(run, passed))
    busy = sorted(left)[-settings.FAL_CONCURRENCY :]
    free = min(settings.FAL_CONCURRENCY - len(busy), len(queued) + at_most)
    places = [*busy, *[Start()] * free]
    heapify(places)
    return places, queued


def _left(run: Run | None, passed_seconds: float) -> Start:
    if run is not None and run.times.has_left(passed_seconds):
        return Start(run.times.mean_rest(passed_seconds), _spread(run.times, passed_seconds))
    rest = LATE_SHARE * passed_seconds if run else max(GUESS_SECONDS - passed_seconds, GUESS_SECONDS / 4)
    return Start(rest, rest**2)


def of(generation: Generation, known: History, plan: Plan | None, *, now: datetime) -> Estimate | None:
    """One that is under way; `plan` is needed where it waits."""
    run = known.run(kind(generation.engine, generation.inputs))
    if run is None:
        return None
    if generation.state == State.RUNNING:
        return _running(run, known, passed_seconds=_since(generation.started_at, now))
    if generation.state == State.STORING:
        return _storing(run, known, passed_seconds=_since(generation.completed_at, now))
    start = plan.start(generation.pk, generation.engine) if plan else None
    if start is None:
        return None
    if generation.state == State.REQUESTED and generation.next_check_at:
        # After a failure at fal it is not sent again before this.
        pause_seconds = (generation.next_check_at - now).total_seconds()
        start = Start(max(start.seconds, pause_seconds), start.spread)
    return _whole(run, known, start)


def of_new(
    engine: str, params: Mapping[str, object], known: History, plan: Plan, *, ahead: int
) -> Estimate | None:
    run = known.run(kind(engine, params))
    start = plan.start(None, engine)
    if run is None or start is None:
        return None
    return _whole(run, known, start, ahead=ahead)


def usual_seconds(engine: str, known: History) -> float | None:
    """The middle of what a new one takes on a free place, over all choices."""
    run = known.run(kind(engine, {}))
    return _whole(run, known, Start()).typical_seconds if run else None


def _since(moment: datetime | None, now: datetime) -> float:
    return max((now - moment).total_seconds(), 0.0) if moment else 0.0


def _whole(run: Run, known: History, start: Start, *, ahead: int = 0) -> Estimate:
    middle, upper = run.times.rest(MIDDLE), run.times.rest(UPPER)
    stored, stored_upper = known.storing.rest(MIDDLE), known.storing.rest(UPPER)
    typical = start.seconds + known.starting_seconds + middle + stored
    spread = math.sqrt(start.spread + (upper - middle) ** 2 + (stored_upper - stored) ** 2)
    return Estimate(typical, _upper(run, known, typical, spread), middle, run.is_learned, ahead=ahead)


def _upper(run: Run, known: History, typical: float, spread: float) -> float:
    """What nine of ten keep: by how those told something like it did, else by how runs scatter."""
    kept = known.kept.get(has_to_wait(typical, run.times)) if run.is_learned else None
    return typical * max(kept.rest(UPPER), 1.0) if kept else typical + spread


def _running(run: Run, known: History, *, passed_seconds: float) -> Estimate:
    stored, usual = known.storing.rest(MIDDLE), run.times.rest(MIDDLE)
    if not run.times.has_left(passed_seconds):
        rest = LATE_SHARE * passed_seconds + stored
        return Estimate(rest, 2 * rest, usual, run.is_learned, is_late=True)
    middle, upper = run.times.rest(MIDDLE, passed_seconds), run.times.rest(UPPER, passed_seconds)
    return Estimate(middle + stored, upper + known.storing.rest(UPPER), usual, run.is_learned)


def _storing(run: Run, known: History, *, passed_seconds: float) -> Estimate:
    usual, storing = run.times.rest(MIDDLE), known.storing
    if not storing.has_left(passed_seconds):
        rest = LATE_SHARE * passed_seconds
        return Estimate(rest, 2 * rest, usual, run.is_learned, is_late=True)
    middle, upper = storing.rest(MIDDLE, passed_seconds), storing.rest(UPPER, passed_seconds)
    return Estimate(middle, upper, usual, run.is_learned)
