"""What a team wants to be told, and who gets mail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import transaction

from accounts import audit
from accounts.models import AlertCursor, AlertSettings, Team, User
from accounts.models.people import Role


def rules_of(team_id: int) -> AlertSettings:
    """The team's own, or the defaults, unsaved."""
    return AlertSettings.objects.filter(team=team_id).first() or AlertSettings(team_id=team_id)


@transaction.atomic
def change_rules(
    team: Team,
    *,
    wallet_percents: Sequence[int],
    budget_percents: Sequence[int],
    is_burn_watched: bool,
    is_mailed: bool,
    is_member_mailed: bool,
    mailed_users: Iterable[User],
) -> AlertSettings:
    """Set all of it. What was told stays told; what a new threshold makes true is told at the next look."""
    before = _values(rules_of(team.pk))
    rules, _ = AlertSettings.objects.update_or_create(
        team=team,
        defaults={
            "wallet_percents": sorted(set(wallet_percents)),
            "budget_percents": sorted(set(budget_percents)),
            "is_burn_watched": is_burn_watched,
            "is_mailed": is_mailed,
            "is_member_mailed": is_member_mailed,
        },
    )
    rules.mailed_users.set(mailed_users)
    AlertCursor.objects.filter(wallet__team=team).update(seen_seq=-1)
    audit.record("alerts.changed", subject=rules, team=team, before=before, after=_values(rules))
    return rules


def _values(rules: AlertSettings) -> dict[str, object]:
    mailed = (
        [] if rules._state.adding else rules.mailed_users.order_by("email").values_list("email", flat=True)
    )
    names = ("wallet_percents", "budget_percents", "is_burn_watched", "is_mailed", "is_member_mailed")
    return {name: getattr(rules, name) for name in names} | {"mailed_users": list(mailed)}


def mailed(rules: AlertSettings, *, concerned_id: int | None) -> set[int]:
    """Keys of the users who get mail: those chosen who are still members, else every admin; and whom it concerns."""
    if not rules.is_mailed:
        return set()
    active = rules.team.memberships.filter(is_active=True, user__is_active=True)
    chosen: list[int] = []
    if not rules._state.adding:
        chosen = list(rules.mailed_users.values_list("pk", flat=True))
    admins = active.filter(user__in=chosen) if chosen else active.none()
    if not admins:
        admins = active.filter(role=Role.ADMIN)
    found = set(admins.values_list("user_id", flat=True))
    if concerned_id is not None and rules.is_member_mailed and active.filter(user=concerned_id).exists():
        found.add(concerned_id)
    return found
