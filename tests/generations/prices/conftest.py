"""fal's price list as a test wants it, and people of the staff."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from accounts.models import User
from generations import fal
from tests.factories import UserFactory

PRO = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"  # $0.49 a clip
STANDARD = "fal-ai/minimax/hailuo-2.3/standard/text-to-video"  # $0.28 for 6 s, $0.56 for 10 s


class PriceList:
    """Answers as `FalClient.pricing`; what is not in `dollars` is not listed."""

    def __init__(self) -> None:
        self.dollars: dict[str, str] = {}
        self.currency = "USD"
        self.fault: fal.FalError | None = None
        self.asked = 0

    def pricing(self, endpoint_ids: Sequence[str]) -> tuple[fal.Price, ...]:
        self.asked += 1
        if self.fault:
            raise self.fault
        return tuple(
            fal.Price(each, Decimal(self.dollars[each]), "units", self.currency)
            for each in endpoint_ids
            if each in self.dollars
        )


@pytest.fixture
def listed(db: None, monkeypatch: pytest.MonkeyPatch) -> PriceList:
    made = PriceList()
    monkeypatch.setattr("generations.prices.drift.fal_client", lambda: made)
    return made


@pytest.fixture
def operator(db: None) -> User:
    return UserFactory(is_staff=True, is_superuser=True)
