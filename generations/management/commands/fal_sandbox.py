"""`manage.py fal_sandbox`: serves the sandbox, a fal of our own, until SIGTERM or SIGINT."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from generations.sandbox.options import add_arguments, from_arguments
from generations.sandbox.server import run


class Command(BaseCommand):
    help = "Serve fal's protocol from this machine: real queue, real clips, no charge. Needs no database."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        run(from_arguments(options), announce=self._announce)

    def _announce(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
