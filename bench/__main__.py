"""Run the measurements and write bench/latest.json: `python -m bench [suite ...]` inside `config.stack exec`."""

from __future__ import annotations

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("LOG_LEVEL", "WARNING")
django.setup()

from django.db import connections  # noqa: E402
from django.test.utils import setup_databases, teardown_databases  # noqa: E402

from bench import people, report  # noqa: E402
from bench.suites import SUITES, suite  # noqa: E402


def main(names: list[str]) -> None:
    suites = [suite(name) for name in names or SUITES]
    databases = setup_databases(verbosity=0, interactive=False)
    found: list[report.Measurement] = []
    try:
        for measure in suites:
            people.forget_generations()
            for measurement in measure():
                print(report.line(measurement), flush=True)
                found.append(measurement)
            # What was measured outlives a later suite that fails.
            report.write(found, is_whole_run=False)
    finally:
        connections.close_all()
        teardown_databases(databases, verbosity=0)
    report.write(found, is_whole_run=not names)


if __name__ == "__main__":
    main(sys.argv[1:])
