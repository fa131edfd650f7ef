"""Calls our webhook as fal does, with the sandbox's own key, or as fal never would."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from unittest import mock

import httpx
from django.urls import reverse

from generations.models import Attempt
from generations.sandbox import webhooks
from tests.fault_matrix.installation import Installation

HTTP_SECONDS = 30


@dataclass(frozen=True)
class Caller:
    site: Installation

    def __call__(
        self,
        attempt: Attempt,
        *,
        request_id: str = "",
        token: str = "",
        age_seconds: float = 0,
        is_forged: bool = False,
        user_id: str = webhooks.USER_ID,
        body: bytes = b"",
    ) -> int:
        """The status that came back; everything that is not said is as it should be."""
        request_id = request_id or attempt.request_id
        body = body or json.dumps({"request_id": request_id, "status": "OK", "payload": {}}).encode()
        signer = webhooks.Signer(self.site.house.directory / "sandbox" / "webhook.key")
        with mock.patch.object(webhooks, "USER_ID", user_id):
            headers = signer.headers(request_id, body, at=time.time() - age_seconds, forged=is_forged)
        url = self.site.house.web_url + reverse("generations:fal_webhook", args=[token or attempt.token])
        return httpx.post(url, content=body, headers=headers, timeout=HTTP_SECONDS).status_code
