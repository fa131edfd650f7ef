"""Run the measurements and write bench/latest.json: `python -m bench [name ...]` inside `config.stack exec`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.db import connections  # noqa: E402
from django.test.utils import setup_databases, teardown_databases  # noqa: E402

from bench import report  # noqa: E402

# Each is a module bench.<name> with `measure() -> list[Measurement]`; without names all are run, in this order.
SUITES = ("ledger", "engine", "pages", "submits", "lives", "screen", "ingest", "watcher")


def suite(name: str) -> Callable[[], list[report.Measurement]]:
    """Raises SystemExit for a name that is none."""
    if name not in SUITES:
        raise SystemExit(f"no suite {name!r}: {', '.join(SUITES)}")
    measure: Callable[[], list[report.Measurement]] = import_module(f"bench.{name}").measure
    return measure


def main(names: list[str]) -> None:
    suites = [suite(name) for name in names or SUITES]
    databases = setup_databases(verbosity=0, interactive=False)
    found: list[report.Measurement] = []
    try:
        for measure in suites:
            for measurement in measure():
                print(report.line(measurement), flush=True)
                found.append(measurement)
    finally:
        connections.close_all()
        teardown_databases(databases, verbosity=0)
    report.write(found)


if __name__ == "__main__":
    main(sys.argv[1:])
