"""Pages of people and money."""

from accounts.views.alerts import (
    alert_dismiss,
    alert_hook,
    alert_hook_remove,
    alert_settings,
    alert_test,
    alerts,
    alerts_dismiss,
)
from accounts.views.audit_log import audit_file, audit_log
from accounts.views.entrance import sign_in, signup_closed
from accounts.views.grants import grant, grant_add, grant_extend, grant_void
from accounts.views.invitations import invitation
from accounts.views.team import (
    budget,
    budget_remove,
    default_budget,
    invite,
    member_remove,
    member_role,
    revoke_invitation,
    switch_team,
    team,
)
from accounts.views.wallet import wallet

__all__ = [
    "alert_dismiss",
    "alert_hook",
    "alert_hook_remove",
    "alert_settings",
    "alert_test",
    "alerts",
    "alerts_dismiss",
    "audit_file",
    "audit_log",
    "budget",
    "budget_remove",
    "default_budget",
    "grant",
    "grant_add",
    "grant_extend",
    "grant_void",
    "invitation",
    "invite",
    "member_remove",
    "member_role",
    "revoke_invitation",
    "sign_in",
    "signup_closed",
    "switch_team",
    "team",
    "wallet",
]
