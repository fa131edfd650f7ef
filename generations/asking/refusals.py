"""What would refuse an order at this moment, as the refusal it would be met with."""

from __future__ import annotations

from accounts import clock, errors, ledger
from accounts.models import EngineRule, Membership, Wallet
from generations import catalogue, lifecycle
from generations.models import CreditRequest

Refusal = CreditRequest.Refusal
ASKABLE: dict[type[Exception], CreditRequest.Refusal] = {
    errors.InsufficientCredits: Refusal.CREDITS,
    errors.BudgetExceeded: Refusal.BUDGET,
    lifecycle.EngineHidden: Refusal.ENGINE,
}


def refusal(engine: catalogue.Engine, amount: int, membership: Membership) -> Exception | None:
    """The engine's rule first, then the wallet, then the budgets, shortest period first; None if it would be held.

    Nothing is locked: what is asked for in earnest is judged anew by the ledger.
    """
    if EngineRule.objects.hidden_from(membership, [engine.endpoint_id]):
        return lifecycle.EngineHidden(engine.label)
    wallet = Wallet.objects.filter(team=membership.team_id).first()
    if wallet is None or wallet.status != Wallet.Status.ACTIVE:
        return errors.WalletNotActive(status=wallet.status if wallet else "not open yet")
    if wallet.available < amount:
        return errors.InsufficientCredits(needed=amount, available=wallet.available)
    for status in ledger.budget_status(wallet, membership.user, now=clock.now()):
        if status.budget.is_hard and status.left < amount:
            return _over(status, amount)
    return None


def is_askable(refused: Exception | None) -> bool:
    """Whether an admin could let it through: a frozen wallet they could not."""
    return type(refused) in ASKABLE


def _over(status: ledger.BudgetStatus, amount: int) -> errors.BudgetExceeded:
    return errors.BudgetExceeded(
        needed=amount,
        left=status.left,
        limit=status.limit,
        period=status.budget.get_period_display(),
        resets_at=status.resets_at,
    )
