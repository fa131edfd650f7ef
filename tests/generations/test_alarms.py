"""The sweep looks for alerts, hears what fal says of the account, and rings only while something is to be sent."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache

from accounts import alerts, clock
from accounts.models import Alert
from accounts.models.people import Role
from generations import queue
from generations.lifecycle import alarms
from generations.models import DispatchPause
from tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db


def test_a_pause_and_a_low_balance_are_told_once_and_rung_for_until_they_are_sent(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    MembershipFactory(role=Role.ADMIN)
    bells: list[str] = []
    monkeypatch.setattr(queue, "enqueue", bells.append)
    account = SimpleNamespace(account_balance=lambda: SimpleNamespace(amount=Decimal(3)))
    monkeypatch.setattr(alarms, "fal_client", lambda: account)
    settings.FAL_ADMIN_KEY = "admin"
    cache.delete("alerts:balance")
    assert alarms.look() == 1
    DispatchPause.objects.create(pk=1, reason="Balance is empty.", code="locked", probe_at=clock.now())
    assert [alarms.look() for _ in range(2)] == [1, 0]
    assert sorted(Alert.objects.values_list("kind", flat=True)) == ["fal_locked", "fal_low"]
    assert bells == [queue.ALERT] * 3
    alerts.deliver()
    alarms.look()
    assert len(bells) == 3
