"""A member whose budget refuses, the admins who could let it through, and a way to ask."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from accounts import ledger
from accounts.models import Membership
from accounts.models.people import Role
from generations import asking
from generations.models import CreditRequest
from generations.views.picker import DEFAULT
from tests.factories import MembershipFactory, TeamFactory, UserFactory
from tests.generations.views.conftest import picture

PRICE = 49
LIMIT = 25


@pytest.fixture(autouse=True)
def media_root(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


def asker(*, available: int = 200, limit: int | None = LIMIT) -> Membership:
    """Somebody whose day has room for less than one clip."""
    member = MembershipFactory(team=TeamFactory(credits=available))
    if limit is not None:
        ledger.set_budget(
            member.team.wallet,
            user=member.user,
            limit_credits=limit,
            period="day",
            actor=UserFactory(),
            reason="Plan",
        )
    return member


def admin_of(member: Membership, **who: Any) -> Membership:
    return MembershipFactory(team=member.team, role=Role.ADMIN, **who)


def asked(member: Membership, **options: Any) -> CreditRequest:
    chosen: dict[str, Any] = {
        "engine": DEFAULT,
        "params": {"prompt": "The boat drifts"},
        "pictures": {"image_url": [picture(member)]},
        "form_token": uuid.uuid4(),
        "tag": "Harbour",
        "note": "For the client",
        "site_url": "https://video.example.com",
    } | options
    return asking.ask(member, **chosen)


@pytest.fixture
def member(db: None) -> Membership:
    return asker()


@pytest.fixture
def admin(member: Membership) -> Membership:
    return admin_of(member, user__name="Ann")
