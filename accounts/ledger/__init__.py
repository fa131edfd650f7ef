"""The only writer of money: wallets, grants, holds, captures, releases, refunds, corrections, expiry and budgets.

Lock order, the same in every operation, so that no two of them can wait for each other in a circle:

    hold row -> budget windows, by id -> wallet row -> grants, in burn order -> inserts

The wallet row is the mutex of its grants: they are never locked on their own, and no operation takes two wallets.
Callers lock what is theirs (a generation row) before they call, put nothing slow between the call and the commit, and
move one wallet per transaction. Every function joins the caller's transaction; a refusal leaves no row behind.

Decisions are conditional updates on a fixed row (`... WHERE available >= n`), never a read followed by a write. Grants
are chosen in the statement *after* the wallet is locked: under READ COMMITTED one statement that waited for the wallet
would still see the grants as they were before the wait. Expiry needs no punctual job: the same condition refuses to
move a wallet with an expiry due, and whoever meets that settles it first.

Every operation may be repeated: the same key with the same parameters answers with the first result, with others it
raises `IdempotencyConflict`. What is said about it (reason, note, actor, the moment) is not part of that comparison.
"""

from accounts.ledger.budgets import BudgetStatus, budget_status, budget_statuses, remove_budget, set_budget
from accounts.ledger.grants import (
    Balance,
    adjust,
    balance,
    expire,
    expire_due,
    freeze,
    grant,
    open_wallet,
    unfreeze,
)
from accounts.ledger.holds import capture, hold, refund, release
from accounts.ledger.past import PastBalance, PastBudget, balance_at, budget_at

__all__ = [
    "Balance",
    "BudgetStatus",
    "PastBalance",
    "PastBudget",
    "adjust",
    "balance",
    "balance_at",
    "budget_at",
    "budget_status",
    "budget_statuses",
    "capture",
    "expire",
    "expire_due",
    "freeze",
    "grant",
    "hold",
    "open_wallet",
    "refund",
    "release",
    "remove_budget",
    "set_budget",
    "unfreeze",
]
