"""How long it will take: learned from what was stored lately, with the line ahead played through. Reads only.

`times` is the arithmetic of a sample, `history` what the last two weeks taught, `forecast` plays the line through the
places at fal. Nothing is promised: an estimate is the middle of what is likely (as often sooner as later) and a bound
that nine of ten keep. What cannot be known is None: an engine nobody has used yet and whose catalogue entry is silent,
one that is paused, or everything while fal refuses the account.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from accounts import clock
from accounts.models import Team, User
from generations import catalogue, lifecycle
from generations.estimates import forecast, history
from generations.estimates.forecast import Estimate
from generations.estimates.history import History, forget
from generations.models import Breaker, DispatchPause, Generation
from generations.states import State

__all__ = ["Estimate", "expected_seconds", "forget", "of", "of_new", "usual_seconds"]


def of(generations: Sequence[Generation], line: lifecycle.Line | None = None) -> dict[uuid.UUID, Estimate]:
    """For those of them that are under way and of which something is known, by id.

    `line` is the line in which those that are requested wait, where the caller has it already. The number of
    statements grows with nothing.
    """
    live = [generation for generation in generations if not generation.is_settled]
    if not live:
        return {}
    now, known = clock.now(), history.learned()
    waiting = [each.pk for each in live if each.state == State.REQUESTED]
    if waiting and line is None:
        line = lifecycle.waiting_line(waiting)
    plan = None
    if any(each.state in {State.REQUESTED, State.SUBMITTED} for each in live):
        plan = _plan(line, known, now, [each.pk for each in live if each.state == State.SUBMITTED])
    found = ((each.pk, forecast.of(each, known, plan, now=now)) for each in live)
    return {pk: estimate for pk, estimate in found if estimate}


_kept: tuple[lifecycle.Line, History, forecast.Plan] | None = None


def _plan(
    line: lifecycle.Line | None, known: History, now: datetime, queued: Sequence[uuid.UUID]
) -> forecast.Plan:
    """The line played through, once for each line: a long one is the same object for two seconds."""
    global _kept  # noqa: PLW0603 - what this process knows
    halted = _halted()
    if _kept and _kept[0] is line and _kept[1] is known and _kept[2].halted == halted:  # noqa: SIM102
        if all(pk in _kept[2].at_fal for pk in queued):
            return _kept[2]
    found = forecast.plan(line.rows if line else [], known, now=now, halted=halted)
    _kept = (line, known, found) if line else None
    return found


def of_new(*, user: User, team: Team, engine: str, params: Mapping[str, object]) -> Estimate | None:
    """For one that this member would order now: in its place in the line, behind what they wait for already."""
    now, known = clock.now(), history.learned()
    line = lifecycle.waiting_line(newcomer=(user.pk, team.pk))
    plan = forecast.plan(line.rows, known, now=now, halted=_halted())
    return forecast.of_new(engine, params, known, plan, ahead=_ahead(line))


def usual_seconds(engine: str) -> float | None:
    """How long the engine usually takes from the order to the stored clip where nothing is in the way."""
    return forecast.usual_seconds(engine, history.learned())


def expected_seconds(*, user: User, team: Team, engine: str, params: Mapping[str, object]) -> float | None:
    """What an order is told it will take, to be kept with it; None too where the order will be refused anyway."""
    try:
        cleaned = catalogue.clean(catalogue.get(engine), params, is_partial=True)
    except catalogue.CatalogueError:
        return None
    estimate = of_new(user=user, team=team, engine=engine, params=cleaned)
    return estimate.typical_seconds if estimate else None


def _ahead(line: lifecycle.Line) -> int:
    place = next(place for place, row in enumerate(line.rows) if row.pk is None)
    return line.queued_at_fal + place


def _halted() -> frozenset[str] | None:
    """Engines of which nothing is sent just now; None where nothing at all is."""
    if DispatchPause.current() is not None:
        return None
    return frozenset(Breaker.objects.all().open().values_list("engine", flat=True))
