"""Ordering a generation: everything is checked and priced before a credit moves, then hold and row are one commit."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from accounts import clock, ledger
from accounts.models import EngineRule, Membership, Team, User
from generations import catalogue, media, queue
from generations.lifecycle.errors import AlreadySent, EngineHidden, NotAMember, NotOrderable, PriceChanged
from generations.models import Generation, GenerationPicture, Picture, PriceVersion
from generations.models.generation import reference_of

Pictures = Mapping[str, Sequence[Picture]]
MOST_PICTURES = 16
LONGEST_TAG_CHARS = 60


@dataclass(frozen=True)
class Quote:
    """What a request will cost, and by which price; binding once it is requested."""

    credits: int
    price_version: PriceVersion
    params: dict[str, Any]
    engine: catalogue.Engine


@dataclass(frozen=True)
class Approved:
    """An admin's leave to run what was refused, at the price it was quoted then; `request` names it in the book."""

    actor: User
    request: str
    credits: int
    price_version: PriceVersion


def quote(engine_id: str, params: Mapping[str, object]) -> Quote:
    """The price of a form, which may be half filled in. Nothing is held.

    Raises `catalogue.UnknownEngine`, `catalogue.InvalidInputs`, `catalogue.PriceError`.
    """
    engine = catalogue.get(engine_id)
    return _quote(engine, catalogue.clean(engine, params, is_partial=True))


def binding_quote(
    *,
    user: User,
    team: Team,
    engine: str,
    params: Mapping[str, object],
    pictures: Pictures,
    seen_credits: int | None = None,
) -> Quote:
    """What `request` would hold, everything checked but whether it may be paid and whether the engine is hidden.

    Raises `NotAMember`, `NotOrderable`, `PriceChanged`, `catalogue.CatalogueError`.
    """
    _member(user, team)
    return _agreed(_orderable(engine), params, pictures, team=team, seen_credits=seen_credits)


def request(
    *,
    user: User,
    team: Team,
    engine: str,
    params: Mapping[str, object],
    pictures: Pictures | None = None,
    form_token: uuid.UUID,
    seen_credits: int | None = None,
    expected_seconds: float | None = None,
    tag: str = "",
    approved: Approved | None = None,
) -> Generation:
    """Order one generation: hold the quote and ring for dispatch. The same form gives the same generation again.

    `params` are the engine's inputs by fal's names; `pictures` the files for its picture inputs; `expected_seconds`
    what the member was told it would take, kept so that its error can be measured; `tag` the project it is for, which
    reports are cut by. With `approved` neither a budget nor a hidden engine refuses it, and the price is the one that
    was quoted then, or today's where that is lower. Raises `NotAMember`, `NotOrderable`, `EngineHidden`,
    `PriceChanged`, `AlreadySent` (the form came again with other wishes), `catalogue.UnknownEngine`,
    `catalogue.InvalidInputs` (also for pictures), `catalogue.PriceError`, and `accounts.errors.LedgerError`. Whatever
    is raised, nothing is held.
    """
    files = {name: list(chosen) for name, chosen in (pictures or {}).items() if chosen}
    earlier = _earlier(user, form_token)
    if earlier is not None:
        return _same(earlier, catalogue.get(engine), params, files)
    membership = _member(user, team)
    chosen = _orderable(engine)
    if approved is None:
        _refuse_hidden(chosen, membership)
    agreed = _bound(_agreed(chosen, params, files, team=team, seen_credits=seen_credits), approved)
    with transaction.atomic():
        one_at_a_time(user, form_token)
        twin = _earlier(user, form_token)
        if twin is not None:
            return _same(twin, agreed.engine, params, files)
        return _create(
            agreed,
            files,
            user=user,
            team=team,
            form_token=form_token,
            expected_seconds=expected_seconds,
            tag=tidy_tag(tag),
            approved=approved,
        )


def tidy_tag(tag: str) -> str:
    """Without what makes two of one word: surplus blanks, control characters, more than the column holds."""
    printable = "".join(each if each.isprintable() else " " for each in tag)
    return " ".join(printable.split())[:LONGEST_TAG_CHARS].rstrip()


def _earlier(user: User, form_token: uuid.UUID) -> Generation | None:
    return Generation.objects.filter(user=user, form_token=form_token).first()


def _same(
    earlier: Generation, engine: catalogue.Engine, params: Mapping[str, object], files: Pictures
) -> Generation:
    """What the form made the first time; a form that was changed since (Back, edit, send) is no double click."""
    cleaned = catalogue.clean(engine, params, pictures=files.keys())
    had = sorted(earlier.picture_links.values_list("field", "position", "picture"))
    has = sorted((name, at, each.pk) for name, chosen in files.items() for at, each in enumerate(chosen))
    if (earlier.engine, earlier.inputs, had) != (engine.endpoint_id, cleaned, has):
        raise AlreadySent
    return earlier


