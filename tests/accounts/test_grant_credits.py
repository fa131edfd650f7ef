"""Credits from the shell: `manage.py grant_credits`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from accounts import ledger
from accounts.models import Team
from tests.factories import TeamFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return TeamFactory(name="Film unit", slug="film", time_zone="Europe/Berlin")


def test_credits_arrive_with_their_reason_and_expire_in_a_year(team: Team, capsys: Any) -> None:
    call_command("grant_credits", "film", "500", "--reason", "Invoice 2026-7")
    assert capsys.readouterr().out == "500 credits for Film unit; 500 available.\n"
    entry, grant = team.wallet.entries.get(), team.wallet.grants.get()
    assert (entry.reason, entry.actor, grant.source) == ("Invoice 2026-7", None, "purchase")
    assert 364 <= (grant.expires_at - grant.created_at).days <= 366


def test_the_last_day_counts_to_its_end_in_the_teams_zone(team: Team) -> None:
    call_command(
        "grant_credits",
        "Film unit",
        "5",
        "--reason",
        "Fair",
        "--source",
        "promotional",
        "--expires",
        "2031-12-31",
    )
    assert team.wallet.grants.get().expires_at == datetime(2032, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))


def test_never_and_the_same_key_twice(team: Team) -> None:
    for _ in range(2):
        call_command("grant_credits", "film", "5", "--reason", "Gift", "--never", "--key", "gift-1")
    assert ledger.balance(team.wallet).available == 5
    assert team.wallet.grants.get().expires_at is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "5", "--reason", "x"], "0 teams are called 'nobody'"),
        (["film", "0", "--reason", "x"], "whole number of credits"),
        (["film", "5", "--reason", " "], "reason"),
        (["film", "5"], "required: --reason"),
        (["film", "5", "--reason", "x", "--expires", "2001-01-01"], "would have expired"),
        (["film", "5", "--reason", "x", "--expires", "soon"], "wants a date"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_granted(team: Team, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("grant_credits", *arguments)
    assert not team.wallet.entries.exists()
