"""Run the measurements and write bench/latest.json: `python -m bench [name ...]` inside `config.stack exec`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.db import connections  # noqa: E402
from django.test.utils import setup_databases, teardown_databases  # noqa: E402

from bench import engine, estimates, ledger, pages, report, watcher  # noqa: E402

SUITES: dict[str, Callable[[], list[report.Measurement]]] = {
    "ledger": ledger.measure,
    "engine": engine.measure,
    "estimates": estimates.measure,
    "pages": pages.measure,
    "watcher": watcher.measure,
}


def main(names: list[str]) -> None:
    databases = setup_databases(verbosity=0, interactive=False)
    found: list[report.Measurement] = []
    try:
        for name in names or SUITES:
            for measurement in SUITES[name]():
                print(report.line(measurement), flush=True)
                found.append(measurement)
    finally:
        connections.close_all()
        teardown_databases(databases, verbosity=0)
    report.write(found)


if __name__ == "__main__":
    main(sys.argv[1:])
