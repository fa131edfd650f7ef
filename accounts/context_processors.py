"""The current team and its wallet, for every page's header."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest

from accounts import workspace as room
from accounts.models import Alert, Membership

MOST_COUNTED = 100


def workspace(request: HttpRequest) -> dict[str, Any]:
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {}
    membership = room.current_membership(request)
    return {
        "membership": membership,
        "team": membership.team if membership else None,
        "wallet": getattr(membership.team, "wallet", None) if membership else None,
        "memberships": getattr(request, "_memberships", []),
        # Asked only where a page shows it: fragments do not.
        "unread_alerts": partial(_unread, membership),
    }


def _unread(membership: Membership | None) -> int:
    """How many alerts this person has not dismissed; counted up to a hundred."""
    if membership is None:
        return 0
    return Alert.objects.unread_by(membership)[:MOST_COUNTED].count()
