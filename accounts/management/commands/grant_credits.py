"""`manage.py grant_credits TEAM AMOUNT --reason TEXT`: put credits into a team's wallet from the shell."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from accounts import clock, ledger
from accounts.errors import LedgerError
from accounts.models import Team
from accounts.models.money import Source

DEFAULT_DAYS = 365


class Command(BaseCommand):
    help = "Grant credits to a team. The book names no actor for it: whoever has this shell is the operator."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("team", metavar="TEAM", help="slug or exact name")
        parser.add_argument("amount", metavar="AMOUNT", type=int, help="whole credits")
        parser.add_argument("--reason", required=True, help="why; auditors read it")
        parser.add_argument(
            "--source", choices=[Source.PURCHASE, Source.PROMOTIONAL], default=Source.PURCHASE
        )
        expiry = parser.add_mutually_exclusive_group()
        expiry.add_argument(
            "--expires", metavar="YYYY-MM-DD", help=f"last day, by default {DEFAULT_DAYS} days on"
        )
        expiry.add_argument("--never", action="store_true", help="the credits never expire")
        parser.add_argument("--key", default="", help="the same key twice grants once")

    def handle(self, *args: Any, **options: Any) -> None:
        team = _team(options["team"])
        wallet = ledger.open_wallet(team)
        try:
            entry = ledger.grant(
                wallet,
                amount=options["amount"],
                source=options["source"],
                reason=options["reason"],
                expires_at=_expiry(team, options),
                idempotency_key=options["key"] or f"shell:{uuid.uuid4()}",
                note="Granted from the shell",
            )
        except LedgerError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{entry.granted_delta} credits for {team.name}; {ledger.balance(wallet).available} available."
        )


def _team(name: str) -> Team:
    found = list(Team.objects.filter(Q(slug=name) | Q(name=name)))
    if len(found) != 1:
        raise CommandError(f"{len(found)} teams are called {name!r}; give a slug that exists.")
    return found[0]


def _expiry(team: Team, options: dict[str, Any]) -> datetime | None:
    """The end of the last day in the team's zone. By default from today's date, so that a repeated key still fits."""
    if options["never"]:
        return None
    zone = ZoneInfo(team.time_zone)
    if options["expires"] is None:
        last = clock.now().astimezone(zone).date() + timedelta(days=DEFAULT_DAYS)
    else:
        try:
            last = datetime.strptime(options["expires"], "%Y-%m-%d").replace(tzinfo=zone).date()
        except ValueError as error:
            raise CommandError("--expires wants a date such as 2030-12-31.") from error
    return datetime.combine(last + timedelta(days=1), time.min, tzinfo=zone)
