"""Plots drawn by hand: two logarithmic axes, a line for each design, its name beside it. SVG, no script, no style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 60, 40, 24, 190
NAME_GAP_PX = 16
FEWEST, SIZES = 6, (10, 100, 1_000, 10_000)
COLOURS = ("#2563eb", "#64748b", "#dc2626", "#b45309", "#7c3aed", "#0f766e")

Points = Sequence[tuple[float, float]]


def plot(label: str, lines: Mapping[str, Points], *, dashed: Mapping[str, Points] | None = None) -> str:
    """`label` says what is upward; a line is (in flight, value) in order; `dashed` share the colours by name."""
    others = dashed or {}
    decades = _decades([value for line in (*lines.values(), *others.values()) for _, value in line])
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(lines)}
    parts = _axes(label, decades)
    for name, line in others.items():
        parts += _curve(line, decades, colours[name], is_dashed=True)
    for name, line in lines.items():
        parts += _curve(line, decades, colours[name], is_dashed=False)
    parts += _names({name: _y(line[-1][1], decades) for name, line in lines.items() if line}, colours)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(label)} against generations in flight">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _decades(values: Sequence[float]) -> tuple[float, ...]:
    """The powers of ten that hold all of them; a zero lies on the floor."""
    found = [value for value in values if value > 0] or [1.0]
    first, last = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)))
    return tuple(10.0**power for power in range(first, max(last, first + 1) + 1))


def _x(size: float) -> float:
    share = math.log10(max(size, FEWEST) / FEWEST) / math.log10(SIZES[-1] / FEWEST)
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(value: float, decades: Sequence[float]) -> float:
    share = math.log10(max(value, decades[0]) / decades[0]) / math.log10(decades[-1] / decades[0])
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)


def _axes(label: str, decades: Sequence[float]) -> list[str]:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<text x="8" y="14" fill="#334155">{escape(label)}</text>']
    for value in decades:
        y = _y(value, decades)
        parts.append(f'<path d="M{LEFT} {y}H{right}" stroke="#cbd5e1"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value:,g}</text>')
    parts += [f'<text x="{_x(size)}" y="{floor + 18}" text-anchor="middle">{size:,}</text>' for size in SIZES]
    parts.append(f'<text x="{right}" y="{floor + 34}" text-anchor="end" fill="#334155">in flight</text>')
    return parts


def _curve(line: Points, decades: Sequence[float], colour: str, *, is_dashed: bool) -> list[str]:
    points = [(_x(size), _y(value, decades)) for size, value in line]
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if is_dashed else ""
    drawn = [f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'] if points else []
    return [*drawn, *(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points)]


def _names(heights: Mapping[str, float], colours: Mapping[str, str]) -> list[str]:
    """Each beside the end of its line, as near as the others let it."""
    parts, lowest = [], 0.0
    for name, y in sorted(heights.items(), key=lambda each: each[1]):
        lowest = max(y, lowest + NAME_GAP_PX)
        at = f'x="{WIDTH - RIGHT + 14}" y="{round(lowest + 4, 1)}"'
        parts.append(f'<text {at} fill="{colours[name]}">{escape(name)}</text>')
    return parts
