"""Puts the wall clock of one process wrong while the drill says so. Not a room: a directory for PYTHONPATH.

Python imports a module of this name in every process at its start. This one looks every tenth of a second at the file
that CLIPLEDGER_DRILL_CLOCK names: seconds by which the clock is to be wrong. Celery and every library see the wrong
time too; the clocks that nobody can set (the monotonic one, PostgreSQL's) stay right, as they do on a machine.
"""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

LOOK_SECONDS = 0.1
_traveller: "time_machine.travel | None" = None
_off = 0.0


def _wanted(path: Path) -> float:
    try:
        return float(path.read_text() or 0)
    except (OSError, ValueError):
        return 0.0


def _follow(path: Path) -> None:
    # A forked child has the clock of its parent, and the parent's traveller with it.
    global _traveller, _off
    while True:
        wanted = _wanted(path)
        if wanted != _off:
            if _traveller is not None:
                _traveller.stop()
            _traveller, _off = _travelled(wanted), wanted
        time.sleep(LOOK_SECONDS)


def _travelled(seconds: float) -> "time_machine.travel | None":
    if not seconds:
        return None
    traveller = time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds))
    traveller.start()
    return traveller


def _start() -> None:
    threading.Thread(target=_follow, args=(Path(os.environ["CLIPLEDGER_DRILL_CLOCK"]),), daemon=True).start()


if os.environ.get("CLIPLEDGER_DRILL_CLOCK"):
    import time_machine  # at once: a fork in the middle of an import leaves the child with half a module

    _start()
    # A forked child has no threads but its own.
    os.register_at_fork(after_in_child=_start)
