"""Work of a team told as a story: who did what with which engine on which day, and how it ended."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from accounts import ledger
from accounts.models import Entry, Hold, Membership, User, Wallet
from accounts.models.people import Role
from generations import catalogue
from generations.models import Attempt, Generation, Output, PriceVersion
from generations.states import AttemptState, State
from tests.factories import MembershipFactory, TeamFactory

BOATS = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
WAN = "fal-ai/wan/v2.2-a14b/image-to-video"
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
OPENED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def admin(db: None) -> Membership:
    return MembershipFactory(team=TeamFactory(), role=Role.ADMIN)


@pytest.fixture
def wallet(admin: Membership) -> Wallet:
    return granted(admin.team.wallet)


def granted(wallet: Wallet, amount: int = 100_000) -> Wallet:
    ledger.grant(
        wallet, amount=amount, source="purchase", reason="Invoice", idempotency_key=str(uuid.uuid4()), now=OPENED
    )  # fmt: skip
    return wallet


def asked(
    wallet: Wallet, user: User, *, price: int = 50, engine: str = BOATS, tag: str = "", at: datetime = NOON
) -> Generation:
    """A generation that waits, with its hold."""
    pk = uuid.uuid4()
    hold = ledger.hold(wallet, amount=price, user=user, reference=f"generation:{pk}", reason="Clip", now=at)
    return Generation.objects.create(
        id=pk, team=wallet.team, user=user, engine=engine, tag=tag, prompt="A boat", inputs={},
        form_token=uuid.uuid4(), price_version=PriceVersion.objects.current(catalogue.get(engine).endpoint_id),
        quote_credits=price, hold=hold, created_at=at, queued_at=at,
    )  # fmt: skip


def ended(
    work: Generation,
    state: State = State.SUCCEEDED,
    *,
    at: datetime = NOON,
    seconds: float = 6.0,
    captured: int | None = None,
) -> Generation:
    if state == State.SUCCEEDED:
        Output.objects.create(
            generation=work, file="x.mp4", content_type="video/mp4", size_bytes=1, sha256="0" * 64, width=1,
            height=1, duration_seconds=seconds,
        )  # fmt: skip
        ledger.capture(work.hold, amount=captured, reason="Stored", now=at)
    else:
        ledger.release(work.hold, reason="Failed", now=at)
    Generation.objects.filter(pk=work.pk).update(state=state, settled_at=at)
    return Generation.objects.get(pk=work.pk)


def priced(work: Generation, usd: str | None, *, number: int = 1) -> Attempt:
    return Attempt.objects.create(
        generation=work, number=number, state=AttemptState.DONE, fal_cost_usd=Decimal(usd) if usd else None
    )


def refunded(work: Generation, amount: int, actor: User, *, at: datetime = NOON) -> Entry:
    hold = Hold.objects.get(pk=work.hold_id)
    options: dict[str, Any] = {"actor": actor, "reason": "Bad clip", "idempotency_key": str(uuid.uuid4())}
    return ledger.refund(hold, amount=amount, now=at, **options)
