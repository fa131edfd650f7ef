"""How a shell beside `make run` finds the running servers: var/run/env, read by manage.py before settings are.

The real environment always wins. A file left behind by a run that was killed counts for nothing, and neither does one
of a run against another database: what a deployment forgot to set must fail loudly and not be borrowed from here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from config.stack import places

CHECKOUT = Path(__file__).resolve().parents[2]
# Another directory is another installation beside the first: its own database, media and password.
RUN_DIRECTORY = Path(os.environ.get("CLIPLEDGER_RUN_DIRECTORY") or CHECKOUT / "var" / "run").resolve()
TEST_DIRECTORY = CHECKOUT / "var" / "test"
DEVELOPMENT = "development"


def write(directory: Path, values: Mapping[str, str]) -> None:
    """Keep the environment of a run for other shells of the same user: KEY=VALUE lines, mode 0600."""
    places.write_private(directory / "env", "".join(f"{name}={value}\n" for name, value in values.items()))


def read(directory: Path) -> dict[str, str]:
    """The environment of the run that lives in `directory`; empty when none does or it is not ours to read."""
    if not places.is_locked(directory / "lock"):
        return {}
    try:
        lines = (directory / "env").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)


def adopt(directory: Path = RUN_DIRECTORY) -> None:
    """Give this process the environment of a running `make run`; without one and without a database, development."""
    if os.environ.get("CLIPLEDGER_ENV", DEVELOPMENT) == DEVELOPMENT:
        values = read(directory)
        if os.environ.get("DATABASE_URL", values.get("DATABASE_URL")) == values.get("DATABASE_URL"):
            for name, value in values.items():
                os.environ.setdefault(name, value)
    if not os.environ.get("DATABASE_URL"):
        os.environ.setdefault("CLIPLEDGER_ENV", DEVELOPMENT)
