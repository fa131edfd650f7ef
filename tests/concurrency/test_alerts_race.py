"""Twenty captures at once, each followed by a look: a crossing is told once, and each mail is sent once."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.core import mail

from accounts import alerts, ledger
from accounts.models import Alert, Hold, Notice
from accounts.models.people import Role
from tests.concurrency.together import of_type, together
from tests.factories import MembershipFactory, TeamFactory

pytestmark = [pytest.mark.concurrency, pytest.mark.django_db(transaction=True)]


def captured_and_looked_at(hold: Hold) -> int:
    ledger.capture(hold, reason="Stored")
    return alerts.look()


def test_twenty_captures_at_once_tell_a_crossing_once() -> None:
    member = MembershipFactory(team=TeamFactory(credits=100), role=Role.ADMIN)
    wallet = member.team.wallet
    ledger.set_budget(
        wallet, user=member.user, limit_credits=100, period="day", actor=member.user, reason="Plan"
    )
    holds = [
        ledger.hold(wallet, amount=4, user=member.user, reference=f"race:{number}", reason="Clip")
        for number in range(20)
    ]
    results: list[Any] = together([partial(captured_and_looked_at, hold) for hold in holds])
    assert of_type(results, Exception) == []
    crossings = sorted(Alert.objects.values_list("kind", "threshold"))
    assert crossings == [("budget", 80), ("wallet", 80)]
    assert Notice.objects.count() == 2
    sent = together([alerts.deliver] * 4)
    assert sorted(sent) == [0, 0, 0, 2]
    assert len(mail.outbox) == 1
