"""A demo team with credits, an admin and a member, for `make run`. Safe to repeat: what is there stays."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import clock, ledger
from accounts.models import Membership, Team, User
from accounts.models.people import Role

DEMO_CREDITS = 5_000
DEMO_BUDGET = 1_000
ADMIN, MEMBER = "demo@example.com", "member@example.com"


class Command(BaseCommand):
    help = "Create the demo team with credits and its two sign-ins, and print them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--password-file", type=Path, default=settings.VAR_DIR / "run" / "demo_password")

    def handle(self, *args: Any, password_file: Path, **options: Any) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError("seed_demo makes well-known sign-ins and does not run in production.")
        password = _kept_password(password_file)
        team, _ = Team.objects.get_or_create(slug="demo", defaults={"name": "Demo Studio"})
        admin = _member(team, ADMIN, "Dana Demo", Role.ADMIN, password)
        member = _member(team, MEMBER, "Mika Member", Role.MEMBER, password)
        _fill(team, admin, member)
        self.stdout.write(f"Sign in as {ADMIN} (team admin) or {MEMBER}; password: {password}")


def _kept_password(path: Path) -> str:
    if path.exists():
        return path.read_text().strip()
    password = secrets.token_urlsafe(9)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(password + "\n")
    return password


def _member(team: Team, email: str, name: str, role: str, password: str) -> User:
    user = User.objects.filter(email=email).first() or User.objects.create_user(
        email, password, name=name, is_staff=role == Role.ADMIN, is_superuser=role == Role.ADMIN
    )
    if not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    Membership.objects.get_or_create(team=team, user=user, defaults={"role": role})
    return user


def _fill(team: Team, admin: User, member: User) -> None:
    wallet = ledger.open_wallet(team)
    if wallet.entries.filter(idempotency_key=f"demo:{team.pk}").exists():
        return
    ledger.grant(
        wallet,
        amount=DEMO_CREDITS,
        source="promotional",
        reason="Demo credits",
        expires_at=clock.now() + timedelta(days=365),
        idempotency_key=f"demo:{team.pk}",
        actor=None,
    )
    ledger.set_budget(
        wallet, user=member, limit_credits=DEMO_BUDGET, period="month", actor=admin, reason="Demo budget"
    )
