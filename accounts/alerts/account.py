"""What teams are told about the account at fal that all of them share: locked, or low. Whoever speaks to fal says so.

Low has no window of its own: the running one is called `now`, and takes the moment of its end as its name when the
balance is back above, which arms it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from accounts import clock
from accounts.alerts.telling import Crossing, one_line, tell
from accounts.models import Alert, Team
from accounts.models.people import Role

RUNNING = "now"
SUBJECT = "fal"


def account_locked(reason: str, *, since: datetime) -> int:
    """fal takes nothing from this account since then: told once per pause to each team. How many alerts are new."""
    window = since.isoformat()
    if Alert.objects.filter(kind=Alert.Kind.FAL_LOCKED, window=window).exists():
        return 0  # all teams were told at once; a team made later sees it on its pages
    text = (
        f"fal has stopped taking work from this account: {one_line(reason)} "
        "Requests wait with their credits held and go out by themselves."
    )
    return tell(_for_every_team(Alert.Kind.FAL_LOCKED, threshold=0, window=window, text=text))


def account_balance(amount_usd: Decimal) -> int:
    """What is left of the prepaid balance; how many teams were told that it is low. Above, the next is a new one."""
    bar = settings.ALERTS["LOW_BALANCE_USD"]
    if amount_usd >= bar:
        rows = Alert.objects.filter(kind=Alert.Kind.FAL_LOW, window=RUNNING)
        rows.update(window=f"until {clock.now().isoformat()}")
        return 0
    text = (
        f"The account at fal holds less than {bar} US dollars. When it is empty fal takes no more work: "
        "whoever runs this installation can top it up."
    )
    return tell(_for_every_team(Alert.Kind.FAL_LOW, threshold=bar, window=RUNNING, text=text))


def _for_every_team(kind: str, *, threshold: int, window: str, text: str) -> Iterator[Crossing]:
    teams = Team.objects.filter(memberships__role=Role.ADMIN, memberships__is_active=True).distinct()
    for team_id in teams.values_list("pk", flat=True):
        yield Crossing(
            team_id=team_id, kind=kind, subject=SUBJECT, threshold=threshold, window=window, text=text
        )
