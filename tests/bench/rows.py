"""A row of the watcher's bench with whatever a test cares about."""

from __future__ import annotations

from typing import Any

from bench.figures import Figures


def row(**changed: Any) -> Figures:
    usual: dict[str, Any] = {
        "design": "watcher",
        "wanted": changed.get("in_flight", 100),
        "in_flight": 100,
        "cores": 0.1,
        "server_cores": 0.2,
        "mib": 100.0,
        "requests_per_second": 5.0,
        "fullest_second": 7,
        "streams": 100,
        "noticed": 12,
        "delay_p50_seconds": 0.01,
        "delay_p99_seconds": 0.5,
    }
    return Figures(**{**usual, **changed})