def _member(user: User, team: Team) -> Membership:
    membership = Membership.objects.filter(user=user, team=team, is_active=True).first()
    if membership is None or not user.is_active:
        raise NotAMember
    return membership


def _orderable(engine_id: str) -> catalogue.Engine:
    engine = catalogue.get(engine_id)
    if not engine.is_orderable:
        raise NotOrderable(engine.label, reason=engine.reason)
    return engine


def _refuse_hidden(engine: catalogue.Engine, membership: Membership) -> None:
    if EngineRule.objects.hidden_from(membership, [engine.endpoint_id]):
        raise EngineHidden(engine.label)


def _bound(agreed: Quote, approved: Approved | None) -> Quote:
    if approved is None or agreed.credits < approved.credits:
        return agreed
    return replace(agreed, credits=approved.credits, price_version=approved.price_version)


def _agreed(
    engine: catalogue.Engine,
    params: Mapping[str, object],
    files: Pictures,
    *,
    team: Team,
    seen_credits: int | None,
) -> Quote:
    problems = _picture_problems(engine, files, team=team)
    if problems:
        raise catalogue.InvalidInputs(problems)
    agreed = _quote(engine, catalogue.clean(engine, params, pictures=files.keys()))
    if seen_credits is not None and agreed.credits > seen_credits:
        raise PriceChanged(seen_credits=seen_credits, now_credits=agreed.credits)
    return agreed


def _quote(engine: catalogue.Engine, cleaned: Mapping[str, Any]) -> Quote:
    version = PriceVersion.objects.current(engine.endpoint_id)
    facts = catalogue.quote_params(engine, cleaned)
    price = catalogue.quote_credits(version.rule, facts, credits_per_usd=settings.CREDITS_PER_USD)
    return Quote(price, version, dict(cleaned), engine)


def _picture_problems(engine: catalogue.Engine, files: Pictures, *, team: Team) -> dict[str, str]:
    """One sentence per picture input that is wrong, said before any hold: fal may bill a picture it refuses."""
    takes = {field.name: field for field in engine.picture_inputs}
    problems = {}
    for name, chosen in files.items():
        if name not in takes:
            problems[name] = f"{engine.label} takes no picture here."
        elif len(chosen) > (1 if takes[name].widget == "picture" else MOST_PICTURES):
            problems[name] = f"{takes[name].label} takes fewer pictures than {len(chosen)}."
        elif any(picture.team_id != team.pk for picture in chosen):
            problems[name] = "This picture belongs to another team."
        else:
            sentences = [text for picture in chosen for text in media.violations(engine, picture)]
            problems |= {name: " ".join(sentences)} if sentences else {}
    return problems


def one_at_a_time(user: User, form_token: uuid.UUID) -> None:
    """A double click waits here for its twin, so that the second hold is never even tried."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"generation:{user.pk}:{form_token}"]
        )


def _create(
    agreed: Quote,
    files: Pictures,
    *,
    user: User,
    team: Team,
    form_token: uuid.UUID,
    expected_seconds: float | None,
    tag: str,
    approved: Approved | None,
) -> Generation:
    pk, now = uuid.uuid4(), clock.now()
    hold = ledger.hold(
        ledger.open_wallet(team),
        amount=agreed.credits,
        user=user,
        reference=reference_of(pk),
        reason=f"{agreed.engine.label} requested",
        approval=ledger.Approval(approved.actor, approved.request) if approved else None,
        now=now,
    )
    generation = Generation.objects.create(
        id=pk,
        team=team,
        user=user,
        engine=agreed.engine.endpoint_id,
        prompt=str(agreed.params.get("prompt", "")),
        tag=tag,
        inputs=agreed.params,
        form_token=form_token,
        price_version=agreed.price_version,
        quote_credits=agreed.credits,
        hold=hold,
        is_simulated=settings.FAL_IS_SANDBOX,
        queued_at=now,
        expected_at=None if expected_seconds is None else now + timedelta(seconds=expected_seconds),
        next_check_at=now,
        created_at=now,
        changed_at=now,
    )
    GenerationPicture.objects.bulk_create(
        GenerationPicture(generation=generation, picture=picture, field=name, position=position)
        for name, chosen in files.items()
        for position, picture in enumerate(chosen)
    )
    queue.enqueue(queue.DISPATCH)
    queue.announce(team.pk, str(pk))
    return generation
