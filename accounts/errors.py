"""What can go wrong with people and money, in words a person can act on.

Every refusal names its cause exactly: a full queue is never reported as "not enough credits".
"""

from __future__ import annotations

from datetime import datetime


class LedgerError(Exception):
    """Base of every refusal of the ledger. `str()` of it may be shown to the person who asked."""


class InsufficientCredits(LedgerError):
    """The team's wallet has fewer credits available than were asked for."""

    def __init__(self, *, needed: int, available: int) -> None:
        self.needed = needed
        self.available = available
        super().__init__(f"This needs {needed} credits; your team has {available} available.")


class BudgetExceeded(LedgerError):
    """A member's own budget for a period refuses, although the wallet may have enough."""

    def __init__(
        self, *, needed: int, left: int, limit: int, period: str, resets_at: datetime | None
    ) -> None:
        self.needed = needed
        self.left = left
        self.limit = limit
        self.period = period
        self.resets_at = resets_at
        when = f"; it resets on {resets_at:%d %b %Y %H:%M %Z}" if resets_at else ""
        super().__init__(
            f"This needs {needed} credits; you have {left} left of your budget of {limit} per {period}{when}."
        )


class WalletNotActive(LedgerError):
    """The wallet is frozen: nothing new may be held; what is held still resolves."""

    def __init__(self, *, status: str) -> None:
        self.status = status
        super().__init__(
            f"Your team's wallet is {status}: an admin has to reopen it before anything new can run."
        )


class HoldAlreadyResolved(LedgerError):
    """The hold was captured or released before; `state` says which way it went."""

    def __init__(self, *, state: str) -> None:
        self.state = state
        super().__init__(f"This hold is already {state}.")


class IdempotencyConflict(LedgerError):
    """The same key came again with other parameters: nothing was done."""

    def __init__(self, *, key: str) -> None:
        self.key = key
        super().__init__(f"The key {key!r} was used before for something else.")


class InvalidAmount(LedgerError):
    """Not a positive whole number, more than was held, more than was captured, ..."""


class ReasonRequired(LedgerError):
    """A correction needs an actor and a reason."""

    def __init__(self) -> None:
        super().__init__("A correction of the books needs the person who makes it and a reason.")


class SelfDealing(LedgerError):
    """Somebody would give credits to themselves; `ask` are the admins who could do it instead."""

    def __init__(self, *, what: str, ask: list[str], cure: str = "") -> None:
        self.ask = ask
        names = " or ".join(ask[:3]) or "another admin"
        super().__init__(f"Nobody {what}: ask {names}, or staff who are not of this team.{cure}")


class GrantClosed(LedgerError):
    """The grant was voided, has expired or is used up: there is nothing to void or to extend."""


class InvalidExpiry(LedgerError):
    """Credits that would have expired before they arrive, or a term that this kind of credits cannot have."""

    def __init__(self, *, expires_at: datetime | None = None, text: str = "") -> None:
        self.expires_at = expires_at
        said = text or f"These credits would have expired on {expires_at:%d %b %Y %H:%M %Z} already."
        super().__init__(said)


class BookOutOfBalance(Exception):
    """A row contradicts another: nothing was done. Not a refusal but damage; `manage.py check_ledger` names it."""
