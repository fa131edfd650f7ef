"""The table in the package's docstring names the tests there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import tests.fault_matrix
from tests.fault_matrix.marks import MATRIX

pytestmark = MATRIX

# What shows that the installation works at all is no row of the matrix.
NO_ROWS = {"test_on_a_good_day_a_clip_is_made_from_a_picture_and_paid_for"}


def test_every_test_stands_in_a_row_and_every_row_has_its_tests() -> None:
    table = str(tests.fault_matrix.__doc__)
    beginnings = set(re.findall(r"(test_\w{12,}?)_?(?:\.\.\.|[ ,|\[])", table))
    whole_files = set(re.findall(r"(test_\w+): all", table))
    unnamed, used = set(), set()
    for path in Path(__file__).parent.glob("test_*.py"):
        names = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        if path.stem in whole_files or path == Path(__file__):
            continue
        for name in names - NO_ROWS:
            found = {each for each in beginnings if name.startswith(each)}
            used |= found
            unnamed |= set() if found or not name.startswith("test_") else {name}
    assert unnamed == set()
    assert {each for each in beginnings - used if each.count("_") > 2} == set()
