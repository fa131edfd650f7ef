"""A generation's pictures on their way to fal: fitted to the engine, uploaded with an expiry, never kept there."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from generations import catalogue, media
from generations.lifecycle.connection import fal_client
from generations.models import Generation, Picture


def uploaded(generation: Generation) -> dict[str, Any]:
    """The picture inputs as fal is sent them: one address, or a list where the engine takes several.

    Every call uploads anew, so an address names one attempt. Raises `fal.FalError` and `media.MediaError`.
    """
    engine = catalogue.get(generation.engine)
    urls: dict[str, list[str]] = {}
    for link in generation.picture_links.select_related("picture"):
        urls.setdefault(link.field, []).append(_upload(engine, link.picture))
    lists = {field.name for field in engine.picture_inputs if field.type == "array"}
    return {name: found if name in lists else found[0] for name, found in urls.items()}


def _upload(engine: catalogue.Engine, picture: Picture) -> str:
    prepared = media.prepare_for(engine, picture)
    with prepared.file as file:
        return fal_client().upload(
            file,
            content_type=prepared.content_type,
            file_name=prepared.file_name,
            expiration_seconds=settings.FAL_INPUT_SECONDS,
        )
