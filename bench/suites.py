"""The suites by name. Each is a module bench.<name> with `measure() -> list[Measurement]`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from bench.report import Measurement

# Without names all are run, in this order; a new one is a name here.
SUITES = (
    "check",  # first: it proves every book there is, and others leave books that are not chained
    "ledger",
    "hordak",
    "books",
    "engine",
    "estimates",
    "pages",
    "simulator",
    "submits",
    "lives",
    "screen",
    "ingest",
    "watcher",
)


def suite(name: str) -> Callable[[], list[Measurement]]:
    """Raises SystemExit for a name that is none."""
    if name not in SUITES:
        raise SystemExit(f"no suite {name!r}: {', '.join(SUITES)}")
    measure: Callable[[], list[Measurement]] = import_module(f"bench.{name}").measure
    return measure
