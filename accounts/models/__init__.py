"""The tables of people and of money; the ledger alone writes the second kind."""

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
    "AuditRecord",
    "Budget",
    "BudgetPeriod",
    "Draw",
    "EngineRule",
    "Entry",
    "Grant",
    "Hold",
    "HoldBudget",
    "Invitation",
    "Membership",
    "SignedHead",
    "Team",
    "User",
    "Wallet",
]
