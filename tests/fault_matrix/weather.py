"""Everything that fal, its webhooks and its links may do to an order, ordered at once; the orders share the waiting.

Watchers are one short meanwhile (see `takeover`), which is to change nothing.
"""

from __future__ import annotations

from pathlib import Path

from tests.fault_matrix.installation import Installation
from tests.fault_matrix.people import ENGINE, Member
from tests.fault_matrix.tale import Tale, wait_all

# The answer to the submit was lost after fal had taken it.
ADOPTED = (
    "drop=after",
    "drop=after webhook=none",
    "hang=after",
    "nginx=502:after",
    "nginx=504:after",
)
# It was lost before, which nobody can know.
NEVER_KNOWN = ("drop=before", "hang=before", "nginx=502", "nginx=504")
REFUSED = {"submit=400": "bad_request", "submit=404": "engine_unavailable", "submit=422": "invalid_input"}
LATER = {"submit=500*1": 2, "submit=503*1": 2, "submit=429*2": 3}
NO_MORE_ATTEMPTS = ("submit=500", "run=500", "run=502", "run=504", "result=502")
ANOTHER_ATTEMPT = ("run=500*1", "run=502*1", "run=504*1")
RESULT_LATER = ("result=500*1", "result=502*1", "result=504*2")
INPUT_REFUSED = ("run=422:content_policy_violation", "run=422:image_too_small")
BAD_LINKS = {
    "download=404": "clip_gone",
    "download=html": "clip_broken",
    "download=truncated": "clip_broken",
    "download=short": "clip_broken",
    "download=notvideo": "clip_broken",
    "download=toolarge": "clip_too_large",
    "download=endless": "clip_too_large",
}
PASSING_LINKS = (
    "download=404*1",
    "download=html*1",
    "download=truncated*1",
    "download=slow:3",
    "download=503*2",
)
WEBHOOKS = (
    "webhook=none",
    "webhook=duplicate",
    "webhook=late:3",
    "webhook=forged",
    "webhook=stale",
    "webhook=unknown",
    "webhook=payload_error",
)
ALL = (
    *(*NEVER_KNOWN, *ADOPTED, *NO_MORE_ATTEMPTS, *BAD_LINKS, *PASSING_LINKS, *REFUSED, *LATER),
    *(*ANOTHER_ATTEMPT, *RESULT_LATER, *INPUT_REFUSED, *WEBHOOKS),
)
# A 404 at the submit says that there is no such engine, and holds up all of its orders: it gets one to itself.
ENGINES = {"submit=404": "fal-ai/minimax/hailuo-2.3/pro/text-to-video"}
PATIENCE_SECONDS = 120
Weather = dict[str, Tale]


def scratch(site: Installation) -> set[Path]:
    """Files in the making on this host."""
    return set((site.house.directory / "tmp").glob("clipledger-incoming-*/*"))


def endured(site: Installation, member: Member) -> Weather:
    """Every order by its directive, settled."""
    found = {faults: Tale(member.order(faults, engine=ENGINES.get(faults, ENGINE)), site) for faults in ALL}
    for faults in NEVER_KNOWN:
        tale = found[faults]
        site.wait(lambda tale=tale: tale.is_lost, what=f"{faults} is lost")  # type: ignore[misc]
        tale.assert_held()
        tale.let_deadline_pass()
    wait_all(found.values(), seconds=PATIENCE_SECONDS)
    return found
