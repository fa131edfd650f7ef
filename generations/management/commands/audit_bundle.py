"""`manage.py audit_bundle --team SLUG --from DAY --to DAY`: a zip that proves a team's book away from here."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError

from accounts.errors import LedgerError
from accounts.ledger import bundle, heads
from accounts.models import Wallet
from generations.models import PriceVersion


class Command(BaseCommand):
    help = "Write a zip with a team's entries, grants, price versions and signed heads, and the program that checks it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--team", required=True, metavar="SLUG")
        parser.add_argument("--from", dest="start", required=True, type=_day, metavar="YYYY-MM-DD")
        parser.add_argument(
            "--to", dest="end", required=True, type=_day, metavar="YYYY-MM-DD", help="this day is in it"
        )
        parser.add_argument("--output", type=Path, metavar="PATH", help="books-SLUG-FROM-TO.zip unless given")

    def handle(self, *args: Any, **options: Any) -> None:
        wallet = Wallet.objects.select_related("team").filter(team__slug=options["team"]).first()
        if wallet is None:
            raise CommandError(f"No team with a wallet has the slug {options['team']!r}.")
        if options["end"] < options["start"]:
            raise CommandError("--to is before --from.")
        name = f"books-{wallet.team.slug}-{options['start']}-{options['end']}.zip"
        path: Path = options["output"] or Path(name)
        zone = ZoneInfo(wallet.team.time_zone)
        start, end = _midnight(options["start"], zone), _midnight(options["end"] + timedelta(days=1), zone)
        heads.seal()  # so that all of it is signed for, up to its last entry
        try:
            with path.open("wb") as out:
                extra = {"price_versions.jsonl": _price_versions(end)}
                about = bundle.write(out, wallet, start=start, end=end, extra=extra)
        except (LedgerError, OSError) as error:
            path.unlink(missing_ok=True)
            raise CommandError(str(error)) from error
        count = about["last_seq"] - about["before"]["seq"]
        self.stdout.write(f"{path}: {count} entries. Public key: {about['public_key']}")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no day: write it as 2026-11-26.") from error


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, tzinfo=zone)


def _price_versions(end: datetime) -> Iterator[dict[str, Any]]:
    rows = PriceVersion.objects.filter(created_at__lt=end).order_by("engine", "valid_from")
    names = ("id", "engine", "rule", "valid_from", "actor", "reason", "created_at")
    yield from (dict(row) for row in rows.values(*names).iterator())
