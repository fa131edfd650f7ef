"""Asking for more: what was refused for credits is kept as a request, and runs by itself once an admin approves it.

`refusals` says what stands in the way of an order, `making` keeps the draft with its pictures and its binding quote,
`deciding` has what an admin may do about it, once, `links` makes the way in from a mail, `mails` tells people.

Lock order: the request's row, then the form's turn (`lifecycle.one_at_a_time`), then the ledger's own.
"""

from generations.asking.deciding import NewLimit, approve, decline
from generations.asking.errors import (
    AlreadyDecided,
    AskedBefore,
    AskingError,
    LinkNotGood,
    NotAnAdmin,
    NoteRequired,
    NothingRefused,
    NotRaised,
    OrderedMeanwhile,
    StaysOpen,
)
from generations.asking.links import follow, token
from generations.asking.mails import mail
from generations.asking.making import ask, sweep, withdraw
from generations.asking.refusals import is_askable, refusal

__all__ = [
    "AlreadyDecided",
    "AskedBefore",
    "AskingError",
    "LinkNotGood",
    "NewLimit",
    "NotAnAdmin",
    "NotRaised",
    "NoteRequired",
    "NothingRefused",
    "OrderedMeanwhile",
    "StaysOpen",
    "approve",
    "ask",
    "decline",
    "follow",
    "is_askable",
    "mail",
    "refusal",
    "sweep",
    "token",
    "withdraw",
]
