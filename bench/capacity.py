"""Writes docs/capacity.md's table and docs/capacity.svg from bench/watcher.json: `python -m bench.capacity`.

The plot is drawn by hand: two logarithmic axes, in flight against processor cores, a line for each design.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parent / "watcher.json"
DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- table: python -m bench.capacity -->\n", "<!-- end of table -->"
HEAD = (
    "| design | in flight | CPU cores | memory (PSS) | requests to fal | most in any second | streams "
    "| noticed after p50 / p99 |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 60, 40, 20, 170
COLOURS = {"watcher": "#2563eb", "bare aiohttp loop": "#64748b", "fal_client.subscribe": "#dc2626"}
CORES = (0.01, 0.1, 1.0)
SIZES = (10, 100, 1_000, 10_000)

Row = dict[str, Any]


def main() -> None:
    rows: list[Row] = json.loads(BENCH.read_text())
    page = DOCS / "capacity.md"
    before, _, rest = page.read_text().partition(BEGIN)
    table = HEAD + "".join(map(_line, rows))
    page.write_text(before + BEGIN + table + END + rest.partition(END)[2])
    (DOCS / "capacity.svg").write_text(_plot(row for row in rows if row["in_flight"]))


def _line(row: Row) -> str:
    late = (
        "-"
        if row["delay_p50_seconds"] is None
        else f"{row['delay_p50_seconds']} / {row['delay_p99_seconds']} s"
    )
    cells = (
        row["design"],
        f"{row['in_flight']:,}",
        row["cores"],
        f"{row['mib']} MiB",
        f"{row['requests_per_second']}/s",
        row["fullest_second"],
        row["streams"],
        late,
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def _x(size: float) -> float:
    share = math.log10(size / SIZES[0]) / math.log10(SIZES[-1] / SIZES[0])
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(cores: float) -> float:
    share = math.log10(max(cores, CORES[0]) / CORES[0]) / math.log10(CORES[-1] / CORES[0])
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)


def _plot(rows: Iterable[Row]) -> str:
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        lines[row["design"]].append(row)
    parts = [*_axes(), *(part for design, points in lines.items() for part in _curve(design, points))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="Processor cores against generations in flight">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _axes() -> list[str]:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<text x="{LEFT}" y="12" fill="#334155">CPU cores</text>']
    for cores in CORES:
        parts.append(f'<path d="M{LEFT} {_y(cores)}H{right}" stroke="#cbd5e1"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{_y(cores) + 4}" text-anchor="end">{cores:g}</text>')
    parts += [f'<text x="{_x(size)}" y="{floor + 18}" text-anchor="middle">{size:,}</text>' for size in SIZES]
    parts.append(f'<text x="{right}" y="{floor + 34}" text-anchor="end" fill="#334155">in flight</text>')
    return parts


def _curve(design: str, rows: list[Row]) -> list[str]:
    points = [(_x(row["in_flight"]), _y(row["cores"])) for row in rows]
    colour = COLOURS[design]
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    x, y = points[-1]
    return [
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points),
        f'<text x="{x + 8}" y="{y + 4}" fill="{colour}">{design}</text>',
    ]


if __name__ == "__main__":
    main()
