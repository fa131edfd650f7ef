"""The web server's entry as it is, with a watch on `ledger.hold` and on the whole answer to POST /generate/.

`GET /bench-timings` tells the sums: wall seconds, and CPU seconds of the thread that did it (PostgreSQL's are not in
those; the wall has them).
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from config import wsgi

pages = wsgi.application  # Django is set up from here on

from accounts import ledger  # noqa: E402

_sums: Counter[str] = Counter()
_lock = threading.Lock()


def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(work)
    def measured(*args: Any, **kwargs: Any) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return work(*args, **kwargs)
        finally:
            _add(name, time.perf_counter() - wall, time.thread_time() - cpu)

    return measured


def _add(name: str, wall_seconds: float, cpu_seconds: float) -> None:
    with _lock:
        _sums.update({f"{name}_calls": 1, f"{name}_wall": wall_seconds, f"{name}_cpu": cpu_seconds})


_ordering = timed("post", pages)


def _pages(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/bench-timings":
        start_response("200 OK", [("Content-Type", "application/json")])
        with _lock:
            return [json.dumps(_sums).encode()]
    is_order = environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/generate/"
    answer: Iterable[bytes] = (_ordering if is_order else pages)(environ, start_response)
    return answer


ledger.hold = timed("hold", ledger.hold)
wsgi.application = _pages  # type: ignore[assignment]

from config.asgi import application  # noqa: E402

__all__ = ["application"]
