"""How often to ask: rarely while a request cannot be done, often when it may be, never more than allowed. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from generations.states import State

SOONEST_SECONDS = 1.0
LATEST_SECONDS = 10.0
SHARE_OF_AGE = 0.05
# While a stream tells us, or a webhook will, asking is only the net below.
STREAMED_SECONDS = 60.0
WEBHOOK_SECONDS = 30.0
QUEUED_LATEST_SECONDS = 5.0
# Somebody far back in fal's queue cannot be next: so much longer for each one ahead, up to a limit.
SECONDS_PER_PLACE = 0.25
FAR_BACK_LATEST_SECONDS = 60.0
# The part of an engine's shortest usual time in which nothing is expected but a failure.
QUIET_SHARE = 0.6
QUIET_LATEST_SECONDS = 30.0
LONGEST_BACK_OFF_SECONDS = 60.0
# A little more than a second, so that a second measured at fal's end never has one too many.
WINDOW_SECONDS = 1.05
MOST_FAILURES = 8


def interval_seconds(
    *,
    state: State,
    age_seconds: float,
    usual_seconds: float,
    is_streamed: bool,
    has_webhook: bool,
    queue_position: int | None = None,
) -> float:
    """Seconds until the next question. `age_seconds` counts from fal's start, or from the submit while queued."""
    if is_streamed:
        return STREAMED_SECONDS
    if state == State.SUBMITTED:
        own = _queued_interval(age_seconds, queue_position)
    else:
        own = _running_interval(age_seconds, usual_seconds)
    return max(own, WEBHOOK_SECONDS) if has_webhook else own


def _queued_interval(age_seconds: float, queue_position: int | None) -> float:
    own = min(max(age_seconds * SHARE_OF_AGE, SOONEST_SECONDS), QUEUED_LATEST_SECONDS)
    return max(own, min((queue_position or 0) * SECONDS_PER_PLACE, FAR_BACK_LATEST_SECONDS))


def _running_interval(age_seconds: float, usual_seconds: float) -> float:
    quiet_left = usual_seconds * QUIET_SHARE - age_seconds
    if quiet_left > 0:
        # Half of what is left, so that the questions come closer together as the time does.
        return min(max(quiet_left / 2, SOONEST_SECONDS), QUIET_LATEST_SECONDS)
    return min(max(age_seconds * SHARE_OF_AGE, SOONEST_SECONDS), LATEST_SECONDS)


def back_off_seconds(failures: int) -> float:
    """After `failures` questions in a row without an answer."""
    return min(SOONEST_SECONDS * 2.0 ** min(failures, 10), LONGEST_BACK_OFF_SECONDS)


@dataclass
class Budget:
    """So many requests a second and no more, in any second whatever its beginning: nothing is saved up."""

    per_second: float
    _taken: deque[float] = field(default_factory=deque)

    def take(self, *, now: float) -> bool:
        """Whether one more may be sent at `now` (seconds of any steady clock)."""
        # Less than one a second is one in more than a second.
        window = WINDOW_SECONDS / min(self.per_second, 1.0)
        while self._taken and self._taken[0] <= now - window:
            self._taken.popleft()
        if len(self._taken) >= max(int(self.per_second), 1):
            return False
        self._taken.append(now)
        return True


@dataclass
class Brake:
    """Holds every question back when fal says 429, or answers nobody at all; then lets one try before the rest."""

    until: float = 0.0
    failures: int = 0

    @property
    def is_probing(self) -> bool:
        """Whether only one question may be out at a time."""
        return self.failures >= MOST_FAILURES

    def may_ask(self, *, now: float) -> bool:
        return now >= self.until

    def answered(self) -> None:
        self.failures = 0

    def refused(self, *, now: float, retry_after_seconds: float | None) -> None:
        """429. What is refused while we hold back already was on its way before, and says nothing new."""
        if self.may_ask(now=now):
            self.failures = max(self.failures + 1, MOST_FAILURES)
        wait = max(retry_after_seconds or 0.0, back_off_seconds(self.failures - MOST_FAILURES))
        self.until = max(self.until, now + wait)

    def unanswered(self, *, now: float) -> None:
        """A 5xx or no answer. One request may have its own trouble; this many in a row are fal's."""
        if not self.may_ask(now=now):
            return
        self.failures += 1
        if self.is_probing:
            self.until = now + back_off_seconds(self.failures - MOST_FAILURES)


@dataclass
class Webhooks:
    """Whether webhooks can be relied on just now: believed in at first, then by what became of the latest ones."""

    latest: deque[bool] = field(default_factory=lambda: deque(maxlen=20))
    fewest: int = 3

    def record(self, *, has_come: bool) -> None:
        """One request that has ended, some time ago: whether fal called us about it."""
        self.latest.append(has_come)

    @property
    def are_coming(self) -> bool:
        return len(self.latest) < self.fewest or sum(self.latest) * 2 >= len(self.latest)
