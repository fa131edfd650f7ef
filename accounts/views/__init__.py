"""Pages of people and money."""

from accounts.views.invitations import invitation
from accounts.views.team import budget, invite, member_remove, member_role, revoke_invitation, switch_team, team
from accounts.views.wallet import wallet

__all__ = [
    "budget",
    "invitation",
    "invite",
    "member_remove",
    "member_role",
    "revoke_invitation",
    "switch_team",
    "team",
    "wallet",
]
