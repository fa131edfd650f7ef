"""After any number of acts and kills: paper, books, clips and fal's bill agree, to the credit and to the cent."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from config.stack import environment

SEED = 2026


def played(acts: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.machine.play", str(acts), str(SEED)],
        check=False,
        cwd=environment.CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("{"), f"{done.stdout}\n{done.stderr}"
    report: dict[str, Any] = json.loads(done.stdout)
    broken = {name: said for name, said in report["rules"].items() if said}
    assert (broken, report["wrong"], done.returncode) == ({}, [], 0), done.stdout
    assert report["is_quiet"]
    assert report["acts"] >= acts
    assert report["killed"]
    return report


@pytest.mark.slow
@pytest.mark.concurrency
def test_sixty_acts() -> None:
    report = played(60)
    assert report["did"]["order"] > 10


@pytest.mark.long
def test_ten_thousand_acts() -> None:
    report = played(10_000)
    # Each of them was done, and not only refused.
    done = {
        "ask",
        "approve",
        "declined",
        "withdrawn",
        "void",
        "extend",
        "refund",
        "change price",
        "reconcile",
    }
    assert done <= report["did"].keys()
