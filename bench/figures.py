"""What one way of waiting for fal cost at one size, and what follows from it: per core, per GiB, per generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

# Jobs of the light fal: up to QUEUE in fal's queue, then between SHORTEST and LONGEST of work, evenly spread.
QUEUE_SECONDS, SHORTEST_SECONDS, LONGEST_SECONDS = 30.0, 60.0, 240.0
MEAN_SECONDS_AT_FAL = QUEUE_SECONDS / 2 + (SHORTEST_SECONDS + LONGEST_SECONDS) / 2


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One side at one size, over one window in steady state.

    `wanted` is how many it was given, `in_flight` how many of them were at fal on average. `cores` and `mib` are those
    of its processes with all they started; `server_cores` is what PostgreSQL and Valkey took meanwhile.
    """

    design: str
    wanted: int
    in_flight: int
    cores: float
    server_cores: float | None
    mib: float
    requests_per_second: float
    fullest_second: int
    streams: int
    noticed: int
    delay_p50_seconds: float | None
    delay_p99_seconds: float | None

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        """From a row of watcher.json; an older one does not have everything."""
        return cls(**{"wanted": row["in_flight"], "server_cores": None, **row})

    @property
    def per_core(self) -> float | None:
        return self.in_flight / self.cores if self.cores else None

    @property
    def per_gib(self) -> float:
        return self.in_flight / (self.mib / 1024)

    @property
    def requests_per_generation(self) -> float | None:
        """By Little's law: with N in flight for W seconds each, N / W end every second."""
        return self._each(self.requests_per_second)

    @property
    def cpu_seconds_per_generation(self) -> float | None:
        return self._each(self.cores)

    def _each(self, rate: float) -> float | None:
        return rate * MEAN_SECONDS_AT_FAL / self.in_flight if self.in_flight else None


def at_share(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of them lie (nearest rank); None of nothing."""
    ordered = sorted(values)
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 3) if ordered else None
