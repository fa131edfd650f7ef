"""Run things at the same moment, each on a database connection of its own, and gather what came of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection


def together(operations: Sequence[Callable[[], Any]]) -> list[Any]:
    """The result or the exception of each operation, in order; all of them start behind one barrier."""
    start = threading.Barrier(len(operations))

    def run(operation: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            start.wait(timeout=30)
            return operation()
        except Exception as error:  # noqa: BLE001 - the caller looks at every one of them
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(operations)) as pool:
        return list(pool.map(run, operations))


def of_type(results: Sequence[Any], kind: type[Any]) -> list[Any]:
    return [result for result in results if isinstance(result, kind)]
