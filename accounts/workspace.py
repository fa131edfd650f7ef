"""Which team a person is working in: the one chosen in this session, or the first they belong to."""

from __future__ import annotations

from django.http import HttpRequest

from accounts.models import Membership, User

SESSION_KEY = "team_id"


def memberships(user: User) -> list[Membership]:
    """The person's active memberships with team and wallet, by team name. One query."""
    found = Membership.objects.filter(user=user, is_active=True).select_related("team__wallet")
    return list(found.order_by("team__name"))


def current_membership(request: HttpRequest) -> Membership | None:
    """The membership of the current team, asked of the database once per request."""
    if not request.user.is_authenticated:
        return None
    if not hasattr(request, "_membership"):
        request._membership = _choose(request)  # type: ignore[attr-defined]
    return request._membership  # type: ignore[attr-defined]


def _choose(request: HttpRequest) -> Membership | None:
    mine = memberships(request.user)  # type: ignore[arg-type]
    request._memberships = mine  # type: ignore[attr-defined]
    chosen = request.session.get(SESSION_KEY)
    return next((m for m in mine if m.team_id == chosen), mine[0] if mine else None)
