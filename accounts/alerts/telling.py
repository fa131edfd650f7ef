"""Writing down what is to be told: the alert and its way out by each channel, in one transaction, once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction

from accounts import clock
from accounts.alerts import rules
from accounts.models import Alert, AlertHook, Dismissal, Membership, Notice

Key = tuple[int, str, str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """A threshold that is crossed as things stand. `window` changes before the same may be told again."""

    team_id: int
    kind: str
    subject: str
    threshold: int
    window: str
    text: str
    user_id: int | None = None

    @property
    def place(self) -> Key:
        """What it is about; its thresholds outrank each other there."""
        return self.team_id, self.kind, self.subject, self.window

    @property
    def urgency(self) -> int:
        return _urgency(self.kind, self.threshold)


def _urgency(kind: str, threshold: int) -> int:
    """The fewer days are left, the more urgent; everything else is percent."""
    return -threshold if kind == Alert.Kind.GRANT else threshold


def tell(crossings: Iterable[Crossing], *, now: datetime | None = None) -> int:
    """Tell of the most urgent crossing in each place, unless that or a more urgent one was told; how many were new.

    Whoever jumps from 40 to 100 % hears of 100 %, and not of 50 and 80 as well.
    """
    now = now or clock.now()
    most: dict[Key, Crossing] = {}
    for crossing in crossings:
        known = most.get(crossing.place)
        if known is None or crossing.urgency > known.urgency:
            most[crossing.place] = crossing
    told = _told(most)
    fresh = [each for place, each in most.items() if place not in told or each.urgency > told[place]]
    return sum(_tell(crossing, now=now) for crossing in fresh)


def _told(places: dict[Key, Crossing]) -> dict[Key, int]:
    """The urgency of the most urgent that was told in each of these places. One query."""
    rows = Alert.objects.filter(
        team__in={place[0] for place in places},
        subject__in={place[2] for place in places},
        window__in={place[3] for place in places},
    )
    found: dict[Key, int] = {}
    for team_id, kind, subject, window, threshold in rows.values_list(
        "team_id", "kind", "subject", "window", "threshold"
    ):
        place = (team_id, kind, subject, window)
        found[place] = max(found.get(place, -(10**9)), _urgency(kind, threshold))
    return found


@transaction.atomic
def _tell(crossing: Crossing, *, now: datetime) -> bool:
    """Whether it was new. Twenty at once meet at the unique constraint, which lets one through."""
    alert, is_new = Alert.objects.get_or_create(
        team_id=crossing.team_id,
        kind=crossing.kind,
        subject=crossing.subject,
        threshold=crossing.threshold,
        window=crossing.window,
        defaults={"user_id": crossing.user_id, "text": crossing.text[:400], "created_at": now},
    )
    if is_new:
        Notice.objects.bulk_create(_ways_out(alert, now=now))
    return is_new


def _ways_out(alert: Alert, *, now: datetime) -> list[Notice]:
    wanted = rules.rules_of(alert.team_id)
    concerned = alert.user_id if alert.kind == Alert.Kind.BUDGET else None
    users = rules.mailed(wanted, concerned_id=concerned) if is_mail_set_up() else set()
    made = [_notice(alert, Notice.Channel.MAIL, now=now, user_id=user_id) for user_id in sorted(users)]
    if AlertHook.objects.filter(team=alert.team_id).exists():
        made.append(_notice(alert, Notice.Channel.HOOK, now=now))
    return made


def _notice(alert: Alert, channel: str, *, now: datetime, user_id: int | None = None) -> Notice:
    return Notice(alert=alert, channel=channel, user_id=user_id, next_try_at=now, created_at=now)


def is_mail_set_up() -> bool:
    """Printing to a console is not mailing."""
    return not settings.EMAIL_BACKEND.endswith("console.EmailBackend")


def send_test(membership: Membership) -> None:
    """An alert that is only a test goes to whoever gets the team's alerts, by every channel it has chosen."""
    now = clock.now()
    team = membership.team
    crossing = Crossing(
        team_id=team.pk,
        kind=Alert.Kind.TEST,
        subject=f"team:{team.pk}",
        threshold=0,
        window=str(uuid.uuid4()),
        text=f"A test of the alerts of {one_line(team)}, sent by {one_line(membership.user)}.",
    )
    _tell(crossing, now=now)


def one_line(name: object) -> str:
    """A name as it may stand in a subject, a log or a chat."""
    return " ".join(str(name).split())


def dismiss(membership: Membership, pk: int) -> bool:
    """Out of this person's way; whether they may see it at all."""
    found = Alert.objects.visible_to(membership).filter(pk=pk).first()
    if found is None:
        return False
    Dismissal.objects.get_or_create(alert=found, user=membership.user)
    return True


def dismiss_all(membership: Membership) -> None:
    unread = Alert.objects.unread_by(membership).values_list("pk", flat=True)
    Dismissal.objects.bulk_create(
        [Dismissal(alert_id=pk, user=membership.user) for pk in unread], ignore_conflicts=True
    )
