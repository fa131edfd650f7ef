"""What would this cost? Credits first, then the rule that says so."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from generations import catalogue
from generations.catalogue import CatalogueError, Engine
from generations.models import PriceVersion


class Command(BaseCommand):
    help = (
        "Print the credits a request costs, then the price rule. ENGINE is an endpoint id, or any part of one that "
        "fits only one. Choices are given as name=value; what is left out takes its default."
    )
    requires_system_checks = ()  # with --catalogue it must answer without a database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("engine", metavar="ENGINE")
        parser.add_argument("params", metavar="name=value", nargs="*")
        parser.add_argument(
            "--catalogue",
            action="store_true",
            help="price from the catalogue's files alone, without the database",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            engine = catalogue.find(options["engine"])
            rule, origin = _from_files(engine) if options["catalogue"] else _in_force(engine)
            self._answer(engine, rule, origin, raw=_pairs(options["params"]))
        except CatalogueError as error:
            raise CommandError(str(error)) from error

    def _answer(self, engine: Engine, rule: dict[str, Any], origin: str, *, raw: dict[str, str]) -> None:
        facts = catalogue.quote_facts(engine, raw, rule=rule)
        per_usd = settings.CREDITS_PER_USD
        credit_count = catalogue.quote_credits(rule, facts, credits_per_usd=per_usd)
        read = {name: facts[name] for name in sorted(catalogue.rule_params(rule)) if name in facts}
        chosen = ", ".join(f"{name}={json.dumps(value)}" for name, value in read.items())
        self.stdout.write(f"{credit_count} credit{'' if credit_count == 1 else 's'}")
        self.stdout.write(f"engine: {engine.endpoint_id} ({engine.label})")
        self.stdout.write(f"dollars: {catalogue.price_usd(rule, facts):f}, {per_usd} credits to a dollar")
        self.stdout.write(f"depends on: {chosen or 'nothing; one price'}")
        self.stdout.write(f"rule: {json.dumps(rule, sort_keys=True)}")
        self.stdout.write(f"from: {origin}")
        if not engine.is_orderable:
            self.stdout.write(f"not orderable: {engine.reason}")


def _from_files(engine: Engine) -> tuple[dict[str, Any], str]:
    rule = engine.price.rule
    if rule is None:
        raise CommandError(f"{engine.endpoint_id} has no known price. {engine.reason}")
    return rule, f"the catalogue; {engine.price.source}; {engine.price.as_of}"


def _in_force(engine: Engine) -> tuple[dict[str, Any], str]:
    version = PriceVersion.objects.current(engine.endpoint_id)
    return version.rule, f"price version {version.pk}, in force since {version.valid_from:%Y-%m-%d %H:%M %Z}"


def _pairs(params: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for param in params:
        name, equals, value = param.partition("=")
        if not equals or not name.isidentifier():
            raise CommandError(f"{param!r} is not of the form name=value, like duration=10.")
        if name in pairs:
            raise CommandError(f"{name} is given twice; give it once.")
        pairs[name] = value
    return pairs
