"""Rows as XLSX, streamed: no more than a few rows are held at once, and no cell is ever read as a formula."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import IO

import xlsxwriter

from accounts.sheets import Cell

# Excel's own limit, the header included.
MOST_SHEET_ROWS = 1_048_576
# Excel keeps fifteen digits of a number and at most this much text in a cell.
LONGEST_CELL_CHARS = 32_767


def xlsx_file(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    most_rows: int = MOST_SHEET_ROWS,
) -> IO[bytes]:
    """A temporary file, at its beginning, which is gone once closed; a new sheet where one is full."""
    file = TemporaryFile()  # noqa: SIM115 - the response closes it
    book = xlsxwriter.Workbook(file, {"constant_memory": True})
    bold = book.add_format({"bold": True})
    number, line, sheet = 0, most_rows, None
    for row in _at_least_one(rows):
        if line >= most_rows:
            number, line = number + 1, 1
            sheet = book.add_worksheet(title if number == 1 else f"{title} {number}")
            sheet.freeze_panes(1, 0)
            for column, name in enumerate(header):
                sheet.write_string(0, column, name, bold)
        if row is not None:
            _write(sheet, line, row)
            line += 1
    book.close()
    file.seek(0)
    return file


def _at_least_one(rows: Iterable[Sequence[Cell]]) -> Iterator[Sequence[Cell] | None]:
    yield None
    yield from rows


def _write(sheet: xlsxwriter.worksheet.Worksheet, line: int, row: Sequence[Cell]) -> None:
    """Each by its type: write() would guess, and take text for a formula or a link."""
    for column, cell in enumerate(row):
        if isinstance(cell, str):
            sheet.write_string(line, column, cell[:LONGEST_CELL_CHARS])
        elif cell is not None:
            sheet.write_number(line, column, cell)
