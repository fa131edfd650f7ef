"""What an admin may do about a request, once: run it as it is, run it and raise the budget, or decline it.

Deciding, the hold, the generation and a raised budget are one transaction. The request's row is locked first, so of two
admins, two tabs or two clicks at once the second finds it decided.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts import audit, clock, ledger
from accounts.errors import InsufficientCredits, WalletNotActive
from accounts.models import Budget, Membership, User
from accounts.models.money import Period
from accounts.models.people import Role
from generations import catalogue, estimates, lifecycle
from generations.asking.errors import (
    AlreadyDecided,
    NotAnAdmin,
    NoteRequired,
    NotRaised,
    OrderedMeanwhile,
    StaysOpen,
)
from generations.asking.making import Kind, State, close
from generations.models import CreditRequest, Generation, Picture


@dataclass(frozen=True)
class NewLimit:
    """What a budget of the member is raised to, in credits per `period`."""

    period: str
    limit_credits: int


def approve(
    request_id: uuid.UUID, *, actor: User, note: str = "", new_limit: NewLimit | None = None
) -> Generation:
    """Run it now at the price that was quoted, over whatever budget refuses; with `new_limit` raise one as well.

    The wallet may never go below zero: where it is short, and where the engine is gone or the member has left,
    `StaysOpen` says so. Raises `AlreadyDecided`, `NotAnAdmin`, `OrderedMeanwhile`, `NotRaised`, and
    `accounts.errors.SelfDealing` for one's own request where somebody else could decide it.
    """
    with transaction.atomic():
        row = _locked(request_id, actor)
        generation = _run(row, actor)
        if new_limit is not None:
            # After the hold: the wallet is locked by then, and budgets are changed under its lock alone.
            _raise_budget(row, new_limit, actor=actor, note=note)
        kind = Kind.APPROVED if new_limit is None else Kind.RAISED
        now = clock.now()
        close(row, State.APPROVED, kind, actor=actor, note=note, generation=generation, now=now)
        _record(row, State.APPROVED, actor=actor, note=note)
    return generation


def decline(request_id: uuid.UUID, *, actor: User, note: str) -> None:
    """Refuse it for good, and say why. Raises `NoteRequired`, `AlreadyDecided`, `NotAnAdmin`."""
    if not note.strip():
        raise NoteRequired
    with transaction.atomic():
        row = _locked(request_id, actor)
        close(row, State.DECLINED, Kind.DECLINED, actor=actor, note=note, now=clock.now())
        _record(row, State.DECLINED, actor=actor, note=note)


def _record(row: CreditRequest, state: str, *, actor: User, note: str) -> None:
    asked = {"by": str(row.user), "engine": row.engine, "credits": row.quote_credits}
    before, after = {"state": State.OPEN, **asked}, {"state": state, **asked}
    audit.record(
        f"request.{state}", subject=row, team=row.team, actor=actor, reason=note, before=before, after=after
    )


def _locked(request_id: uuid.UUID, actor: User) -> CreditRequest:
    """The row, open, locked until the transaction ends, for an admin of its team."""
    rows = CreditRequest.objects.select_for_update(of=("self",)).select_related("team", "user")
    row = rows.select_related("price_version").get(pk=request_id)
    admins = Membership.objects.filter(team=row.team_id, role=Role.ADMIN, is_active=True)
    if not admins.filter(user=actor, user__is_active=True).exists():
        raise NotAnAdmin
    if not row.is_open:
        raise AlreadyDecided(state=row.state_now)
    return row


def _run(row: CreditRequest, actor: User) -> Generation:
    lifecycle.one_at_a_time(row.user, row.form_token)
    if Generation.objects.filter(user=row.user_id, form_token=row.form_token).exists():
        raise OrderedMeanwhile(member=str(row.user))
    try:
        return _ordered(row, actor)
    except InsufficientCredits as short:
        raise StaysOpen(
            f"The wallet has {short.available} credits and this needs {short.needed}: "
            f"{short.needed - short.available} are missing."
        ) from short
    except lifecycle.NotAMember as gone:
        raise StaysOpen(f"{row.user} is no longer a member of {row.team}.") from gone
    except catalogue.UnknownEngine as gone:
        raise StaysOpen(f"The engine {row.engine} has been withdrawn.") from gone
    except catalogue.InvalidInputs as changed:
        said = " ".join(changed.errors.values())
        raise StaysOpen(f"The engine does not take these inputs any more: {said}") from changed
    except (WalletNotActive, lifecycle.LifecycleError, catalogue.CatalogueError) as refused:
        raise StaysOpen(str(refused)) from refused


def _ordered(row: CreditRequest, actor: User) -> Generation:
    return lifecycle.request(
        user=row.user,
        team=row.team,
        engine=row.engine,
        params=row.inputs,
        pictures=pictures_of(row),
        form_token=row.form_token,
        expected_seconds=estimates.expected_seconds(
            user=row.user, team=row.team, engine=row.engine, params=row.inputs
        ),
        tag=row.tag,
        approved=lifecycle.Approved(actor, row.reference, row.quote_credits, row.price_version),
    )


def pictures_of(row: CreditRequest) -> dict[str, list[Picture]]:
    found: dict[str, list[Picture]] = {}
    for link in row.picture_links.select_related("picture"):
        found.setdefault(link.field, []).append(link.picture)
    return found


def _raise_budget(row: CreditRequest, new: NewLimit, *, actor: User, note: str) -> None:
    wallet = row.team.wallet
    budget = Budget.objects.filter(wallet=wallet, user=row.user_id, period=new.period, is_active=True).first()
    if budget is None:
        raise NotRaised(f"{row.user} has no such budget any more: approve it as it is.")
    if new.limit_credits <= budget.limit_credits:
        raise NotRaised(f"It is {budget.limit_credits} {budget.per} now: raise it to more than that.")
    ledger.set_budget(
        wallet,
        user=row.user,
        limit_credits=new.limit_credits,
        period=new.period,
        is_hard=budget.is_hard,
        actor=actor,
        reason=(f"Raised for {row.reference}" + (f": {note.strip()}" if note.strip() else ""))[:300],
    )
    taken = _taken(row, new.period, now=clock.now())
    if taken > new.limit_credits:
        raise NotRaised(
            f"With this clip {row.user} will have taken {taken} credits {Period(new.period).per}: "
            f"raise the budget to at least that, or approve this one as it is."
        )


def _taken(row: CreditRequest, period: str, *, now: datetime) -> int:
    statuses = ledger.budget_status(row.team.wallet, row.user, now=now)
    return next((s.spent + s.held for s in statuses if s.budget.period == period), 0)
