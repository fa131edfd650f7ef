"""The books proved as a whole: every rule and chain of the ledger, and that what is held is held for work that goes on.

`manage.py check_ledger` asks for it, and so does the beat once a day; then the heads of whole books are signed and
leave the house, and a breach is logged as CRITICAL and mailed to LEDGER_HEADS_MAIL. Nothing is repaired.
"""

from __future__ import annotations

import logging
from datetime import datetime

import redis
from django.conf import settings
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.db import connection

from accounts import clock
from accounts.ledger import check, heads
from accounts.ledger.check import Breach
from accounts.models import Wallet
from generations.states import SETTLED

log = logging.getLogger(__name__)

LATEST = "books:checked"
KEPT_SECONDS = 30 * 86_400
# There may be a beat on every host: whoever rings second within this time finds it done.
FRESH_SECONDS = 3600
MOST_TOLD = 50

# Both ways at once: work that waits for an outcome without credits held for it, and credits held for no such work.
_HOLDS_AND_WORK = """
SELECT coalesce('generation ' || g.id, 'hold ' || h.id || ' (' || h.reference || ')'), 'hold',
       coalesce(h.state, 'missing'), CASE WHEN g.id IS NULL THEN 'none' WHEN g.state = ANY(%(settled)s)
                                          THEN 'captured or released' ELSE 'held' END
FROM accounts_hold h FULL JOIN generations_generation g ON g.hold_id = h.id
WHERE (coalesce(h.state, '') = 'held') <> (g.id IS NOT NULL AND NOT g.state = ANY(%(settled)s))
  AND (%(wallet)s::bigint IS NULL OR h.wallet_id = %(wallet)s)
"""


def breaches(*, wallet: Wallet | None = None) -> list[Breach]:
    """Every difference in the books of one moment, of one wallet or of all; empty when they are whole."""
    with check.snapshot():
        return check.breaches(wallet=wallet) + _loose_holds(wallet)


def daily() -> list[Breach]:
    """Check all books; sign the heads of whole ones, tell people about others. What was found, [] if just done."""
    now = clock.now()
    latest = last_check()
    if latest and (now - latest[0]).total_seconds() < FRESH_SECONDS:
        return []
    found = breaches()
    if found:
        _tell(found)
    else:
        heads.seal()
    try:
        cache.set(LATEST, (now, len(found)), KEPT_SECONDS)
    except redis.RedisError:
        log.warning("when the books were checked could not be noted")
    return found


def last_check() -> tuple[datetime, int] | None:
    """When the books were checked by the beat, and how many breaches there were; None where nobody knows."""
    try:
        latest: tuple[datetime, int] | None = cache.get(LATEST)
    except redis.RedisError:
        return None
    return latest


def _tell(found: list[Breach]) -> None:
    for breach in found[:MOST_TOLD]:
        log.critical("the books are broken: %s", breach)
    if not settings.LEDGER_HEADS_MAIL:
        return
    lines = "\n".join(str(breach) for breach in found[:MOST_TOLD])
    message = EmailMessage(
        subject=f"The books are broken: {len(found)} differences",
        body=f"The daily check found differences, the first {MOST_TOLD} of them here. Nothing was changed, and no\n"
        f"heads were signed. `manage.py check_ledger` prints them all.\n\n{lines}\n",
        to=settings.LEDGER_HEADS_MAIL,
    )
    try:
        message.send()
    except OSError:
        log.exception("the breach could not be mailed")


def _loose_holds(wallet: Wallet | None) -> list[Breach]:
    """Open holds and unsettled generations that do not belong together one to one."""
    params = {"settled": [str(state) for state in SETTLED], "wallet": wallet.pk if wallet else None}
    with connection.cursor() as cursor:
        cursor.execute(_HOLDS_AND_WORK, params)
        return [
            Breach("open-holds-are-unsettled-work", *(str(value) for value in row))
            for row in cursor.fetchall()
        ]
