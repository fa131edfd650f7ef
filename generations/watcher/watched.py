"""What the watcher knows of each request at fal, and the order in which they are looked at."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from generations import catalogue, fal
from generations.lifecycle import leases
from generations.models import Attempt
from generations.states import AT_FAL, AttemptState, State


@dataclass(slots=True, eq=False)
class Watched:
    """One request at fal that this process answers for. Times are of the loop's steady clock, `since` is not."""

    generation_id: uuid.UUID
    attempt_id: int
    status_url: str
    state: State
    since: datetime
    usual_seconds: float
    next_at: float = 0.0
    filed_at: float = inf
    failures: int = 0
    broken_streams: int = 0
    is_asking: bool = False
    is_over: bool = False
    last: object = None
    written_at: float = 0.0
    stream: asyncio.Task[None] | None = None

    @property
    def is_streamed(self) -> bool:
        return self.stream is not None and not self.stream.done()


@dataclass
class Agenda:
    """A heap of due times: whoever has been due longest comes first, however old or new; nobody is passed over.

    An entry is not moved when its time is put off, only when it is brought forward: one that comes up too early is
    filed again.
    """

    _heap: list[tuple[float, int, Watched]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def plan(self, each: Watched, *, at: float) -> None:
        each.next_at = at
        if at < each.filed_at:
            self._file(each)

    def due(self, *, now: float) -> Watched | None:
        """The one longest overdue, taken off; None where nothing is due."""
        while self._heap and self._heap[0][0] <= now:
            filed_at, _, each = heapq.heappop(self._heap)
            if each.is_over or filed_at != each.filed_at:
                continue
            each.filed_at = inf
            if each.next_at <= now:
                return each
            self._file(each)
        return None

    def _file(self, each: Watched) -> None:
        each.filed_at = each.next_at
        heapq.heappush(self._heap, (each.next_at, next(self._numbers), each))


def gist(status: fal.Status) -> object:
    """What of a status would change a row."""
    match status:
        case fal.InQueue():
            return ("queued", status.position)
        case fal.InProgress():
            return ("running", len(status.logs))
        case fal.Completed():
            return ("completed",)


def claimed(owner: str, limit: int) -> list[Watched]:
    """Take up to `limit` rows that nobody holds."""
    ids = leases.claim_due(owner=owner, states=AT_FAL, limit=limit)
    rows = Attempt.objects.filter(generation__in=ids, state=AttemptState.ACCEPTED).values_list(
        "generation_id",
        "pk",
        "status_url",
        "generation__state",
        "generation__started_at",
        "sent_at",
        "generation__engine",
    )
    usual: dict[str, float] = {}
    return [
        Watched(
            generation_id=generation_id,
            attempt_id=attempt_id,
            status_url=url,
            state=State(state),
            since=started_at or sent_at,
            usual_seconds=usual.setdefault(engine, _usual_seconds(engine)),
        )
        for generation_id, attempt_id, url, state, started_at, sent_at, engine in rows
    ]


def _usual_seconds(engine: str) -> float:
    try:
        usual = catalogue.get(engine).timing.typical_seconds
    except catalogue.UnknownEngine:
        return 0.0
    return float(usual[0]) if usual else 0.0
