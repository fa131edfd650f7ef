"""`manage.py simulate_prices`: the last 90 days under a draft of prices and caps. Reads only."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Team, User
from accounts.models.money import Period
from generations import catalogue, prices
from generations.prices import Cap, Draft, Outcome

MOST_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Replay the orders of the last days under draft prices and caps: credits before and after, by member, and who "
        "would have been stopped when. Nothing is written."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--prices", type=Path, metavar="FILE", help='JSON: {"<endpoint id>": <price rule>, ...}'
        )
        parser.add_argument("--proposals", action="store_true", help="the rules of all open proposals")
        parser.add_argument(
            "--cap",
            action="append",
            default=[],
            type=_cap,
            metavar="[E-MAIL=]CREDITS/PERIOD",
            help="500/month, ana@example.com=100/day; day, week, month, rolling or never; may be repeated",
        )
        parser.add_argument("--team", metavar="SLUG")
        parser.add_argument("--days", type=int, default=90)
        parser.add_argument("--json", action="store_true")

    def handle(self, *_args: Any, **options: Any) -> None:
        team = Team.objects.filter(slug=options["team"]).first()
        if options["team"] and team is None:
            raise CommandError(f"No team has the slug {options['team']!r}.")
        if options["days"] < 1:
            raise CommandError("--days must be 1 or more.")
        rules = Draft.of_proposals() if options["proposals"] else {}
        try:
            rules |= _read(options["prices"])
            caps = [_of_member(*each) for each in options["cap"]]
            outcome = prices.simulate(Draft(rules, caps), days=options["days"], team=team)
        except catalogue.CatalogueError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(_content(outcome), indent=2, default=str))
        else:
            self._say(outcome)

    def _say(self, outcome: Outcome) -> None:
        names, total = _names(outcome), outcome.total
        self.stdout.write(
            f"{total.orders} orders from {outcome.starts_at:%Y-%m-%d} to {outcome.ends_at:%Y-%m-%d}"
        )
        self.stdout.write(
            f"credits: {total.before} before, {total.after} after; {total.stopped} orders stopped"
        )
        if outcome.unpriced:
            self.stdout.write(f"{outcome.unpriced} orders have no price in the draft and are taken as paid")
        for key, sums in sorted(outcome.by_member.items(), key=lambda each: -each[1].before):
            first = f", first on {sums.first_stop_at:%Y-%m-%d %H:%M}" if sums.first_stop_at else ""
            line = f"{names[key[1]]}: {sums.before} -> {sums.after} credits, {sums.stopped} of {sums.orders} stopped"
            self.stdout.write(f"  {line}{first}")
        for stop in outcome.stops[:MOST_SHOWN]:
            said = f"{stop.credits} credits refused by {stop.by}, {stop.left} left"
            self.stdout.write(f"  {stop.at:%Y-%m-%d %H:%M} {names[stop.user_id]} {stop.engine}: {said}")


def _content(outcome: Outcome) -> dict[str, Any]:
    names = _names(outcome)
    members = [
        {"team": team, "member": names[user], **vars(sums)}
        for (team, user), sums in outcome.by_member.items()
    ]
    return {
        "starts_at": outcome.starts_at,
        "ends_at": outcome.ends_at,
        "total": vars(outcome.total),
        "unpriced": outcome.unpriced,
        "members": members,
        "stops": [
            {name: getattr(stop, name) for name in ("at", "engine", "credits", "by", "left", "resets_at")}
            | {"member": names[stop.user_id]}
            for stop in outcome.stops
        ],
    }


def _names(outcome: Outcome) -> dict[int, str]:
    return dict(
        User.objects.filter(pk__in={user for _, user in outcome.by_member}).values_list("pk", "email")
    )


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        rules = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
    if not isinstance(rules, dict):
        raise CommandError(f'{path} must be an object: {{"<endpoint id>": <price rule>}}.')
    for engine in rules:
        catalogue.get(engine)
    return rules


def _cap(text: str) -> tuple[str, int, str]:
    email, _, amount = text.rpartition("=")
    limit, _, period = amount.partition("/")
    if not limit.isdigit() or period not in Period.values:
        raise ArgumentTypeError(f"{text!r} is no cap: write 500/month or ana@example.com=100/day.")
    return email, int(limit), period


def _of_member(email: str, limit: int, period: str) -> Cap:
    if not email:
        return Cap(limit, Period(period))
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        raise CommandError(f"Nobody here has the address {email!r}.")
    return Cap(limit, Period(period), user.pk)
