"""The demo team of `make run`: made once, found again, never in production."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts import ledger
from accounts.models import Membership, Team, User

pytestmark = pytest.mark.django_db


def seed(password_file: Path) -> str:
    out = io.StringIO()
    call_command("seed_demo", password_file=password_file, stdout=out)
    return out.getvalue()


def test_it_makes_a_team_with_credits_an_admin_and_a_member_with_a_budget(tmp_path: Path) -> None:
    printed = seed(tmp_path / "run" / "password")
    password = (tmp_path / "run" / "password").read_text().strip()
    assert all(word in printed for word in ("demo@example.com", "member@example.com", password))
    admin, member = User.objects.get(email="demo@example.com"), User.objects.get(email="member@example.com")
    assert admin.check_password(password)
    assert member.check_password(password)
    assert (admin.is_staff, admin.is_superuser, member.is_staff, member.is_superuser) == (
        True,
        True,
        False,
        False,
    )
    assert {m.user: m.role for m in Membership.objects.all()} == {admin: "admin", member: "member"}
    wallet = Team.objects.get(slug="demo").wallet
    assert ledger.balance(wallet).available == 5_000
    (status,) = ledger.budget_status(wallet, member)
    assert (status.limit, status.budget.period) == (1_000, "month")
    assert ledger.budget_status(wallet, admin) == []


def test_a_second_run_grants_nothing_and_keeps_what_was_changed(tmp_path: Path) -> None:
    first = seed(tmp_path / "password")
    wallet = Team.objects.get(slug="demo").wallet
    admin, member = User.objects.get(email="demo@example.com"), User.objects.get(email="member@example.com")
    ledger.set_budget(wallet, user=member, limit_credits=7, period="month", actor=admin, reason="Changed")
    entries = wallet.entries.count()
    assert seed(tmp_path / "password") == first
    assert wallet.entries.count() == entries
    assert ledger.balance(wallet).granted == 5_000
    assert ledger.budget_status(wallet, member)[0].limit == 7
    assert User.objects.count() == 2


def test_the_password_is_readable_by_its_owner_only_and_the_printed_one_always_works(tmp_path: Path) -> None:
    file = tmp_path / "password"
    seed(file)
    assert file.stat().st_mode & 0o077 == 0
    file.write_text("another long password\n")
    assert "another long password" in seed(file)
    assert User.objects.get(email="demo@example.com").check_password("another long password")


def test_it_refuses_in_production(tmp_path: Path, settings: Any) -> None:
    settings.IS_PRODUCTION = True
    with pytest.raises(CommandError, match="does not run in production"):
        seed(tmp_path / "password")
    assert not User.objects.exists()
