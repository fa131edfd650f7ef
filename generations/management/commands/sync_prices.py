"""`manage.py sync_prices`: fal's list prices against ours. It proposes; a person confirms in the admin."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from generations import prices
from generations.prices import Drift


class Command(BaseCommand):
    help = (
        "Compare our prices with fal's pricing API, say what drifted, and propose rules that follow. No price changes "
        "by it: proposals wait in the admin. If fal cannot be asked nothing is written, and this ends with 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="a JSON list, an object for each engine")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            found = prices.sync()
        except prices.SyncFailed as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps([_row(each) for each in found], indent=2))
            return
        for drift in found:
            self._say(drift)
        proposed = sum(len(each.proposals) for each in found)
        drifted = sum(each.verdict == "drifted" for each in found)
        self.stdout.write(f"{len(found)} engines, {drifted} drifted, {proposed} proposed.")

    def _say(self, drift: Drift) -> None:
        self.stdout.write(f"{drift.verdict:9} {drift.engine.endpoint_id}: {drift.words}")
        for each in drift.examples:
            self.stdout.write(f"    {each.words}: {each.credits_before} -> {each.credits_after} credits")
        for proposal in drift.proposals:
            self.stdout.write(f"    proposal {proposal.pk}, from {proposal.get_source_display()}")


def _row(drift: Drift) -> dict[str, Any]:
    return {
        "engine": drift.engine.endpoint_id,
        "verdict": drift.verdict,
        "words": drift.words,
        "unit_price_usd": str(drift.price.unit_price) if drift.price else None,
        "unit": drift.price.unit if drift.price else None,
        "was_usd": None if drift.reference is None else str(drift.reference),
        "examples": [
            {
                "params": each.params,
                "credits_before": each.credits_before,
                "credits_after": each.credits_after,
            }
            for each in drift.examples
        ],
        "proposals": [proposal.pk for proposal in drift.proposals],
    }
