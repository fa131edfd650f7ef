"""Whether clips are simulated, so that every page can say so plainly."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def simulation(_request: HttpRequest) -> dict[str, bool]:
    return {"is_simulation": settings.FAL_IS_SANDBOX}
