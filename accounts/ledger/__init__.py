"""The only writer of money: wallets, grants, holds, captures, releases, refunds, corrections, expiry and rules.

Lock order, the same in every operation, so that no two of them can wait for each other in a circle:

    hold row -> budget windows, by id -> wallet row -> grants, in burn order -> inserts

The wallet row is the mutex of its grants: they are never locked on their own, and no operation takes two wallets.
Callers lock what is theirs (a generation row) before they call, put nothing slow between the call and the commit, and
move one wallet per transaction. Every function joins the caller's transaction; a refusal leaves no row behind.

Budgets are made under the wallet's lock and counted before it; the wallet's `budgets_made`, read with the windows and
again with the lock, tells whoever counted that one began to bind meanwhile, and that they must start over.

Decisions are conditional updates on a fixed row (`... WHERE available >= n`), never a read followed by a write. Grants
are chosen in the statement *after* the wallet is locked: under READ COMMITTED one statement that waited for the wallet
would still see the grants as they were before the wait. Expiry needs no punctual job: the same condition refuses to
move a wallet with an expiry due, and whoever meets that settles it first.

Every operation may be repeated: the same key with the same parameters answers with the first result, with others it
raises `IdempotencyConflict`. What is said about it (reason, note, actor, the moment) is not part of that comparison.
"""

from accounts.ledger.budgets import BudgetStatus, Taken, budget_status, budget_statuses, taken_so_far
from accounts.ledger.duty import SOLE_ADMIN
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
from accounts.ledger.holds import Approval, capture, hold, refund, release
from accounts.ledger.lots import add_credits, end_of, extend_grant, void_grant
from accounts.ledger.past import PastBalance, PastBudget, balance_at, budget_at
from accounts.ledger.rules import remove_budget, set_budget, set_default_budget, set_engine_rule

__all__ = [
    "SOLE_ADMIN",
    "Approval",
    "Balance",
    "BudgetStatus",
    "PastBalance",
    "PastBudget",
    "Taken",
    "add_credits",
    "adjust",
    "balance",
    "balance_at",
    "budget_at",
    "budget_status",
    "budget_statuses",
    "capture",
    "end_of",
    "expire",
    "expire_due",
    "extend_grant",
    "freeze",
    "grant",
    "hold",
    "open_wallet",
    "refund",
    "release",
    "remove_budget",
    "set_budget",
    "set_default_budget",
    "set_engine_rule",
    "taken_so_far",
    "unfreeze",
    "void_grant",
]
