"""Writes the tables of docs/capacity.md and its plots from bench/*.json: `python -m bench.capacity`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.figures import Figures
from bench.plots import Points, plot

BENCH = Path(__file__).parent
DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- table: python -m bench.capacity -->\n", "<!-- end of table -->"
BEGIN_OTHERS = "<!-- measurements: python -m bench.capacity -->\n"
OTHERS = "| what | | against | ratio | runs |\n| --- | --- | --- | --- | --- |\n"
COST = (
    "| design | given | in flight | CPU cores | memory (PSS) | in flight per core | in flight per GiB "
    "| CPU per generation | servers meanwhile |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)
WAIT = (
    "| design | in flight | requests to fal | per generation | most in any second | streams | ended "
    "| noticed after p50 / p99 |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)

Value = Callable[[Figures], float | None]


def main() -> None:
    rows = [Figures.of(row) for row in json.loads((BENCH / "watcher.json").read_text())]
    page = DOCS / "capacity.md"
    text = _between(page.read_text(), BEGIN, tables(rows))
    page.write_text(_between(text, BEGIN_OTHERS, others(json.loads((BENCH / "latest.json").read_text()))))
    for name, drawing in drawings(rows).items():
        (DOCS / name).write_text(drawing)


def _between(page: str, begin: str, table: str) -> str:
    before, found, rest = page.partition(begin)
    return before + begin + table + END + rest.partition(END)[2] if found else page


def others(measurements: Sequence[dict[str, Any]]) -> str:
    """What the other suites measured, as it stands in latest.json; the conditions are there."""
    lines = (
        _cells(m["name"], f"{m['value']:g} {m['unit']}", m["versus"], f"{m['ratio']:g}", str(m["runs"]))
        for m in measurements
        if not m["name"].startswith("watcher,")
    )
    return OTHERS + "".join(lines)


def tables(rows: Sequence[Figures]) -> str:
    """What it costs, and how it waits: Markdown."""
    return COST + "".join(map(_cost, rows)) + "\n" + WAIT + "".join(map(_wait, rows))


def drawings(rows: Sequence[Figures]) -> dict[str, str]:
    """File name and SVG of each plot; the row with nothing in flight is no point of any."""
    some = [row for row in rows if row.in_flight]

    def lines(value: Value) -> dict[str, Points]:
        return {family: _line(some, family, value) for family in dict.fromkeys(map(_family, some))}

    return {
        "capacity.svg": plot("CPU cores", lines(lambda row: row.cores)),
        "capacity-memory.svg": plot("memory, MiB (PSS)", lines(lambda row: row.mib)),
        "capacity-requests.svg": plot(
            "questions to fal per generation", lines(lambda row: row.requests_per_generation)
        ),
        "capacity-delay.svg": plot(
            "seconds from COMPLETED to noticed: p50, dashed p99",
            lines(lambda row: row.delay_p50_seconds),
            dashed=lines(lambda row: row.delay_p99_seconds),
        ),
    }


def _family(row: Figures) -> str:
    """`Celery gevent 1,000` is `Celery gevent` at another size."""
    return re.sub(r" [\d,]+$", "", row.design)


def _line(rows: Sequence[Figures], family: str, value: Value) -> Points:
    found = [(float(row.in_flight), value(row)) for row in rows if _family(row) == family]
    return sorted((size, each) for size, each in found if each is not None)


def _cost(row: Figures) -> str:
    return _cells(
        row.design,
        f"{row.wanted:,}",
        f"{row.in_flight:,}",
        f"{row.cores:g}",
        f"{row.mib:g} MiB",
        _number(row.per_core if row.in_flight else None, "{:,.0f}"),
        _number(row.per_gib if row.in_flight else None, "{:,.0f}"),
        _number(row.cpu_seconds_per_generation, "{:.3g} s"),
        _number(row.server_cores, "{:g} cores"),
    )


def _wait(row: Figures) -> str:
    return _cells(
        row.design,
        f"{row.in_flight:,}",
        f"{row.requests_per_second:g}/s",
        _number(row.requests_per_generation, "{:,.1f}"),
        str(row.fullest_second),
        str(row.streams),
        str(row.noticed),
        "-" if row.delay_p50_seconds is None else f"{row.delay_p50_seconds:g} / {row.delay_p99_seconds:g} s",
    )


def _number(value: float | None, words: str) -> str:
    return "-" if value is None else words.format(value)


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
