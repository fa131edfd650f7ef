"""How we reach fal: one client per process and configuration, made after the process has forked."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cache

from django.conf import settings
from django.urls import reverse

from generations import fal
from generations.models import Attempt, Generation

_making = threading.Lock()


def fal_config() -> fal.FalConfig:
    """Where fal is, by the settings of this process."""
    return fal.FalConfig(
        key=settings.FAL_KEY,
        admin_key=settings.FAL_ADMIN_KEY,
        queue_url=settings.FAL_QUEUE_URL,
        rest_url=settings.FAL_REST_URL,
        cdn_url=settings.FAL_CDN_URL,
        platform_url=settings.FAL_PLATFORM_URL,
        jwks_url=settings.FAL_JWKS_URL,
        read_timeout_seconds=settings.SUBMIT_READ_TIMEOUT_SECONDS,
    )


def fal_client() -> fal.FalClient:
    """The client of this process; safe to share between its threads."""
    # Without the lock, threads that ask at the same first moment would each make one and leave theirs open.
    with _making:
        return _client_of((os.getpid(), fal_config()))


@cache
def _client_of(process_and_config: tuple[int, fal.FalConfig]) -> fal.FalClient:
    return fal.FalClient(process_and_config[1])


def receipt_of(attempt: Attempt, *, request_id: str = "") -> fal.Submitted:
    """The addresses of an attempt at fal: those of its receipt, or built from the id where the receipt was lost."""
    if attempt.status_url and not request_id:
        return fal.Submitted(attempt.request_id, attempt.status_url, attempt.response_url, attempt.cancel_url)
    return fal_client().locate(attempt.generation.engine, request_id or attempt.request_id)


def webhook_url(attempt: Attempt) -> str | None:
    """Where fal is to call us about this attempt; None where we cannot be reached from outside."""
    if not settings.FAL_WEBHOOK_BASE_URL:
        return None
    return f"{settings.FAL_WEBHOOK_BASE_URL}{reverse('generations:fal_webhook', args=[attempt.token])}"


def tags_of(generation: Generation, attempt: Attempt) -> Mapping[str, str]:
    """What fal's own books say about who this was for."""
    return {
        "team": str(generation.team_id),
        "member": str(generation.user_id),
        "generation": str(generation.pk),
        "attempt": str(attempt.pk),
    }
