"""`manage.py drill`: random faults over many generations in a stack of its own; exit 1 on any breach."""

from __future__ import annotations

import json
import secrets
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.stack.errors import StackError
from generations.drill import house, plan
from generations.drill.performance import Performance, begin


class Command(BaseCommand):
    help = (
        "Break everything at random in a private stack and certify that no generation and no credit got lost."
    )
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, help="draw this plan; without it a new one, which is printed")
        parser.add_argument("--count", type=int, default=200, help="how many generations are ordered")
        parser.add_argument(
            "--patience", type=float, default=300, metavar="SECONDS", help="wait so long for quiet"
        )
        parser.add_argument("--json", type=Path, metavar="PATH", help="write the certificate there as well")
        parser.add_argument(
            "--keep-logs", action="store_true", help="keep them also where no rule was broken"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        place = house.ours()
        try:
            if place is None:
                begin(_arguments(options))
                return
            drawn = plan.draw(seed=options["seed"], count=options["count"])
            self._say(
                f"seed {drawn.seed}, plan {drawn.digest}: {len(drawn.orders)} orders, {len(drawn.strikes)} strikes"
            )
            certificate = Performance(place, drawn, options["patience"], self._say).perform(
                keeps_logs=options["keep_logs"]
            )
        except StackError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            options["json"].write_text(json.dumps(certificate.as_dict(), indent=2) + "\n")
        self._say(certificate.as_text())
        if not certificate.is_clean:
            sys.exit(1)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _arguments(options: dict[str, Any]) -> list[str]:
    """The same call once more, with a seed and with paths that mean the same from everywhere."""
    seed = secrets.randbelow(2**32) if options["seed"] is None else options["seed"]
    found = [f"--seed={seed}", f"--count={options['count']}", f"--patience={options['patience']}"]
    if options["json"]:
        found.append(f"--json={options['json'].resolve()}")
    return [*found, "--keep-logs"] if options["keep_logs"] else found
