"""The outbox on its way out. A notice is put off before it is tried and marked as sent after it: whoever is killed in
between leaves it due again. Two senders at once never take the same one.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from accounts import clock
from accounts.alerts import hooks
from accounts.alerts.telling import one_line
from accounts.models import AlertHook, HookCall, Membership, Notice

log = logging.getLogger(__name__)

# Minutes until the next try, after the first, the second...; after the eighth it is given up: 22 hours.
BACK_OFF_MINUTES = (1, 5, 15, 60, 180, 360, 720, 720)
# A person gets one mail in this time, with everything in it; the first goes at once.
DIGEST_MINUTES = 15
DIGEST_LINES = 20
BATCH = 100
# A round ends after this long, however many receivers are slow; the rest is due at the next.
ROUND_SECONDS = 60.0
GONE = 410


def is_anything_due() -> bool:
    return _due(clock.now()).exists()


def deliver() -> int:
    """Send what is due; how many notices went out. Waits on the network: never in a transaction."""
    ends_at = time.monotonic() + ROUND_SECONDS
    return _mail_all(ends_at) + _post_all(ends_at)


def _due(now: datetime) -> QuerySet[Notice]:
    return Notice.objects.filter(state=Notice.State.PENDING, next_try_at__lte=now)


def _take(rows: QuerySet[Notice], *, now: datetime) -> list[Notice]:
    """Those of these rows that are due and in nobody's hands, counted and put off. Oldest first."""
    with transaction.atomic():
        locked = rows.select_for_update(skip_locked=True, of=("self",))
        taken = list(locked.select_related("alert__team").order_by("created_at", "pk")[:BATCH])
        for notice in taken:
            notice.tries += 1
            notice.next_try_at = now + _pause(notice.tries)
        Notice.objects.bulk_update(taken, ["tries", "next_try_at"])
    return taken


def _pause(tries: int) -> timedelta:
    return timedelta(minutes=BACK_OFF_MINUTES[min(tries, len(BACK_OFF_MINUTES)) - 1])


def _sent(taken: Sequence[Notice]) -> int:
    rows = Notice.objects.filter(pk__in=[notice.pk for notice in taken], state=Notice.State.PENDING)
    return rows.update(state=Notice.State.SENT, sent_at=clock.now(), said="")


def _not_sent(taken: Sequence[Notice], said: str, *, is_over: bool = False) -> None:
    rows = Notice.objects.filter(pk__in=[notice.pk for notice in taken], state=Notice.State.PENDING)
    rows.update(said=said[:200])
    over = rows if is_over else rows.filter(tries__gte=len(BACK_OFF_MINUTES))
    if over.update(state=Notice.State.FAILED):
        log.warning("alerts given up: %s", said)


def _mail_all(ends_at: float) -> int:
    now = clock.now()
    due = _due(now).filter(channel=Notice.Channel.MAIL)
    lately = Notice.objects.filter(
        channel=Notice.Channel.MAIL, sent_at__gt=now - timedelta(minutes=DIGEST_MINUTES)
    )
    people = due.exclude(user__in=lately.values("user")).values_list("user_id", "alert__team_id")
    sent = 0
    for user_id, team_id in sorted(set(people)):
        if time.monotonic() > ends_at:
            break
        sent += _mail(due.filter(user=user_id, alert__team=team_id), user_id, team_id, now=now)
    return sent


def _mail(rows: QuerySet[Notice], user_id: int, team_id: int, *, now: datetime) -> int:
    taken = _take(rows, now=now)
    if not taken:
        return 0
    found = Membership.objects.select_related("user", "team").filter(
        user=user_id, team=team_id, is_active=True, user__is_active=True
    )
    member = found.first()
    if member is None:
        _not_sent(taken, "No longer a member.", is_over=True)
        return 0
    try:
        _digest(member, taken).send()
    except OSError as error:
        _not_sent(taken, f"Not mailed: {error}")
        return 0
    return _sent(taken)


def _digest(member: Membership, taken: Sequence[Notice]) -> EmailMessage:
    """One mail for all of them. A repeat of the same has the same Message-ID, by which mail programs know it."""
    lines = [f"- {notice.alert.text}" for notice in taken[:DIGEST_LINES]]
    if len(taken) > DIGEST_LINES:
        lines.append(f"- and {len(taken) - DIGEST_LINES} more, on the page of alerts")
    if settings.SITE_URL:
        lines += ["", f"All alerts: {settings.SITE_URL}{reverse('accounts:alerts')}"]
    team = one_line(member.team)
    subject = f"{team}: {taken[0].alert.text}" if len(taken) == 1 else f"{team}: {len(taken)} alerts"
    key = hashlib.sha256(" ".join(sorted(str(notice.pk) for notice in taken)).encode()).hexdigest()[:40]
    return EmailMessage(
        subject[:180],
        "\n".join([f"About the credits of {team}:", "", *lines, ""]),
        to=[member.user.email],
        headers={"Message-ID": f"<{key}@alerts.clipledger>"},
    )


def _post_all(ends_at: float) -> int:
    now = clock.now()
    due = _due(now).filter(channel=Notice.Channel.HOOK)
    sent = 0
    for team_id in sorted(set(due.values_list("alert__team_id", flat=True))):
        hook = AlertHook.objects.filter(team=team_id).first()
        rows = due.filter(alert__team=team_id)
        if hook is None:
            _not_sent(_take(rows, now=now), "The webhook was removed.", is_over=True)
            continue
        while time.monotonic() < ends_at and _post(rows, hook, now=now):
            sent += 1
    return sent


def _post(rows: QuerySet[Notice], hook: AlertHook, *, now: datetime) -> bool:
    """Post the oldest; whether it got there. After a failure the team's others wait for the next round."""
    first = rows.order_by("created_at", "pk").values_list("pk", flat=True).first()
    taken = _take(rows.filter(pk=first), now=now) if first else []
    if not taken:
        return False
    [notice] = taken
    began_at = time.monotonic()
    answer = hooks.post(notice, hook)
    HookCall.objects.create(
        notice=notice,
        url=hook.url,
        http_status=answer.http_status,
        said=answer.said,
        duration_ms=int((time.monotonic() - began_at) * 1000),
    )
    if answer.is_ok:
        return bool(_sent(taken))
    said = f"{answer.http_status} {answer.said}" if answer.http_status else answer.said
    _not_sent(taken, said, is_over=answer.http_status == GONE)
    return False
