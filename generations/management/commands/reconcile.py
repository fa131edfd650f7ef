"""`manage.py reconcile`: our books against fal's bills; beat's bell does the same daily. Needs FAL_ADMIN_KEY."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from generations import fal, reconciliation


class Command(BaseCommand):
    help = "Read fal's bills, say what each is by our books, and print the unexplained US dollars."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from", dest="first", metavar="DAY", help="read these days again (UTC, YYYY-MM-DD)"
        )
        parser.add_argument("--to", dest="last", metavar="DAY", help="the last of them, included")
        parser.add_argument("--json", action="store_true", help="the figures as JSON, amounts as text")

    def handle(self, *args: Any, **options: Any) -> None:
        start, end = _midnight(options["first"]), _midnight(options["last"], days=1)
        if start and end and start >= end:
            raise CommandError("--from lies behind --to.")
        try:
            outcome = reconciliation.reconcile(start=start, end=end)
        except fal.FalError as error:
            raise CommandError(f"fal's bills could not be read ({type(error).__name__}): {error}") from error
        found = reconciliation.summary(start=start, end=end)
        if options["json"]:
            self.stdout.write(json.dumps(_plain(outcome, found), indent=2))
            return
        self.stdout.write(
            f"{outcome.read} requests billed from {outcome.start:%Y-%m-%d %H:%M} to {outcome.end:%Y-%m-%d %H:%M} UTC; "
            f"{outcome.changed} rows changed, {outcome.attached} lost submits found."
        )
        for line in found.lines:
            self.stdout.write(
                f"{line.label:<34}{line.count:>8}  fal ${line.fal_usd:,.4f}  ours ${line.our_usd:,.4f}"
                f"  unexplained ${line.unexplained_usd:,.4f}"
            )
        self.stdout.write(f"Unexplained: ${found.unexplained_usd:,.4f}")


def _midnight(day: str | None, *, days: int = 0) -> datetime | None:
    if day is None:
        return None
    try:
        found = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise CommandError(f"{day!r} is no day: write it as 2026-11-30.") from error
    return datetime.combine(found.date() + timedelta(days=days), time.min, tzinfo=UTC)


def _plain(outcome: reconciliation.Outcome, found: reconciliation.Summary) -> dict[str, Any]:
    return {
        "start": outcome.start.isoformat(),
        "end": outcome.end.isoformat(),
        "read": outcome.read,
        "changed": outcome.changed,
        "attached": outcome.attached,
        "fal_usd": str(found.fal_usd),
        "explained_usd": str(found.explained_usd),
        "unexplained_usd": str(found.unexplained_usd),
        "classes": {
            line.kind: {
                "count": line.count,
                "fal_usd": str(line.fal_usd),
                "unexplained_usd": str(line.unexplained_usd),
            }
            for line in found.lines
        },
    }
