"""Whether a member takes far more than they use to: today, or this week, against their own last four weeks.

"Usual" is a median, so that one big day does not become the measure, and the bar stands well above the usual spread
(median absolute deviation). Whoever has too little history has no usual, and sums that hardly cost anything are not
worth a word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from django.conf import settings

from accounts.alerts.telling import Crossing, one_line
from accounts.ledger import book
from accounts.ledger.windows import window
from accounts.models import Alert, User, Wallet
from accounts.models.money import Period

WEEKS = 4
# Days on which the member made something at all; a week counts with the days in it.
LEAST_DAYS = 8
LEAST_WEEKS = 3
TIMES_USUAL = 3.0
# Six deviations of a normal distribution, as its median absolute deviation shows them.
SPREADS = 6 * 1.4826

_TODAY = """
SELECT user_id FROM accounts_hold
WHERE wallet_id = %(wallet)s AND created_at >= %(week)s AND created_at <= %(now)s
GROUP BY user_id
HAVING sum(CASE state WHEN 'held' THEN amount ELSE captured - refunded END) >= %(least)s
"""

_DAYS = """
SELECT user_id, (created_at AT TIME ZONE %(zone)s)::date AS day,
       sum(CASE state WHEN 'held' THEN amount ELSE captured - refunded END)::bigint
FROM accounts_hold
WHERE wallet_id = %(wallet)s AND user_id = ANY(%(users)s) AND created_at >= %(since)s AND created_at <= %(now)s
GROUP BY user_id, day
"""


def unusual(wallet: Wallet, *, now: datetime) -> Iterator[Crossing]:
    """What is out of the ordinary in the running day and week, by the team's calendar."""
    zone = ZoneInfo(wallet.team.time_zone)
    week = window(Period.WEEK, at=now, zone=zone)
    least = settings.CREDITS_PER_USD
    params = {"wallet": wallet.pk, "week": week.starts_at, "now": now, "least": least}
    users = [user_id for (user_id,) in book.rows(_TODAY, params)]
    if not users:
        return
    since = week.starts_at - timedelta(weeks=WEEKS, hours=2)
    params = {"wallet": wallet.pk, "users": users, "since": since, "now": now, "zone": wallet.team.time_zone}
    spent: dict[int, dict[date, int]] = defaultdict(dict)
    for user_id, day, taken in book.rows(_DAYS, params):
        spent[user_id][day] = taken
    today = now.astimezone(zone).date()
    for user in User.objects.filter(pk__in=spent):
        yield from _of(wallet, user, spent[user.pk], today=today, least=least)


def _of(
    wallet: Wallet, user: User, spent: Mapping[date, int], *, today: date, least: int
) -> Iterator[Crossing]:
    for period, since, taken, usual in (_day(spent, today), _week(spent, today)):
        if usual is None or taken < max(usual.bar, least):
            continue
        yield Crossing(
            team_id=wallet.team_id,
            kind=Alert.Kind.BURN,
            subject=f"member:{user.pk} by {period}",
            threshold=0,
            window=since.isoformat(),
            user_id=user.pk,
            text=f"{one_line(user)} has taken {taken:,} credits {'today' if period == 'day' else 'this week'}; "
            f"their usual {period} in the last {WEEKS} weeks is about {usual.middle:,.0f}.",
        )


class Usual:
    """The middle of what was taken before, and the bar above which it is unusual. Needs at least one figure."""

    def __init__(self, figures: Sequence[int]) -> None:
        self.middle = median(figures)
        spread = median(abs(figure - self.middle) for figure in figures)
        self.bar = max(TIMES_USUAL * self.middle, self.middle + SPREADS * spread)


def _day(spent: Mapping[date, int], today: date) -> tuple[str, date, int, Usual | None]:
    """Days without any work are no part of the usual: somebody who works on Fridays is measured by their Fridays."""
    before = [
        taken for day, taken in spent.items() if today - timedelta(weeks=WEEKS) <= day < today and taken > 0
    ]
    return "day", today, spent.get(today, 0), Usual(before) if len(before) >= LEAST_DAYS else None


def _week(spent: Mapping[date, int], today: date) -> tuple[str, date, int, Usual | None]:
    monday = today - timedelta(days=today.weekday())
    weeks: dict[date, int] = defaultdict(int)
    for day, taken in spent.items():
        weeks[day - timedelta(days=day.weekday())] += taken
    before = [weeks[monday - timedelta(weeks=number)] for number in range(1, WEEKS + 1)]
    active = [taken for taken in before if taken > 0]
    return "week", monday, weeks[monday], Usual(active) if len(active) >= LEAST_WEEKS else None
