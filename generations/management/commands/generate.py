"""`manage.py generate`: the main job from a shell, through the same doors as the pages. A smoke test for a deployment.

Prints one JSON object: id, state, credits held and captured, where the clip is, and why it failed if it did.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from accounts.errors import LedgerError
from accounts.models import Membership, User
from generations import catalogue, estimates, lifecycle, media
from generations.models import Generation, Output, Picture
from generations.states import State

ASK_SECONDS = 0.5


class Command(BaseCommand):
    help = "Order one clip as a member would; with --wait, exit 0 only if it succeeded."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, metavar="E-MAIL")
        parser.add_argument("--team", metavar="SLUG", help="needed where the user is in several teams")
        parser.add_argument("--engine", required=True, help="endpoint id, or a part of it that fits only one")
        parser.add_argument(
            "--image", type=Path, metavar="PATH", help="the picture, for engines that take one"
        )
        parser.add_argument("--prompt", required=True)
        parser.add_argument(
            "--wait", action="store_true", help="until it is settled; workers have to be running"
        )
        parser.add_argument("--timeout", type=float, default=1800, metavar="SECONDS", help="how long to wait")
        parser.add_argument("params", nargs="*", metavar="name=value", help="the engine's other inputs")

    def handle(self, *args: Any, **options: Any) -> None:
        membership = _membership(options["user"], options["team"])
        generation = _ordered(membership, options)
        if options["wait"]:
            generation = _settled(generation, timeout_seconds=options["timeout"])
        self.stdout.write(json.dumps(_shown(generation)))
        if options["wait"] and generation.state != State.SUCCEEDED:
            sys.exit(1)


def _membership(email: str, team: str | None) -> Membership:
    rows = Membership.objects.select_related("user", "team").filter(is_active=True, user__is_active=True)
    rows = rows.filter(user__email__iexact=email)
    found = list(rows.filter(team__slug=team) if team else rows)
    if len(found) == 1:
        return found[0]
    if not found:
        known = User.objects.filter(email__iexact=email).exists()
        raise CommandError(
            f"{email} is in no {f'team {team}' if team else 'team'}." if known else f"No user {email}."
        )
    raise CommandError(
        f"{email} is in several teams; say --team {' | '.join(each.team.slug for each in found)}."
    )


def _ordered(membership: Membership, options: dict[str, Any]) -> Generation:
    try:
        engine = catalogue.find(options["engine"])
        asked: dict[str, Any] = {
            "user": membership.user,
            "team": membership.team,
            "engine": engine.endpoint_id,
            "params": {"prompt": options["prompt"], **_params(options["params"])},
        }
        return lifecycle.request(
            **asked,
            expected_seconds=estimates.expected_seconds(**asked),
            pictures=_pictures(engine, options["image"], membership),
            form_token=uuid.uuid4(),
        )
    except media.PictureRefused as refusal:
        raise CommandError(refusal.member_message) from refusal
    except (catalogue.CatalogueError, lifecycle.LifecycleError, LedgerError, media.MediaError) as error:
        raise CommandError(str(error)) from error


def _params(words: list[str]) -> dict[str, str]:
    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise CommandError(f"{wrong[0]!r} is not name=value.")
    return dict(word.split("=", 1) for word in words)


def _pictures(
    engine: catalogue.Engine, path: Path | None, membership: Membership
) -> dict[str, list[Picture]]:
    if path is None:
        return {}
    if not engine.picture_inputs:
        raise CommandError(f"{engine.label} takes no picture; leave --image out.")
    try:
        with path.open("rb") as file:
            picture = media.accept_picture(
                file, team=membership.team, user=membership.user, original_name=path.name
            )
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    return {engine.picture_inputs[0].name: [picture]}


def _settled(generation: Generation, *, timeout_seconds: float) -> Generation:
    """The row once it is settled, or as it stands when time is up."""
    ends_at = time.monotonic() + timeout_seconds
    while not generation.is_settled and time.monotonic() < ends_at:
        time.sleep(ASK_SECONDS)
        generation = Generation.objects.get(pk=generation.pk)
    return generation


def _shown(generation: Generation) -> dict[str, Any]:
    generation = Generation.objects.select_related("hold").get(pk=generation.pk)
    hold, output = generation.hold, Output.objects.filter(generation=generation).first()
    return {
        "id": str(generation.pk),
        "engine": generation.engine,
        "state": str(generation.state),
        "credits_held": hold.amount if hold.is_open else 0,
        "credits_captured": hold.captured,
        "clip": _place_of(output) if output else None,
        "url": f"{settings.SITE_URL}{reverse('generations:show', args=[generation.pk])}",
        "failure": {"code": generation.failure_code, "message": generation.failure_message}
        if generation.failure_code
        else None,
        "is_simulated": generation.is_simulated,
    }


def _place_of(output: Output) -> str:
    """A path on this host, or a link for some minutes where the storage is S3."""
    try:
        return str(default_storage.path(output.file))
    except NotImplementedError:
        return str(default_storage.url(output.file))
