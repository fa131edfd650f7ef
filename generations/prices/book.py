"""Writing the price book: publish a rule, propose one, confirm or decline what was proposed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from accounts import audit, clock
from accounts.models import User
from generations import catalogue
from generations.models import ListPrice, PriceProposal, PriceVersion
from generations.prices.examples import problem_of

LONGEST_REASON_CHARS = 300


class PriceError(Exception):
    """A price that is not taken; says why in one sentence."""


class ProposalDecided(PriceError):
    """Somebody was quicker."""


class ProposalStale(PriceError):
    """The price it was worked out from is no longer the newest."""


def publish(
    engine_id: str,
    rule: Mapping[str, Any],
    *,
    actor: User,
    reason: str,
    valid_from: datetime | None = None,
    after: int | None = None,
) -> PriceVersion:
    """A new version, from now unless said otherwise. What is proposed for the engine meanwhile is out of date.

    `after` is the key of the version its author had before them. Raises `PriceError`, `ProposalStale` if another
    version came since, and `catalogue.UnknownEngine`.
    """
    with transaction.atomic():
        one_writer(engine_id)
        version = _written(
            catalogue.get(engine_id), rule, actor=actor, reason=reason, valid_from=valid_from, after=after
        )
        withdraw(engine_id)
    return version


def propose(
    engine_id: str,
    rule: Mapping[str, Any],
    *,
    source: PriceProposal.Source,
    why: str,
    list_price: ListPrice | None = None,
) -> PriceProposal | None:
    """Lay a rule before the staff; None where the same was proposed of the same version before, whatever came of it.

    A proposal from the same source that is still open is superseded. Only inside a transaction that holds the
    engine's lock (`one_writer`).
    """
    replaces = PriceVersion.objects.newest(engine_id)
    known = PriceProposal.objects.filter(engine=engine_id, source=source, replaces=replaces)
    if any(_same(each.rule, rule) for each in known.exclude(state=PriceProposal.State.SUPERSEDED)):
        return None
    withdraw(engine_id, source)
    return PriceProposal.objects.create(
        engine=engine_id,
        source=source,
        rule=dict(rule),
        replaces=replaces,
        list_price=list_price,
        why=why[:LONGEST_REASON_CHARS],
    )


def confirm(
    proposal: PriceProposal, *, actor: User, reason: str, valid_from: datetime | None = None
) -> PriceVersion:
    """Put what was proposed into force, once. Raises `ProposalDecided`, `ProposalStale`, `PriceError`."""
    with transaction.atomic():
        one_writer(proposal.engine)
        locked = _undecided(proposal)
        locked.version = _written(
            catalogue.get(locked.engine),
            locked.rule,
            actor=actor,
            reason=reason,
            valid_from=valid_from,
            after=locked.replaces_id,
        )
        _decide(locked, PriceProposal.State.CONFIRMED, actor=actor, reason=reason)
        withdraw(locked.engine)
    return locked.version


def decline(proposal: PriceProposal, *, actor: User, reason: str) -> PriceProposal:
    """Leave the price as it is, and say why. Raises `ProposalDecided`, `PriceError`."""
    if not reason.strip():
        raise PriceError("Say why: the reason stays in the book.")
    with transaction.atomic():
        one_writer(proposal.engine)
        locked = _undecided(proposal)
        _decide(locked, PriceProposal.State.DECLINED, actor=actor, reason=reason)
    return locked


def one_writer(engine_id: str) -> None:
    """Whoever writes of an engine's price waits here for whoever does; until the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"price:{engine_id}"])


def withdraw(engine_id: str, source: PriceProposal.Source | None = None) -> None:
    """What is still open for the engine is out of date; of one source, or of any."""
    found = PriceProposal.objects.filter(engine=engine_id, state=PriceProposal.State.OPEN)
    if source is not None:
        found = found.filter(source=source)
    found.update(state=PriceProposal.State.SUPERSEDED, decided_at=clock.now())


def newest_of(engine: catalogue.Engine) -> PriceVersion | None:
    """The newest version, in force or announced; None for an engine whose price nobody knows yet."""
    try:
        return PriceVersion.objects.newest(engine.endpoint_id)
    except catalogue.CatalogueError:
        return None


def _written(
    engine: catalogue.Engine,
    rule: Mapping[str, Any],
    *,
    actor: User,
    reason: str,
    valid_from: datetime | None,
    after: int | None,
) -> PriceVersion:
    now, reason = clock.now(), reason.strip()
    begins, newest = valid_from or now, newest_of(engine)
    if not reason:
        raise PriceError("Say why: the reason stays in the book.")
    if begins < now:
        raise PriceError("A price cannot begin in the past: what was ordered keeps the price it had.")
    if after is not None and (newest is None or newest.pk != after):
        raise ProposalStale(f"The price of {engine.label} was changed meanwhile. Look at it again.")
    if newest is not None and newest.valid_from >= begins:
        raise PriceError(f"A price from {newest.valid_from:%Y-%m-%d %H:%M} UTC is announced; begin after it.")
    problem = problem_of(engine, rule, before=newest.rule if newest else None)
    if problem:
        raise PriceError(problem)
    version = PriceVersion.objects.create(
        engine=engine.endpoint_id,
        rule=dict(rule),
        valid_from=begins,
        actor=actor,
        reason=reason[:LONGEST_REASON_CHARS],
        created_at=now,
    )
    audit.record(
        "price.changed",
        subject=version,
        actor=actor,
        reason=reason,
        before={"rule": newest.rule, "valid_from": newest.valid_from} if newest else {},
        after={"rule": version.rule, "valid_from": begins},
    )
    return version


def _undecided(proposal: PriceProposal) -> PriceProposal:
    locked = PriceProposal.objects.select_for_update().get(pk=proposal.pk)
    if not locked.is_open:
        raise ProposalDecided(f"This is {locked.get_state_display()} already.")
    return locked


def _decide(proposal: PriceProposal, state: PriceProposal.State, *, actor: User, reason: str) -> None:
    proposal.state = state
    proposal.decided_by, proposal.decided_at = actor, clock.now()
    proposal.decision_reason = reason.strip()[:LONGEST_REASON_CHARS]
    proposal.save()
    before = {"state": PriceProposal.State.OPEN}
    audit.record(
        f"proposal.{state}",
        subject=proposal,
        actor=actor,
        reason=reason,
        before=before,
        after={"state": state},
    )


def _same(rule: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return json.dumps(rule, sort_keys=True) == json.dumps(other, sort_keys=True)
