"""Both embedded servers of one directory, for `make run`, for tests and for one command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from config.stack import environment, places, postgres, valkey
from config.stack.errors import AlreadyRunningError, StackError

SLOTS = 64


@contextmanager
def running(directory: Path, *, is_durable: bool = True) -> Iterator[dict[str, str]]:
    """The variables of the servers that had to be started, DATABASE_URL and REDIS_URL; stopped on leaving.

    A variable that is set already means a server of the caller's own: it is used and nothing is started for it.
    The caller holds the directory's lock.
    """
    with ExitStack() as stack:
        values = {}
        if not os.environ.get("DATABASE_URL"):
            database = postgres.start(directory, checkout=environment.CHECKOUT, is_durable=is_durable)
            stack.callback(database.stop)
            values["DATABASE_URL"] = database.url
        if not os.environ.get("REDIS_URL"):
            broker = valkey.start(directory, is_durable=is_durable)
            stack.callback(broker.stop)
            values["REDIS_URL"] = broker.url
        yield values


@contextmanager
def of_our_own(*, is_durable: bool = False) -> Iterator[dict[str, str]]:
    """Servers that nobody else uses, in the first directory under var/test that no other session holds.

    Not durable they are faster: right for tests, wrong for measurements.
    """
    root = environment.TEST_DIRECTORY / ("durable" if is_durable else "fast")
    for directory in (root.parent.parent, root.parent, root):
        places.private_directory(directory)
    for number in range(SLOTS):
        directory = places.private_directory(root / str(number))
        try:
            held = places.lock(directory / "lock")
        except AlreadyRunningError:
            continue
        with held, running(directory, is_durable=is_durable) as values:
            yield values
        return
    raise StackError(f"All {SLOTS} directories under {root} are in use.")
