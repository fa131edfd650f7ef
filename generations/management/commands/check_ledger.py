"""`manage.py check_ledger`: prove the books from their entries, and open holds from unsettled work; exit 1 if not."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.ledger import heads
from accounts.models import SignedHead, Wallet
from generations import proving


class Command(BaseCommand):
    help = "Recompute every counter of the ledger from its entries and print each difference; exit 1 if there is one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="a JSON list of differences; [] when the books are whole"
        )
        parser.add_argument(
            "--seal", action="store_true", help="sign the heads of all chains, if the books are whole"
        )
        parser.add_argument("--team", metavar="SLUG", help="check the wallet of one team only")

    def handle(self, *args: Any, **options: Any) -> None:
        wallet = _wallet(options["team"])
        found = proving.breaches(wallet=wallet)
        if options["json"]:
            self.stdout.write(json.dumps([breach._asdict() for breach in found], indent=2))
        else:
            for breach in found:
                self.stdout.write(str(breach))
            self.stdout.write(f"{len(found)} differences." if found else "The books are whole.")
        if found:
            sys.exit(1)
        if options["seal"]:
            self._say_sealed(heads.seal(), is_json=options["json"])

    def _say_sealed(self, head: SignedHead | None, *, is_json: bool) -> None:
        if is_json:
            return
        if head is None:
            self.stdout.write("There is no entry to sign for yet.")
            return
        key = "LEDGER_SIGNING_KEY" if settings.LEDGER_SIGNING_KEY else "a key that follows from SECRET_KEY"
        count = len(json.loads(head.heads))
        self.stdout.write(f"{count} heads signed with {key} ({head.key}), {_signed_where()}.")


def _signed_where() -> str:
    places = [*settings.LEDGER_HEADS_MAIL, settings.LEDGER_HEADS_DIRECTORY]
    found = ", ".join(filter(None, places))
    return (
        f"sent to {found}" if found else "NOT sent anywhere: set LEDGER_HEADS_MAIL or LEDGER_HEADS_DIRECTORY"
    )


def _wallet(slug: str | None) -> Wallet | None:
    if slug is None:
        return None
    try:
        return Wallet.objects.get(team__slug=slug)
    except Wallet.DoesNotExist as error:
        raise CommandError(f"No team with a wallet has the slug {slug!r}.") from error
