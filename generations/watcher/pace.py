"""How often to ask about one request: rarely while it cannot be done, often when it may be. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from generations.states import State

SOONEST_SECONDS = 1.0
LATEST_SECONDS = 10.0
SHARE_OF_AGE = 0.05
# While a stream tells us, or a webhook will, asking is only the net below.
STREAMED_SECONDS = 30.0
WEBHOOK_SECONDS = 15.0
QUEUED_LATEST_SECONDS = 5.0
# The part of an engine's shortest usual time in which nothing is expected.
QUIET_SHARE = 0.6
LONGEST_BACK_OFF_SECONDS = 60.0


def interval_seconds(
    *, state: State, age_seconds: float, usual_seconds: float, is_streamed: bool, has_webhook: bool
) -> float:
    """Seconds until the next question. `age_seconds` counts from fal's start, or from the submit while queued."""
    if is_streamed:
        return STREAMED_SECONDS
    own = _own_interval(state, age_seconds, usual_seconds)
    return max(own, WEBHOOK_SECONDS) if has_webhook else own


def _own_interval(state: State, age_seconds: float, usual_seconds: float) -> float:
    share = max(age_seconds * SHARE_OF_AGE, SOONEST_SECONDS)
    if state == State.SUBMITTED:
        return min(share, QUEUED_LATEST_SECONDS)
    quiet_left = usual_seconds * QUIET_SHARE - age_seconds
    if quiet_left > 0:
        # Half of what is left, so that the questions come closer together as the time does.
        return min(max(quiet_left / 2, SOONEST_SECONDS), LATEST_SECONDS)
    return min(share, LATEST_SECONDS)


def back_off_seconds(failures: int) -> float:
    """After `failures` questions in a row without an answer."""
    return min(SOONEST_SECONDS * 2.0 ** min(failures, 10), LONGEST_BACK_OFF_SECONDS)


@dataclass
class Budget:
    """So many questions a second and no more, saved up for at most one second."""

    per_second: float
    _left: float = 0.0
    _at: float = 0.0

    def take(self, *, now: float) -> bool:
        """Whether one more may be asked at `now` (seconds of any steady clock)."""
        self._left = min(self._left + (now - self._at) * self.per_second, max(self.per_second, 1.0))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
