"""Who belongs to a team: invitations, roles, leaving. The only writer of memberships besides the Django admin.

An invitation is a link with a random token, good for one person, once, for `settings.INVITATION_DAYS` days. Only the
token's SHA-256 is stored. The budget given with an invitation, or else the team's default for those who join, is set
through the ledger when it is accepted.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts import audit, clock, ledger
from accounts.models import Invitation, Membership, Team, User
from accounts.models.people import Role


class PeopleError(Exception):
    """A refusal whose text may be shown to the person who asked."""


class InvitationNotOpen(PeopleError):
    """Used, revoked, expired or never existed: the four look the same from outside."""

    def __init__(self) -> None:
        super().__init__(
            "This invitation has been used, withdrawn or has expired. Ask your team admin for a new one."
        )


class AlreadyMember(PeopleError):
    """The person is an active member of the team already."""


class LastAdmin(PeopleError):
    """A team keeps at least one active admin."""

    def __init__(self) -> None:
        super().__init__("This is the team's only admin; make somebody else an admin first.")


def invite(
    team: Team,
    *,
    email: str,
    role: str,
    invited_by: User,
    budget_credits: int | None = None,
    budget_period: str = "",
) -> tuple[Invitation, str]:
    """A new invitation and the token for its link; open ones for the same address are withdrawn.

    Raises AlreadyMember.
    """
    email = email.strip().lower()
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        _lock(team.pk)
        if Membership.objects.filter(team=team, user__email__iexact=email, is_active=True).exists():
            raise AlreadyMember(f"{email} is a member of {team} already.")
        now = clock.now()
        _open_for(team).filter(email__iexact=email).update(revoked_at=now)
        invitation = Invitation.objects.create(
            team=team,
            email=email,
            role=role,
            budget_credits=budget_credits,
            budget_period=budget_period if budget_credits is not None else "",
            token_sha256=_digest(token),
            invited_by=invited_by,
            created_at=now,
            expires_at=now + timedelta(days=settings.INVITATION_DAYS),
        )
        given = {"role": role, "budget_credits": budget_credits, "budget_period": invitation.budget_period}
        audit.record("invitation.sent", subject=invitation, team=team, actor=invited_by, after=given)
    return invitation, token


def find_invitation(token: str) -> Invitation:
    """The open invitation of a link. Raises InvitationNotOpen."""
    found = (
        Invitation.objects.select_related("team", "invited_by").filter(token_sha256=_digest(token)).first()
    )
    if found is None or not found.is_open:
        raise InvitationNotOpen
    return found


def open_invitations(team: Team) -> list[Invitation]:
    return list(_open_for(team).order_by("-created_at"))


def has_login(invitation: Invitation) -> bool:
    """Whether the invited address signs in here already; only whoever holds the link is told."""
    return User.objects.filter(email__iexact=invitation.email).exists()


@transaction.atomic
def accept(token: str, *, user: User | None = None, name: str = "", password: str = "") -> Membership:
    """Join the team of a link: as `user` when signed in, else as a new user with `name` and `password`.

    Two acceptances at once: the row lock lets one through. Raises InvitationNotOpen, AlreadyMember, or PeopleError
    when the address has a login already (sign in first) or the signed-in person is not the one who was invited.
    """
    locked = Invitation.objects.select_for_update().filter(token_sha256=_digest(token)).first()
    if locked is None or not locked.is_open:
        raise InvitationNotOpen
    member = user or _new_user(locked, name=name, password=password)
    if member.email.lower() != locked.email.lower():
        raise PeopleError(f"This invitation is for {locked.email}; you are signed in as {member.email}.")
    membership = _join(locked, member)
    _give_budget(locked, member)
    locked.accepted_at, locked.accepted_by = clock.now(), member
    locked.save(update_fields=["accepted_at", "accepted_by"])
    audit.record(
        "invitation.accepted",
        subject=membership,
        team=locked.team,
        actor=member,
        after={"invitation": locked.pk, "role": membership.role, "is_active": True},
    )
    return membership


@transaction.atomic
def revoke(invitation: Invitation) -> None:
    """Withdraw an invitation; one that is used, withdrawn or expired stays as it is."""
    now = clock.now()
    if _open_for(invitation.team).filter(pk=invitation.pk).update(revoked_at=now):
        audit.record(
            "invitation.revoked",
            subject=invitation,
            team=invitation.team,
            before={"revoked_at": None},
            after={"revoked_at": now},
        )


@transaction.atomic
def set_role(membership: Membership, *, role: str) -> None:
    """Raises LastAdmin when it would leave the team without an admin."""
    _lock(membership.team_id)
    if role != Role.ADMIN:
        _keep_one_admin(membership)
    _update(membership, "membership.role_changed", role=str(role))


@transaction.atomic
def remove(membership: Membership) -> None:
    """End a membership: holds in flight finish, nothing new can be asked for. Raises LastAdmin."""
    _lock(membership.team_id)
    _keep_one_admin(membership)
    _update(membership, "membership.ended", is_active=False)


def _update(membership: Membership, action: str, **values: str | bool) -> None:
    """Under the team's lock; what is so already is no change."""
    rows = Membership.objects.filter(pk=membership.pk)
    before = rows.values(*values).get()
    if before == values:
        return
    rows.update(**values)
    audit.record(action, subject=membership, team=membership.team_id, before=before, after=values)


def _lock(team_id: int) -> None:
    """Changes of who belongs to a team take turns: two admins who demote each other at once cannot both win."""
    Team.objects.select_for_update(no_key=True).get(pk=team_id)


def _keep_one_admin(membership: Membership) -> None:
    # Asked of the database and not of `membership`, which may be older than the lock.
    admins = Membership.objects.filter(team_id=membership.team_id, role=Role.ADMIN, is_active=True)
    if list(admins.values_list("pk", flat=True)) == [membership.pk]:
        raise LastAdmin


def _new_user(invitation: Invitation, *, name: str, password: str) -> User:
    try:
        with transaction.atomic():
            return User.objects.create_user(invitation.email, password, name=name)
    except IntegrityError as error:
        raise PeopleError(
            f"{invitation.email} has a login already: sign in, then open the link again."
        ) from error


def _join(invitation: Invitation, member: User) -> Membership:
    _lock(invitation.team_id)
    membership, is_new = Membership.objects.get_or_create(
        team=invitation.team, user=member, defaults={"role": invitation.role}
    )
    if is_new:
        return membership
    if membership.is_active:
        raise AlreadyMember(f"{member.email} is a member of {invitation.team} already.")
    membership.role, membership.is_active = invitation.role, True
    membership.save(update_fields=["role", "is_active"])
    return membership


def _give_budget(invitation: Invitation, member: User) -> None:
    wallet, team = ledger.open_wallet(invitation.team), invitation.team
    if invitation.budget_credits is not None:
        ledger.set_budget(
            wallet,
            user=member,
            limit_credits=invitation.budget_credits,
            period=invitation.budget_period,
            actor=invitation.invited_by,
            reason="Given with the invitation",
        )
    elif team.default_budget_credits is not None and not ledger.budget_status(wallet, member):
        # Whoever comes back finds the budgets they left with: a default is for those who have none.
        ledger.set_budget(
            wallet,
            user=member,
            limit_credits=team.default_budget_credits,
            period=team.default_budget_period,
            is_hard=team.default_budget_is_hard,
            actor=invitation.invited_by,
            reason="The team's budget of new members",
        )


def _open_for(team: Team) -> QuerySet[Invitation]:
    return Invitation.objects.filter(
        team=team, accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=clock.now()
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
