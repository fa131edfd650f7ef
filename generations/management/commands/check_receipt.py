"""`manage.py check_receipt FILE`: is this receipt ours, unchanged, and still what the book says?"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from generations import receipts


class Command(BaseCommand):
    help = "Hold a signed receipt against our key, our book and the stored clip; ends with 1 where something is wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            document = json.loads(options["file"].read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise CommandError(f"{options['file']} cannot be read: {error}") from error
        found = receipts.problems(document)
        if found:
            raise CommandError(" ".join(found))
        content = document["receipt"]
        self.stdout.write(
            f"Whole: {content['generation']}, {content['credits']['captured']} credits captured."
        )
