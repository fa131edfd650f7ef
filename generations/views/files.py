"""Media, handed out only to whoever may see what it belongs to."""

from __future__ import annotations

import re
import uuid

from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from accounts.models import Membership
from accounts.permissions import member_required
from generations import media
from generations.models import Generation, Output, Picture
from generations.views.access import find

NAME_CHARS = 60


@require_safe
@member_required
def clip(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    generation = find(membership.user, pk)
    output = _output(generation)
    name = file_name(generation) if "download" in request.GET else None
    return media.serve(request, output.file, content_type=output.content_type, download_name=name)


@require_safe
@member_required
def poster(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    output = _output(find(membership.user, pk))
    if not output.poster:
        raise Http404
    return media.serve(request, output.poster, content_type="image/webp")


@require_safe
@member_required
def picture(request: HttpRequest, pk: uuid.UUID, *, membership: Membership) -> HttpResponseBase:
    found = get_object_or_404(Picture.objects.all().visible_to(membership.user), pk=pk)
    return media.serve(request, found.file.name or "", content_type=f"image/{found.format}")


def file_name(generation: Generation) -> str:
    """What a person would call the file: "a-boat-leaves-the-harbour-hailuo-2.3-pro-20261123.mp4"."""
    words = slugify(generation.prompt[:200])[:NAME_CHARS].strip("-") or "clip"
    entry = generation.catalogue_entry
    engine = re.sub(r"[^a-z0-9.]+", "-", (entry.label if entry else generation.engine).lower()).strip("-")
    return f"{words}-{engine}-{generation.created_at:%Y%m%d}.mp4"


def _output(generation: Generation) -> Output:
    output: Output | None = getattr(generation, "output", None)
    if output is None:
        raise Http404
    return output
