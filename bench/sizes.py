"""Full sizes, or small ones with BENCH_QUICK=1: to see that a suite runs, never to quote from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
IS_QUICK = os.environ.get("BENCH_QUICK", "") not in {"", "0"}
HERE = Path(__file__).parent


def sized(full: T, quick: T) -> T:
    return quick if IS_QUICK else full


def results(name: str) -> Path:
    """The file for figures of this name; those of a quick run go where nobody keeps them."""
    if not IS_QUICK:
        return HERE / name
    directory = HERE.parent / "var" / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / name
