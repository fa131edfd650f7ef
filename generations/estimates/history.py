"""What the last two weeks taught: how long each engine runs, how soon it starts, how long a clip takes to be stored.

Read anew every minute, by one bounded statement, and kept in this process: a page must not wait for Valkey to be told
how long something takes, and every process learns the same from the same rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

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

Kind = tuple[str, str | None, str | None]
"""An engine and, where its inputs have them, the clip's duration and resolution: what its time depends on."""


@dataclass(frozen=True, slots=True)
class Run:
    """How long a run takes; `is_learned` where we saw it ourselves, otherwise the catalogue says so."""

    times: Times
    is_learned: bool


@dataclass(frozen=True)
class History:
    """`starting_seconds` from the POST to fal's start where nothing is in the way, `storing` from COMPLETED on."""

    runs: dict[Kind, Times]
    starting_seconds: float
    storing: Times

    def run(self, kind: Kind) -> Run | None:
        alike = self.runs.get(kind)
        if alike and len(alike) >= LEAST_ALIKE:
            return Run(alike, is_learned=True)
        of_engine = self.runs.get((kind[0], None, None))
        if of_engine and len(of_engine) >= LEAST_OF_ENGINE:
            return Run(of_engine, is_learned=True)
        return _usual(kind[0])


_kept: tuple[float, History] | None = None


def learned() -> History:
    """What is known now, at most a minute old."""
    global _kept  # noqa: PLW0603 - what this process knows
    if _kept is None or clock.steady_seconds() >= _kept[0]:
        _kept = (clock.steady_seconds() + KEPT_SECONDS, _learned(_rows()))
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
       extract(epoch FROM settled_at - completed_at)::float8
FROM generations_generation
WHERE settled_at >= %(since)s AND state = 'succeeded' AND is_simulated = %(is_simulated)s
  AND submitted_at IS NOT NULL AND completed_at IS NOT NULL
ORDER BY settled_at DESC LIMIT %(most)s
"""
Row = tuple[str, str | None, str | None, float, float | None, float]


def _rows() -> list[Row]:
    """The newest clips. The sandbox keeps a time of its own, so neither learns from the other."""
    params: dict[str, Any] = {
        "since": clock.now() - SINCE,
        "is_simulated": settings.FAL_IS_SANDBOX,
        "most": MOST_ROWS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, params)
        return list(cursor.fetchall())


def _learned(rows: Iterable[Row]) -> History:
    runs: dict[Kind, list[float]] = defaultdict(list)
    starts: list[float] = []
    stores: list[float] = []
    for engine, duration, resolution, ran, started, stored in rows:
        for each in {(engine, duration, resolution), (engine, None, None)}:
            if len(runs[each]) < MOST_EACH:
                runs[each].append(ran)
        if started is not None and len(starts) < MOST_EACH:
            starts.append(started)
        if len(stores) < MOST_EACH:
            stores.append(stored)
    return History(
        {each: times.sample(seconds) for each, seconds in runs.items()},
        # Most of what waits at fal waits for a place, which the forecast plays through; the quick ones did not.
        times.sample(starts).rest(0.25) if starts else 1.0,
        times.sample(stores) if stores else times.usual(2, 6),
    )


def _usual(engine: str) -> Run | None:
    """The catalogue's word, which is about fal's own machines and not about the sandbox."""
    if settings.FAL_IS_SANDBOX:
        return None
    try:
        typical = catalogue.get(engine).timing.typical_seconds
    except catalogue.UnknownEngine:
        return None
    return Run(times.usual(*typical), is_learned=False) if typical else None
