"""The words for a generation's and an attempt's state, and the table of moves between them. Pure.

    requested ─▶ submitted ─▶ running ─▶ storing ─▶ succeeded   (capture)
        │            │           │          └────▶ failed       (release)
        └── cancel ──┴───────────┴──▶ canceled                  (release)

A 5xx goes back to `requested`: a new attempt under the same hold, while attempts are left.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    REQUESTED = "requested"
    SUBMITTED = "submitted"
    RUNNING = "running"
    STORING = "storing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


SETTLED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED})
UNSETTLED = frozenset(State) - SETTLED
# What fal works on: these count against the account's concurrency.
AT_FAL = frozenset({State.SUBMITTED, State.RUNNING})

MOVES: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset({State.SUBMITTED, State.FAILED, State.CANCELED}),
    State.SUBMITTED: frozenset({State.REQUESTED, State.RUNNING, State.STORING, State.FAILED, State.CANCELED}),
    State.RUNNING: frozenset({State.REQUESTED, State.SUBMITTED, State.STORING, State.FAILED, State.CANCELED}),
    State.STORING: frozenset({State.REQUESTED, State.SUCCEEDED, State.FAILED, State.CANCELED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELED: frozenset(),
}


def origins(to: State) -> frozenset[State]:
    """The states from which `to` may be reached."""
    return frozenset(state for state, targets in MOVES.items() if to in targets)


class AttemptState(StrEnum):
    SENDING = "sending"  # committed before the POST; nobody can tell from this row whether it left
    ACCEPTED = "accepted"  # fal answered with a request id
    LOST = "lost"  # no answer came: never sent twice, resolved by webhook, fal's history or a person
    DONE = "done"  # fal completed it and we have the result
    FAILED = "failed"  # fal refused or failed it
    CANCELED = "canceled"


OPEN_ATTEMPTS = frozenset({AttemptState.SENDING, AttemptState.ACCEPTED, AttemptState.LOST})
