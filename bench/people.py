"""A team with a member and credits, for a measurement."""

from __future__ import annotations

from django.db import connection

from accounts import ledger
from accounts.models import Membership, Team, User, Wallet
from accounts.models.people import Role


def make_team(name: str, *, amount: int) -> Wallet:
    """A wallet whose team has one admin and one never-expiring grant of `amount` credits."""
    team = Team.objects.create(name=name, slug=f"bench-{name}")
    user = User.objects.create_user(f"{name}@bench.example", "bench-password")
    Membership.objects.create(team=team, user=user, role=Role.ADMIN)
    wallet = ledger.open_wallet(team)
    ledger.grant(
        wallet, amount=amount, source="purchase", reason="bench", idempotency_key=f"bench:{name}", actor=None
    )
    return wallet


def forget_generations() -> None:
    """An earlier suite's work is nobody's now: its fal is gone, and our processes would go on asking for it."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE generations_generation CASCADE")
