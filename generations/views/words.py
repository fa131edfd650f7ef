"""What a generation's state, progress and money are called on the screen. Money words come from the hold, never from
the state: "not charged" is said only when the hold was released.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.humanize.templatetags.humanize import intcomma

from accounts.clock import now
from accounts.models import Hold
from generations.estimates import Estimate
from generations.models import Breaker, Generation
from generations.states import State

# What fal does with an engine, and what it did when that was last tried.
_OUTAGES = {
    Breaker.Code.FAILING: ("fails", "failed"),
    Breaker.Code.NO_ACCESS: ("is not open to this site", "was not open to this site"),
    Breaker.Code.GONE: ("is not offered", "was not offered"),
}
# A bar that stands at its end while work goes on says something untrue.
MOST = 95
MINUTE_SECONDS = 60
# From here on steps of five minutes are as exact as anybody can be.
COARSE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running generation is. `percent` None: nobody can say; `elapsed_seconds` counts from fal's start."""

    label: str
    percent: int | None
    elapsed_seconds: int | None
    expected_seconds: int | None


def clock(seconds: float) -> str:
    """ "00:42", "12:05", "1:02:05"."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def in_credits(amount: int) -> str:
    return f"{intcomma(amount)} credit{'' if amount == 1 else 's'}"


def state(generation: Generation) -> str:
    """One short line: "Waiting · 2 ahead", "At fal · position 3", "Running 00:42", "Failed · not charged"."""
    if generation.is_cancel_requested and not generation.is_settled:
        return "Canceling"
    return {
        State.REQUESTED: _waiting,
        State.SUBMITTED: _at_fal,
        State.RUNNING: _running,
        State.STORING: lambda _: "Storing",
        State.SUCCEEDED: lambda _: "Ready",
        State.FAILED: lambda it: _ended("Failed", it),
        State.CANCELED: lambda it: _ended("Canceled", it),
    }[State(generation.state)](generation)


def money(generation: Generation) -> str:
    """What became of the credits: "49 credits held", "49 credits captured", "not charged"."""
    hold = generation.hold
    if hold.state == Hold.State.HELD:
        return f"{in_credits(hold.amount)} held"
    if hold.state == Hold.State.RELEASED:
        return "not charged"
    if hold.refunded:
        return f"{in_credits(hold.refunded)} of {intcomma(hold.captured)} refunded"
    return f"{in_credits(hold.captured)} captured"


def tone(generation: Generation) -> str:
    """The colour of the state's chip."""
    return {State.SUCCEEDED: "good", State.FAILED: "bad", State.CANCELED: "plain"}.get(
        State(generation.state), "busy"
    )


