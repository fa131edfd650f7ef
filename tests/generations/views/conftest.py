"""Two teams that must not see each other, and generations in every state, made through the lifecycle itself."""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.test import Client
from django.utils import timezone
from PIL import Image

from accounts.models import Membership, User
from generations import catalogue, lifecycle, media
from generations.lifecycle import moves
from generations.models import Generation, Output, Picture
from generations.views.picker import DEFAULT
from tests.factories import MembershipFactory, TeamFactory

TEXT_ENGINE = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
CLIP = b"\0\0\0\x18ftypmp42" + b"\0" * 100


@pytest.fixture(autouse=True)
def media_root(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def member(db: None) -> Membership:
    return MembershipFactory(team=TeamFactory(credits=1000))


@pytest.fixture
def stranger(db: None) -> Membership:
    return MembershipFactory(team=TeamFactory(credits=1000), role="admin")


@pytest.fixture
def site(member: Membership) -> Client:
    return signed_in(member.user)


def signed_in(user: User) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(user)
    return client


def png(width: int = 640, height: int = 480) -> io.BytesIO:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 200)).save(file, "PNG")
    file.seek(0)
    file.name = "boat.png"
    return file


def picture(member: Membership, **sides: int) -> Picture:
    return media.accept_picture(png(**sides), team=member.team, user=member.user, original_name="boat.png")


def ordered(member: Membership, prompt: str = "A boat drifts out", **params: Any) -> Generation:
    return lifecycle.request(
        user=member.user,
        team=member.team,
        engine=TEXT_ENGINE,
        params={"prompt": prompt, **params},
        form_token=uuid.uuid4(),
    )


def from_picture(member: Membership) -> Generation:
    return lifecycle.request(
        user=member.user,
        team=member.team,
        engine=DEFAULT,
        params={"prompt": "The boat drifts"},
        pictures={"image_url": [picture(member)]},
        form_token=uuid.uuid4(),
    )


def advanced(generation: Generation, *steps: str, **how: Any) -> Generation:
    """Moved on through these states, with the money that goes with them."""
    with transaction.atomic():
        row = moves.lock(generation.pk)
        for step in steps:
            assert getattr(moves, step)(row, now=timezone.now(), **how.get(step, {}))
    return Generation.objects.get(pk=generation.pk)


def running(generation: Generation) -> Generation:
    return advanced(generation, "submitted", "running")


def ready(generation: Generation) -> Generation:
    done = advanced(generation, "submitted", "running", "storing", "succeeded")
    for name in (f"clips/{done.pk}.mp4", f"clips/{done.pk}.jpg"):
        default_storage.save(name, ContentFile(CLIP))
    Output.objects.create(
        generation=done,
        file=f"clips/{done.pk}.mp4",
        poster=f"clips/{done.pk}.jpg",
        content_type="video/mp4",
        size_bytes=len(CLIP),
        sha256="0" * 64,
        width=960,
        height=540,
        duration_seconds=6.0,
    )
    return Generation.objects.get(pk=done.pk)


def failed(generation: Generation, message: str = "fal had a fault of its own.") -> Generation:
    return advanced(generation, "submitted", "failed", failed={"code": "server_error", "message": message})


def form(member: Membership, **changed: Any) -> dict[str, Any]:
    """What a browser sends for the default engine."""
    sent = {
        "engine": DEFAULT,
        "shown_engine": DEFAULT,
        "form_token": str(uuid.uuid4()),
        "prompt": "The boat drifts out of the harbour",
        "image_url": str(picture(member).pk),
        "seen_credits": "49",
        **changed,
    }
    return {name: value for name, value in sent.items() if value is not None}


def engine(endpoint_id: str = DEFAULT) -> catalogue.Engine:
    return catalogue.get(endpoint_id)
