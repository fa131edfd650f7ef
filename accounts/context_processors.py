"""The current team and its wallet, for every page's header."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from accounts import workspace as room


def workspace(request: HttpRequest) -> dict[str, Any]:
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {}
    membership = room.current_membership(request)
    return {
        "membership": membership,
        "team": membership.team if membership else None,
        "wallet": getattr(membership.team, "wallet", None) if membership else None,
        "memberships": getattr(request, "_memberships", []),
    }
