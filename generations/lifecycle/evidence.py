"""When an engine's failures are everybody's and not one member's, and how long to wait between two probes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# Failures beyond these say nothing new.
MOST_REMEMBERED = 50
LEAST_GENERATIONS = 2
# The wait between probes doubles until it is this many times the first: 30 s become 10 minutes.
LONGEST_WAIT = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """fal failed this member's generation at this moment."""

    generation: str
    user: int
    at: datetime

    @classmethod
    def read(cls, row: Sequence[str | int]) -> Failure:
        """From what `written` made. Raises `ValueError` for anything else."""
        generation, user, at = row
        return cls(str(generation), int(user), datetime.fromisoformat(str(at)))

    @property
    def written(self) -> tuple[str, int, str]:
        return self.generation, self.user, self.at.isoformat()


def remembered(failures: Iterable[Failure], latest: Failure, *, window: timedelta) -> list[Failure]:
    """The failures that still count beside the latest one, oldest first, and it."""
    kept = [failure for failure in failures if failure.at > latest.at - window]
    return [*kept, latest][-MOST_REMEMBERED:]


def is_everybodys(failures: Sequence[Failure], *, least: int, has_others: bool) -> bool:
    """Whether so many failures in a row close an engine to everybody.

    One generation, whose input may be what breaks the engine, never does; nor does one member alone while others
    (`has_others`) have the engine work for them too.
    """
    members = {failure.user for failure in failures}
    return (
        len(failures) >= min(least, MOST_REMEMBERED)
        and len({failure.generation for failure in failures}) >= LEAST_GENERATIONS
        and (len(members) > 1 or not has_others)
    )


def probe_wait(probes: int, *, first: timedelta) -> timedelta:
    """How long to wait for the next probe after so many."""
    return first * min(1 << min(probes, 30), LONGEST_WAIT)
