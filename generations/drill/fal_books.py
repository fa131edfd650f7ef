"""What the sandbox knows of us: every POST, job, webhook and bill, by its control and billing endpoints."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

AUTHORIZATION = {"Authorization": "Key sandbox"}
QUICK_SECONDS = 3
TRIES = 20


@dataclass
class FalBooks:
    """`url` is the sandbox's, without a slash. Changes are tried once; what reads waits for a sandbox that is down."""

    url: str
    _http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, headers=AUTHORIZATION))

    def settings(self, **changes: object) -> bool:
        answer = self._http.post(f"{self.url}/control/settings", json=changes, timeout=QUICK_SECONDS)
        answer.raise_for_status()
        return True

    def finish(self, request_id: str) -> None:
        """Let a job end that never would."""
        self._http.post(f"{self.url}/control/jobs/{request_id}/finish", timeout=QUICK_SECONDS)

    def jobs(self) -> list[dict[str, Any]]:
        return list(self._get("/control/jobs")["jobs"])

    def posts(self) -> list[dict[str, Any]]:
        return list(self._get("/control/posts")["posts"])

    def webhooks(self) -> list[dict[str, Any]]:
        return list(self._get("/control/webhooks")["webhooks"])

    def bills_usd(self) -> dict[str, Decimal]:
        """What fal took, by request id, in US dollars."""
        events = self._get("/platform/v1/models/billing-events")["billing_events"]
        return {event["request_id"]: Decimal(event["cost_estimate_nano_usd"]) / 10**9 for event in events}

    def spent_usd(self) -> Decimal:
        """The sandbox's own total."""
        return Decimal(str(self._get("/control")["spent_usd"]))

    def _get(self, path: str) -> dict[str, Any]:
        for _ in range(TRIES):
            try:
                answer = self._http.get(self.url + path)
                answer.raise_for_status()
            except httpx.TransportError:
                time.sleep(0.5)
            else:
                return dict(answer.json())
        raise RuntimeError(f"the sandbox does not answer {path}")
