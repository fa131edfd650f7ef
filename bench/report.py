"""What a measurement says, and the file they all end up in."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.sizes import results

LATEST = results("latest.json")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """`value` in `unit`, `ratio` = value / what `versus` took, medians over `runs` interleaved rounds."""

    name: str
    value: float
    unit: str
    versus: str
    ratio: float
    runs: int
    conditions: str


def compare(
    name: str, ours: Sequence[float], theirs: Sequence[float], *, unit: str, versus: str, conditions: str
) -> Measurement:
    """Medians of both sides and the median of the pairwise ratios, so that a drifting machine matters less."""
    return Measurement(
        name=name,
        value=round(statistics.median(ours), 4),
        unit=unit,
        versus=f"{versus}: {statistics.median(theirs):.4g} {unit}",
        ratio=round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3),
        runs=len(ours),
        conditions=f"{conditions}; {machine()}",
    )


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def write(measurements: Sequence[Measurement], *, is_whole_run: bool) -> None:
    """Put these in the file; after some suites alone, what was measured under other names stays beside them."""
    names = {m.name for m in measurements}
    before = json.loads(LATEST.read_text()) if LATEST.exists() and not is_whole_run else []
    kept = [entry for entry in before if entry["name"] not in names]
    LATEST.write_text(json.dumps([*kept, *(asdict(m) for m in measurements)], indent=2) + "\n")


def line(m: Measurement) -> str:
    return f"{m.name}: {m.value:g} {m.unit} (versus {m.versus}) ratio {m.ratio:g} over {m.runs} runs"
