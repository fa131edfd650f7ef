"""The price book: the only writer of price versions beyond the first, what fal's list says of them, and what-if.

A version is never changed: a new price is a new row, from a moment on, with who wrote it and why. Work that was ordered
keeps the version it was quoted by.
"""

from generations.prices.book import (
    PriceError,
    ProposalDecided,
    ProposalStale,
    confirm,
    decline,
    propose,
    publish,
)
from generations.prices.drift import Drift, SyncFailed, sync, sync_if_due
from generations.prices.examples import Example, problem_of, worked
from generations.prices.simulator import Cap, Draft, Outcome, Stop, simulate

__all__ = [
    "Cap",
    "Draft",
    "Drift",
    "Example",
    "Outcome",
    "PriceError",
    "ProposalDecided",
    "ProposalStale",
    "Stop",
    "SyncFailed",
    "confirm",
    "decline",
    "problem_of",
    "propose",
    "publish",
    "simulate",
    "sync",
    "sync_if_due",
    "worked",
]
