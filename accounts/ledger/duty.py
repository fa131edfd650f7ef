"""Separation of duty: nobody gives credits to themselves, unless a team has nobody else who could.

Who gains: of a budget, an approval or a refund, the one member it is for; of credits that come into the wallet, every
member of the team, the one who brings them in among them. That one may, all the same, if a hard budget bounds what
they can take, for only somebody else can raise it. The only active admin of a team may do everything, and the entry
says `SOLE_ADMIN`. Staff who are not members gain nothing.
"""

from __future__ import annotations

from accounts.errors import SelfDealing
from accounts.models import Budget, Membership, User
from accounts.models.people import Role

SOLE_ADMIN = "sole admin"


def mark(wallet_id: int, *, actor: User | None, gainer: User, what: str) -> str:
    """What the entry has to say of it: nothing, or that the team has no other admin.

    `what` goes on after "Nobody": "raises their own budget". Raises `SelfDealing`.
    """
    if actor is None or actor.pk != gainer.pk:
        return ""
    return _mark(wallet_id, actor, what=what)


def mark_income(wallet_id: int, *, actor: User | None, what: str) -> str:
    """As `mark`, for credits that come into the wallet or stay in it longer."""
    if actor is None or _is_bounded(wallet_id, actor):
        return ""
    cure = " Or let one of them set you a hard budget first: then what you bring in is not yours to spend."
    return _mark(wallet_id, actor, what=what, cure=cure)


def noted(note: str, mark: str) -> str:
    """The note of an entry with the mark behind it."""
    return "; ".join(part for part in (note[: 298 - len(mark)], mark) if part)


def _mark(wallet_id: int, actor: User, *, what: str, cure: str = "") -> str:
    team = Membership.objects.filter(team__wallet=wallet_id, is_active=True, user__is_active=True)
    if not team.filter(user=actor).exists():
        return ""
    admins = [one.user for one in team.filter(role=Role.ADMIN).select_related("user").order_by("pk")]
    if [admin.pk for admin in admins] == [actor.pk]:
        return SOLE_ADMIN
    raise SelfDealing(what=what, ask=[str(admin) for admin in admins if admin.pk != actor.pk], cure=cure)


def _is_bounded(wallet_id: int, actor: User) -> bool:
    return Budget.objects.filter(wallet=wallet_id, user=actor, is_active=True, is_hard=True).exists()
