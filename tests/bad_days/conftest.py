"""A real sandbox process, a real PostgreSQL and Valkey, and a team with credits: what every bad day begins with."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pytest_django.fixtures import Settings

from accounts.models import Membership
from generations import media
from generations.models import Picture
from tests.bad_days.story import Story
from tests.factories import MembershipFactory, TeamFactory
from tests.sandbox_server import RunningSandbox, running_sandbox

JOB_SECONDS = 0.25


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running_sandbox(tmp_path_factory.mktemp("fal"), job_seconds=JOB_SECONDS, concurrency=8) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: RunningSandbox) -> Iterator[RunningSandbox]:
    """The sandbox with nothing remembered from the test before."""
    sandbox_process.control("reset", {"jobs": True})
    sandbox_process.settings(locked="", job_seconds=JOB_SECONDS)
    yield sandbox_process
    sandbox_process.settings(locked="")


@pytest.fixture
def fal_settings(settings: Settings, sandbox: RunningSandbox, tmp_path: Path) -> Settings:
    """Everything that says where fal is says the sandbox; waiting times are those of a test."""
    settings.FAL_KEY = "key-id:key-secret"
    settings.FAL_QUEUE_URL = sandbox.queue_url
    settings.FAL_REST_URL = sandbox.rest_url
    settings.FAL_CDN_URL = sandbox.cdn_url
    settings.FAL_PLATFORM_URL = sandbox.platform_url
    settings.FAL_JWKS_URL = sandbox.jwks_url
    settings.FAL_WEBHOOK_BASE_URL = ""
    settings.FAL_WEBHOOK_USER_ID = ""
    settings.FAL_IS_SANDBOX = True
    settings.FAL_CONCURRENCY = 8
    settings.RETRY_SECONDS = 0.01
    settings.LOST_AFTER_SECONDS = 0.1
    settings.PAUSE_PROBE_SECONDS = 0.2
    settings.SUBMIT_READ_TIMEOUT_SECONDS = 1.0
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings


@pytest.fixture
def member(db: None) -> Membership:
    """Somebody in a team that has 200 credits: enough for four clips of Hailuo 2.3 Pro."""
    return MembershipFactory.create(team=TeamFactory(credits=200))


@pytest.fixture
def picture(member: Membership, fal_settings: Settings) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (640, 360), (90, 140, 190)).save(file, "JPEG")
    file.seek(0)
    return media.accept_picture(file, team=member.team, user=member.user, original_name="lake.jpg")


@pytest.fixture
def story(member: Membership, picture: Picture, sandbox: RunningSandbox) -> Callable[..., Story]:
    """Order a clip; faults are given as the sandbox's directives: `story("run=500")`."""

    def begin(directives: str = "", **options: Any) -> Story:
        return Story.ordered(directives, member=member, picture=picture, sandbox=sandbox, **options)

    return begin
