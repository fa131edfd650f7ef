"""What the last two weeks taught: how long each engine runs, how soon it starts, how long a clip takes to be stored.

Read anew every minute, by one bounded statement, and kept in this process: a page must not wait for Valkey to be told
how long something takes, and every process learns the same from the same rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection

from accounts import clock
from generations import catalogue
from generations.estimates import times
from generations.estimates.times import Times

SINCE = timedelta(days=14)
KEPT_SECONDS = 60.0
MOST_ROWS = 5_000
MOST_EACH = 200
# With fewer of exactly these choices, all of the engine's together tell more; with fewer of those, the catalogue.
LEAST_ALIKE, LEAST_OF_ENGINE = 8, 4
# So many orders must have come as told, or not, before they say how far what is told may be trusted.
LEAST_TOLD = 20
WAITED_SECONDS = 5.0
MOST_CROWDING = 4.0

Kind = tuple[str, str | None, str | None]
"""An engine and, where its inputs have them, the clip's duration and resolution: what its time depends on."""


@dataclass(frozen=True, slots=True)
class Run:
    """How long a run takes; `is_learned` where we saw it ourselves, otherwise the catalogue says so."""

    times: Times
    is_learned: bool


@dataclass(frozen=True)
class History:
    """`starting_seconds` from the POST to fal's start where nothing is in the way, `storing` from COMPLETED on.

    `crowding`: how many went before one that waited, for each that stood before it as it came. Members who come later
    have turns of their own, and the line as it stands cannot know of them. `kept`: how long orders took as a share of
    what they were told, for those that had to wait (True) and those that had not.
    """

    runs: dict[Kind, Times]
    starting_seconds: float
    storing: Times
    crowding: float = 1.0
    kept: Mapping[bool, Times] = field(default_factory=dict)

    def run(self, kind: Kind) -> Run | None:
        alike = self.runs.get(kind)
        if alike and len(alike) >= LEAST_ALIKE:
            return Run(alike, is_learned=True)
        of_engine = self.runs.get((kind[0], None, None))
        if of_engine and len(of_engine) >= LEAST_OF_ENGINE:
            return Run(of_engine, is_learned=True)
        return _usual(kind[0])


def has_to_wait(told_seconds: float, run: Times) -> bool:
    """Whether what is told is mostly the line ahead."""
    return told_seconds > 1.5 * run.rest(times.MIDDLE)


_kept: tuple[float, History] | None = None


def learned() -> History:
    """What is known now, at most a minute old."""
    global _kept  # noqa: PLW0603 - what this process knows
    if _kept is None or clock.steady_seconds() >= _kept[0]:
        _kept = (clock.steady_seconds() + KEPT_SECONDS, of_rows(_rows()))
    return _kept[1]


def forget() -> None:
    """Learn anew at the next call."""
    global _kept  # noqa: PLW0603
    _kept = None


def kind(engine: str, inputs: Any) -> Kind:
    """Which runs are alike. Inputs are compared as the text that JSON holds."""
    return (engine, *(None if inputs.get(name) is None else str(inputs[name]) for name in DEPENDS_ON))  # type: ignore[return-value]


DEPENDS_ON = ("duration", "resolution")
_ROWS = """
SELECT engine, inputs ->> 'duration', inputs ->> 'resolution',
       extract(epoch FROM completed_at - coalesce(started_at, submitted_at))::float8,
       extract(epoch FROM started_at - submitted_at)::float8,
       extract(epoch FROM settled_at - completed_at)::float8,
       extract(epoch FROM created_at)::float8, extract(epoch FROM submitted_at)::float8,
       extract(epoch FROM expected_at - created_at)::float8, extract(epoch FROM settled_at - created_at)::float8
FROM generations_generation
WHERE settled_at >= %(since)s AND state = 'succeeded' AND is_simulated = %(is_simulated)s
  AND submitted_at IS NOT NULL AND completed_at IS NOT NULL
ORDER BY settled_at DESC LIMIT %(most)s
"""


class Row(NamedTuple):
    """One clip that came; seconds, and `created_at` and `submitted_at` in seconds of the epoch."""

    engine: str
    duration: str | None
    resolution: str | None
    ran: float
    started: float | None
    stored: float
    created_at: float
    submitted_at: float
    told: float | None
    took: float


def _rows() -> list[Row]:
    """The newest clips. The sandbox keeps a time of its own, so neither learns from the other."""
    params: dict[str, Any] = {
        "since": clock.now() - SINCE,
        "is_simulated": settings.FAL_IS_SANDBOX,
        "most": MOST_ROWS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, params)
        return [Row._make(row) for row in cursor.fetchall()]


def of_rows(rows: Sequence[Row]) -> History:
    """What these clips teach, the newest first."""
    runs: dict[Kind, list[float]] = defaultdict(list)
    for row in rows:
        for each in {(row.engine, row.duration, row.resolution), (row.engine, None, None)}:
            if len(runs[each]) < MOST_EACH:
                runs[each].append(row.ran)
    samples = {each: times.sample(seconds) for each, seconds in runs.items()}
    starts = [row.started for row in rows if row.started is not None][:MOST_EACH]
    stores = [row.stored for row in rows[:MOST_EACH]]
    return History(
        samples,
        # Most of what waits at fal waits for a place, which the forecast plays through; the quick ones did not.
        times.sample(starts).rest(0.25) if starts else 1.0,
        times.sample(stores) if stores else times.usual(2, 6),
        _crowding(rows),
        _how_kept(rows, samples),
    )


def _crowding(rows: Sequence[Row]) -> float:
    by_turn = sorted((row.submitted_at, row.created_at) for row in rows)
    went, stood = 0, 0
    for row in rows[:MOST_EACH]:
        if row.submitted_at - row.created_at < WAITED_SECONDS:
            continue
        first, last = (bisect_right(by_turn, (at, 0.0)) for at in (row.created_at, row.submitted_at))
        meanwhile = by_turn[first : min(last, first + MOST_EACH)]
        went += 1 + len(meanwhile)
        stood += 1 + sum(created_at <= row.created_at for _, created_at in meanwhile)
    return min(went / stood, MOST_CROWDING) if stood else 1.0


def _how_kept(rows: Sequence[Row], runs: Mapping[Kind, Times]) -> dict[bool, Times]:
    shares: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        if row.told:
            of_class = shares[has_to_wait(row.told, runs[row.engine, None, None])]
            of_class.append(row.took / max(row.told, 1.0))
    return {
        waited: times.sample(found[:MOST_EACH])
        for waited, found in shares.items()
        if len(found) >= LEAST_TOLD
    }


def _usual(engine: str) -> Run | None:
    """The catalogue's word, which is about fal's own machines and not about the sandbox."""
    if settings.FAL_IS_SANDBOX:
        return None
    try:
        typical = catalogue.get(engine).timing.typical_seconds
    except catalogue.UnknownEngine:
        return None
    return Run(times.usual(*typical), is_learned=False) if typical else None
