"""Every test of this room has a media directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Team, User
from tests.factories import TeamFactory, UserFactory
from tests.generations.media.makers import Server


@pytest.fixture(autouse=True)
def media_root(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def team(db: None) -> Team:
    return TeamFactory()


@pytest.fixture
def user(db: None) -> User:
    return UserFactory()


def files_in(root: Path) -> list[str]:
    """Every file below, as a relative path."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
