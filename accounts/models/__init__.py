"""The tables of people and of money; the ledger alone writes the second kind."""

from accounts.models.alerts import (
    Alert,
    AlertCursor,
    AlertHook,
    AlertSettings,
    Dismissal,
    HookCall,
    Notice,
)
from accounts.models.audit import AuditRecord
from accounts.models.entries import Draw, Entry, SignedHead
from accounts.models.money import (
    Budget,
    BudgetPeriod,
    Grant,
    Hold,
    HoldBudget,
    Wallet,
)
from accounts.models.people import Invitation, Membership, Team, User
from accounts.models.rules import EngineRule

__all__ = [
    "Alert",
    "AlertCursor",
    "AlertHook",
    "AlertSettings",
    "AuditRecord",
    "Budget",
    "BudgetPeriod",
    "Dismissal",
    "Draw",
    "EngineRule",
    "Entry",
    "Grant",
    "Hold",
    "HoldBudget",
    "HookCall",
    "Invitation",
    "Membership",
    "Notice",
    "SignedHead",
    "Team",
    "User",
    "Wallet",
]
