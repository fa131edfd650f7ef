"""Rows as CSV, streamed: no more than a few rows are held at once, and no cell is ever read as a formula."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

Cell = str | int | float | None
# What a spreadsheet takes for the beginning of a formula: OWASP, "CSV Injection".
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
LINES_AT_ONCE = 500


class _Lines:
    """A file for csv.writer that hands back what was written."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write(self, text: str) -> None:
        self.pieces.append(text)

    def taken(self) -> bytes:
        text = "".join(self.pieces)
        self.pieces.clear()
        return text.encode()


def csv_chunks(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    """UTF-8 with a mark, which Excel needs to see names with accents rightly."""
    lines = _Lines()
    lines.write("\ufeff")
    writer = csv.writer(lines)
    writer.writerow(header)
    for number, row in enumerate(rows, start=1):
        writer.writerow([guarded(cell) for cell in row])
        if number % LINES_AT_ONCE == 0:
            yield lines.taken()
    yield lines.taken()


def guarded(cell: Cell) -> Cell:
    """Text that a spreadsheet would run gets an apostrophe before it; numbers are numbers, negative ones too."""
    if isinstance(cell, str) and cell.startswith(FORMULA_STARTS):
        return f"'{cell}"
    return cell