def progress(generation: Generation) -> Progress:
    elapsed = running_seconds(generation)
    expected = expected_seconds(generation)
    percent = min(MOST, elapsed * 100 // expected) if elapsed is not None and expected else None
    if generation.state == State.STORING:
        percent = MOST
    return Progress(f"Progress of {generation.engine_title}", percent, elapsed, expected)


def running_seconds(generation: Generation) -> int | None:
    """Seconds since fal began, while it runs."""
    if generation.state != State.RUNNING or generation.started_at is None:
        return None
    return max(0, int((now() - generation.started_at).total_seconds()))


def expected_seconds(generation: Generation) -> int | None:
    """How long its run takes by what we saw; else what the catalogue calls typical, which says nothing of a simulated
    clip: its pace is the sandbox's own.
    """
    estimate = estimate_of(generation)
    if estimate and estimate.is_learned:
        return max(1, round(estimate.run_seconds))
    entry = generation.catalogue_entry
    typical = entry.timing.typical_seconds if entry and not generation.is_simulated else None
    return sum(typical) // 2 if typical else None


def outage(breaker: Breaker) -> str:
    """ "Hailuo 2.3 Pro fails at fal just now." """
    is_so, was_so = _OUTAGES[Breaker.Code(breaker.code)]
    if breaker.is_untested(now()):
        return f"{breaker.label} {was_so} at fal when it was last tried."
    return f"{breaker.label} {is_so} at fal just now."


def outage_before_ordering(breaker: Breaker) -> str:
    """What an order for the engine would meet."""
    if breaker.is_untested(now()):
        return f"{outage(breaker)} Your order is the next try: if it fails, it waits, and can be cancelled."
    return f"{outage(breaker)} What you order waits, starts by itself once it works, and can be cancelled."


def outage_while_waiting(generation: Generation) -> str:
    """Why it waits, where its engine is why; else nothing."""
    breaker: Breaker | None = getattr(generation, "breaker", None)
    if breaker is None or generation.state != State.REQUESTED:
        return ""
    return f"{outage(breaker)} This starts by itself once it works; {next_try(breaker)}."


def is_held_back(generation: Generation) -> bool:
    """Whether it waits for an engine that does not work: nothing moves meanwhile."""
    return generation.state == State.REQUESTED and getattr(generation, "breaker", None) is not None


def next_try(breaker: Breaker) -> str:
    """ "next try in 00:25"."""
    at = breaker.probe_at or now()
    return f"next try in {clock((at - now()).total_seconds())}" if at > now() else "the next try is due"


def estimate_of(generation: Generation) -> Estimate | None:
    return getattr(generation, "estimate", None)


def span(seconds: float) -> str:
    """ "less than a minute", "about 3 minutes", "about 25 minutes", "about 2 hours": as exact as it can be known."""
    if seconds < MINUTE_SECONDS:
        return "less than a minute"
    step = 1 if seconds < COARSE_SECONDS else 5
    minutes = max(1, round(seconds / MINUTE_SECONDS / step) * step)
    if minutes < 100:
        return f"about {minutes} minute{'' if minutes == 1 else 's'}"
    hours = round(minutes / 60)
    return f"about {hours} hours"


def wait(generation: Generation) -> str:
    """How long it will still take: "About 3 minutes, rarely more than 5"; empty where nobody can say."""
    estimate = estimate_of(generation)
    if estimate is None or generation.is_settled or generation.is_cancel_requested:
        return ""
    if estimate.is_late:
        return "Longer than usual"
    typical, upper = span(estimate.typical_seconds), span(estimate.upper_seconds)
    if not estimate.is_learned:
        return f"Usually {typical}, not a promise"
    if upper == typical:
        return _capital(typical)
    if estimate.upper_seconds < 1.5 * MINUTE_SECONDS:
        return f"Usually {typical}"
    return f"{_capital(typical)}, rarely more than {upper.removeprefix('about ')}"


def wait_of_new(estimate: Estimate | None) -> str:
    """Beside the button: "Usually about 2 minutes.", "About 5 minutes with the 3 ahead of you."."""
    if estimate is None:
        return ""
    typical = span(estimate.typical_seconds)
    doubt = "" if estimate.is_learned else ", not a promise"
    if not estimate.ahead:
        return f"Usually {typical}{doubt}."
    others = "one" if estimate.ahead == 1 else intcomma(estimate.ahead)
    return f"{_capital(typical)} with the {others} ahead of you{doubt}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _waiting(generation: Generation) -> str:
    if getattr(generation, "breaker", None):
        return "Waiting · engine down at fal"
    ahead = getattr(generation, "ahead", None)
    if ahead is None:
        return "Waiting"
    return f"Waiting · {ahead} ahead" if ahead else "Waiting · next to go"


def _at_fal(generation: Generation) -> str:
    position = generation.fal_queue_position
    return "At fal · starting" if position is None else f"At fal · position {position + 1}"


def _running(generation: Generation) -> str:
    elapsed, expected = running_seconds(generation), expected_seconds(generation)
    if elapsed is None:
        return "Running"
    about = f" of about {expected // 60}:{expected % 60:02}" if expected else ""
    return f"Running {clock(elapsed)}{about}"


def _ended(word: str, generation: Generation) -> str:
    return f"{word} · not charged" if generation.hold.state == Hold.State.RELEASED else word
