"""The rules of spending and who set them: budgets of members, the budget of newcomers, engines that may be ordered.

Each change is kept in the wallet's book as an entry that moves nothing, in the order in which the changes were made.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from accounts import clock
from accounts.errors import InvalidAmount
from accounts.ledger import book, budgets, duty
from accounts.ledger.book import Delta
from accounts.models import Budget, EngineRule, Entry, Team, User, Wallet
from accounts.models.money import Period


def set_budget(
    wallet: Wallet,
    *,
    user: User,
    limit_credits: int,
    period: str,
    is_hard: bool = True,
    actor: User,
    reason: str,
    now: datetime | None = None,
) -> Budget:
    """Let a member take at most `limit_credits` per period; hard budgets refuse, soft ones only show.

    It binds at once and counts what was taken in the running window before, also before there was a budget. Setting
    what is set already writes nothing. Raises `InvalidAmount`, `ReasonRequired`, `SelfDealing` for one's own budget.
    """
    reason = book.checked_reason(reason)
    limit_credits = _checked_limit(limit_credits, period)
    rule = {"limit_credits": limit_credits, "is_hard": is_hard, "is_active": True}
    return _change(wallet, user=user, period=period, rule=rule, actor=actor, reason=reason, now=now)


def remove_budget(
    wallet: Wallet, *, user: User, period: str, actor: User, reason: str, now: datetime | None = None
) -> Budget | None:
    """Stop a budget from binding; its windows stay, so that setting it again is no reset. None if there was none.

    Raises `ReasonRequired`, `SelfDealing` for one's own budget.
    """
    reason = book.checked_reason(reason)
    if not Budget.objects.filter(wallet=wallet, user=user, period=period).exists():
        return None
    return _change(
        wallet, user=user, period=period, rule={"is_active": False}, actor=actor, reason=reason, now=now
    )


def _change(
    wallet: Wallet,
    *,
    user: User,
    period: str,
    rule: dict[str, int | bool],
    actor: User,
    reason: str,
    now: datetime | None,
) -> Budget:
    now = now or clock.now()
    with transaction.atomic():
        budgets.lock_windows(wallet, user=user, period=period, now=now)
        # Under the wallet's lock, so that two admins' changes come one after the other, in the book's order.
        book.lock(wallet.pk)
        budget = Budget.objects.filter(wallet=wallet, user=user, period=period).first()
        before, was = _describe(budget), _bound_by(budget)
        if budget and all(getattr(budget, name) == value for name, value in rule.items()):
            return budget
        mark = duty.mark(wallet.pk, actor=actor, gainer=user, what="changes their own budget")
        was_active = budget is not None and budget.is_active
        budget, _ = Budget.objects.update_or_create(
            wallet=wallet, user=user, period=period, defaults=rule, create_defaults=rule | {"created_at": now}
        )
        if budget.is_active and not was_active:
            budgets.count_earlier(budget, now=now)
        after = book.move(wallet.pk, Delta(), now=now)
        entry = Entry(
            wallet_id=wallet.pk,
            kind=Entry.Kind.BUDGET,
            user=user,
            actor=actor,
            reason=reason,
            note=duty.noted(f"{before} → {_describe(budget)}", mark),
            idempotency_key=f"budget:{wallet.pk}:{after.seq}",
            created_at=now,
        )
        change = ({period: was}, {period: _bound_by(budget)})
        book.write(entry, delta=Delta(), after=after, change=change)
    return budget


def _bound_by(budget: Budget | None) -> dict[str, int | bool] | None:
    """What a budget says, for the audit log; None while it does not bind."""
    if budget is None or not budget.is_active:
        return None
    return {"limit_credits": budget.limit_credits, "is_hard": budget.is_hard}


def _describe(budget: Budget | None) -> str:
    if budget is None or not budget.is_active:
        return "no budget"
    return _words(budget.limit_credits, budget.period, is_hard=budget.is_hard)


def _words(limit_credits: int, period: str, *, is_hard: bool) -> str:
    return f"{limit_credits} per {Period(period).label}, {'hard' if is_hard else 'soft'}"


def _checked_limit(limit_credits: int, period: str) -> int:
    if period not in Period.values:
        raise InvalidAmount(f"{period!r} is no budget period.")
    return book.checked_amount(limit_credits) if limit_credits != 0 else 0


def set_default_budget(
    wallet: Wallet,
    *,
    limit_credits: int | None,
    period: str = Period.MONTH,
    is_hard: bool = True,
    actor: User,
    reason: str,
    now: datetime | None = None,
) -> Team:
    """The budget of whoever joins the team without one of their own; None is none. Members keep what they have.

    Raises `InvalidAmount`, `ReasonRequired`.
    """
    reason = book.checked_reason(reason)
    if limit_credits is not None:
        limit_credits = _checked_limit(limit_credits, period)
    with transaction.atomic():
        team = Team.objects.select_for_update(no_key=True).get(pk=wallet.team_id)
        before, was = _default_words(team), _default_of(team)
        team.default_budget_credits = limit_credits
        team.default_budget_period = period if limit_credits is not None else ""
        team.default_budget_is_hard = is_hard
        if _default_words(team) == before:
            return team
        team.save(update_fields=["default_budget_credits", "default_budget_period", "default_budget_is_hard"])
        note = f"Budget of new members: {before} → {_default_words(team)}"
        change = (was, _default_of(team))
        _record(wallet, actor=actor, reason=reason, note=note, change=change, now=now or clock.now())
    return team


def _default_of(team: Team) -> dict[str, Any]:
    names = ("default_budget_credits", "default_budget_period", "default_budget_is_hard")
    return {name: getattr(team, name) for name in names}


def _default_words(team: Team) -> str:
    if team.default_budget_credits is None:
        return "none"
    return _words(
        team.default_budget_credits, team.default_budget_period, is_hard=team.default_budget_is_hard
    )


def set_engine_rule(
    wallet: Wallet,
    *,
    endpoint_id: str,
    role: str,
    is_allowed: bool | None,
    actor: User,
    reason: str,
    now: datetime | None = None,
) -> None:
    """Allow an engine ("*": any) to a role ("": everyone) of the wallet's team, hide it, or (None) say nothing of it.

    It binds what is asked for from now on. Raises `ReasonRequired`.
    """
    reason = book.checked_reason(reason)
    now = now or clock.now()
    with transaction.atomic():
        book.lock(wallet.pk)
        place: dict[str, Any] = {"team_id": wallet.team_id, "role": role, "endpoint_id": endpoint_id}
        before = EngineRule.objects.filter(**place).first()
        if (before.is_allowed if before else None) == is_allowed:
            return
        if is_allowed is None:
            EngineRule.objects.filter(**place).delete()
        else:
            EngineRule.objects.update_or_create(**place, defaults={"is_allowed": is_allowed})
        words = {None: "nothing said", True: "allowed", False: "hidden"}
        was, is_now = words[before.is_allowed if before else None], words[is_allowed]
        what = f"{endpoint_id} for {role or 'everyone'}"
        change = ({what: was}, {what: is_now})
        _record(wallet, actor=actor, reason=reason, note=f"{what}: {was} → {is_now}", change=change, now=now)


def _record(
    wallet: Wallet,
    *,
    actor: User,
    reason: str,
    note: str,
    change: tuple[dict[str, Any], dict[str, Any]],
    now: datetime,
) -> Entry:
    """Keep a change of the team's rules in its book."""
    after = book.move(wallet.pk, Delta(), now=now)
    entry = Entry(
        wallet_id=wallet.pk,
        kind=Entry.Kind.RULE,
        actor=actor,
        reason=reason,
        note=note[:300],
        idempotency_key=f"rule:{wallet.pk}:{after.seq}",
        created_at=now,
    )
    return book.write(entry, delta=Delta(), after=after, change=change)
