"""What tests are made of: people, teams and filled wallets. Money comes in through the ledger, as everywhere."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

import factory
from django.utils import timezone

from accounts import ledger
from accounts.models import Membership, Team, User, Wallet


class UserFactory(factory.django.DjangoModelFactory[User]):
    class Meta:
        model = User
        skip_postgeneration_save = True

    email = factory.Sequence(lambda n: f"person{n}@example.com")
    name = factory.Sequence(lambda n: f"Person {n}")
    password = factory.django.Password("correct horse battery")


class TeamFactory(factory.django.DjangoModelFactory[Team]):
    """A team with its wallet open; `credits=100` puts a grant that never expires into it."""

    class Meta:
        model = Team
        skip_postgeneration_save = True

    name = factory.Sequence(lambda n: f"Team {n}")
    slug = factory.Sequence(lambda n: f"team-{n}")

    @factory.post_generation
    def credits(self: Team, create: bool, extracted: int | None, **kwargs: Any) -> None:
        if not create:
            return
        wallet = ledger.open_wallet(self)
        if extracted:
            fill(wallet, extracted)


class MembershipFactory(factory.django.DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    team = factory.SubFactory(TeamFactory)
    user = factory.SubFactory(UserFactory)


def fill(wallet: Wallet, amount: int, **options: Any) -> None:
    """Grant credits; `expires_at=`, `source=` and the ledger's other options as wanted."""
    number = wallet.entries.count()
    options = {
        "source": "purchase",
        "reason": "Test credits",
        "idempotency_key": f"test:{wallet.pk}:{number}:{timezone.now().timestamp()}",
    } | options
    ledger.grant(wallet, amount=amount, **options)


def ip_address() -> str:
    """Attempts are counted per address in the shared cache, which outlives a test: for a test that signs in."""
    return str(ipaddress.IPv4Address(random.randrange(2**24, 2**31)))
