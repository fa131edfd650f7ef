"""Grants after they came in: voided, extended, brought in by people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import ledger
from accounts.errors import (
    GrantClosed,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidExpiry,
    ReasonRequired,
)
from accounts.ledger import check
from accounts.models import Draw, Entry, Grant, User, Wallet
from tests.factories import TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
SOON, LATER = NOW + timedelta(days=2), NOW + timedelta(days=30)


@pytest.fixture
def wallet() -> Wallet:
    return TeamFactory().wallet


@pytest.fixture
def staff() -> User:
    return UserFactory(is_staff=True)


@pytest.fixture(autouse=True)
def books_are_whole() -> Any:
    yield
    assert check.breaches() == []


def lot(wallet: Wallet, amount: int = 100, **options: Any) -> Grant:
    fill(wallet, amount, now=NOW, **options)
    return Grant.objects.filter(wallet=wallet).latest("pk")


def hold(wallet: Wallet, amount: int, *, now: datetime = NOW) -> Any:
    reference = f"generation:{wallet.holds.count()}"
    return ledger.hold(wallet, amount=amount, user=UserFactory(), reference=reference, reason="Clip", now=now)


def void(grant: Grant, actor: User, *, key: str = "void", now: datetime = NOW) -> Entry:
    return ledger.void_grant(grant, actor=actor, reason="Chargeback", idempotency_key=key, now=now)


def extend(
    grant: Grant, actor: User, until: datetime | None, *, key: str = "ext", now: datetime = NOW
) -> Entry:
    return ledger.extend_grant(
        grant, expires_at=until, actor=actor, reason="Late start", idempotency_key=key, now=now
    )


def test_voiding_takes_out_what_is_left_and_leaves_the_rest_of_the_wallet(
    wallet: Wallet, staff: User
) -> None:
    doomed, other = lot(wallet, expires_at=SOON), lot(wallet, 50)
    entry = void(doomed, staff)
    assert (entry.kind, entry.available_delta, entry.adjusted_out_delta) == ("void", -100, 100)
    assert (entry.actor, entry.reason, entry.reference) == (staff, "Chargeback", f"grant:{doomed.pk}")
    assert list(Draw.objects.filter(entry=entry).values_list("grant", "source", "target", "amount")) == [
        (doomed.pk, "remaining", "adjusted_out", 100)
    ]
    doomed.refresh_from_db()
    other.refresh_from_db()
    assert (doomed.remaining, doomed.adjusted_out, doomed.voided_at) == (0, 100, NOW)
    assert (other.remaining, ledger.balance(wallet, now=NOW).available) == (50, 50)


def test_what_a_release_gives_back_to_a_voided_grant_goes_out_too(wallet: Wallet, staff: User) -> None:
    doomed = lot(wallet)
    running = hold(wallet, 60)
    entry = void(doomed, staff)
    assert (entry.available_delta, entry.note) == (-40, "40 of 100 taken out, 60 still held")
    assert ledger.balance(wallet, now=NOW).held == 60, "agreed work goes on"
    back = ledger.release(running, reason="Failed", now=NOW)
    assert (back.held_delta, back.available_delta, back.adjusted_out_delta) == (-60, 0, 60)
    assert ledger.balance(wallet, now=NOW).available == 0


def test_a_release_shared_by_a_voided_and_a_sound_grant_is_parted(wallet: Wallet, staff: User) -> None:
    doomed, sound = lot(wallet, 30, expires_at=SOON), lot(wallet, 100)
    running = hold(wallet, 50)
    void(doomed, staff)
    entry = ledger.capture(running, amount=10, reason="Stored", now=NOW)
    assert (entry.captured_delta, entry.available_delta, entry.adjusted_out_delta) == (10, 20, 20)
    sound.refresh_from_db()
    assert sound.remaining == 100


def test_a_voided_grant_has_no_grace_and_a_refund_into_it_goes_out(wallet: Wallet, staff: User) -> None:
    doomed = lot(wallet, expires_at=SOON)
    done, running = hold(wallet, 20), hold(wallet, 30)
    ledger.capture(done, reason="Stored", now=NOW)
    void(doomed, staff)
    after_expiry = SOON + timedelta(hours=1)
    back = ledger.release(running, reason="Failed", now=after_expiry)
    assert (back.expired_delta, back.adjusted_out_delta) == (0, 30)
    refund = ledger.refund(done, amount=20, actor=staff, reason="Bad", idempotency_key="r", now=after_expiry)
    assert (refund.captured_delta, refund.available_delta, refund.adjusted_out_delta) == (-20, 0, 20)
    doomed.refresh_from_db()
    assert (doomed.expires_at, doomed.is_grace_used) == (SOON, False)


def test_voiding_twice_is_once_and_a_voided_or_empty_grant_is_refused(wallet: Wallet, staff: User) -> None:
    doomed, used = lot(wallet, 10), lot(wallet, 20, expires_at=SOON)
    assert void(doomed, staff) == void(doomed, staff)
    with pytest.raises(IdempotencyConflict):
        void(used, staff)
    with pytest.raises(GrantClosed, match="voided before"):
        void(doomed, staff, key="again")
    with pytest.raises(GrantClosed, match="Nothing is left"):
        void(used, staff, key="late", now=LATER)
    with pytest.raises(ReasonRequired):
        ledger.void_grant(used, actor=None, reason="x", idempotency_key="x", now=NOW)


def test_an_extension_moves_nothing_is_logged_and_keeps_what_was_said_at_first(
    wallet: Wallet, staff: User
) -> None:
    grant = lot(wallet, expires_at=SOON)
    entry = extend(grant, staff, LATER)
    assert entry == extend(grant, staff, LATER)
    assert (entry.kind, entry.available_delta, entry.reference) == ("extension", 0, f"grant:{grant.pk}")
    assert entry.note == "2026-06-12 12:00 UTC → 2026-07-10 12:00 UTC"
    grant.refresh_from_db()
    assert (grant.expires_at, grant.original_expires_at) == (LATER, SOON)
    past_the_first = SOON + timedelta(days=1)
    hold(wallet, 100, now=past_the_first)
    with pytest.raises(InsufficientCredits):
        hold(wallet, 1, now=past_the_first)


def test_an_extension_ends_later_and_never_wakes_what_is_gone(wallet: Wallet, staff: User) -> None:
    grant, forever, doomed = lot(wallet, expires_at=SOON), lot(wallet), lot(wallet, expires_at=SOON)
    for chosen, until in ((grant, SOON), (grant, NOW), (forever, LATER), (forever, None)):
        with pytest.raises(InvalidExpiry, match="ends later"):
            extend(chosen, staff, until)
    void(doomed, staff)
    with pytest.raises(GrantClosed, match="voided"):
        extend(doomed, staff, LATER)
    with pytest.raises(GrantClosed, match="it is used up or has expired"):
        extend(grant, staff, LATER, now=SOON)
    grant.refresh_from_db()
    assert grant.remaining == 100, "a refusal leaves nothing behind, not even the expiry it met"


@pytest.mark.parametrize(
    ("source", "days", "is_fine"),
    [("purchase", 365, True), ("purchase", None, True), ("promotional", 7, True), ("promotional", 365, True),
     ("promotional", 6, False), ("promotional", 366, False), ("promotional", None, False), ("purchase", 0, False)],
)  # fmt: skip
def test_credits_last_as_their_kind_may(
    wallet: Wallet, staff: User, source: str, days: int | None, is_fine: bool
) -> None:
    def add() -> Entry:
        return ledger.add_credits(
            wallet, amount=5, source=source, days=days, reason="x", actor=staff, idempotency_key="a",
            reference="INV-1", note="Spring", now=NOW,
        )  # fmt: skip

    if not is_fine:
        with pytest.raises(InvalidExpiry):
            add()
        return
    assert add() == add()
    grant = Grant.objects.get(wallet=wallet)
    assert (grant.reference, grant.note) == ("INV-1", "Spring")
    expected = datetime(2026, 6, 11, tzinfo=UTC) + timedelta(days=days) if days else None
    assert grant.expires_at == expected, "to the end of the last day"


def test_20_a_monthly_refill_adds_a_grant_and_cuts_no_balance(wallet: Wallet, staff: User) -> None:
    """Peers' failure 20 (recoupable #1960): a refill that *set* the balance took what was there."""
    lot(wallet, 700)
    for month in range(3):
        ledger.add_credits(
            wallet, amount=100, source="promotional", days=31, reason="Monthly", actor=staff,
            idempotency_key=f"refill:{month}", now=NOW,
        )  # fmt: skip
    assert ledger.balance(wallet, now=NOW).available == 1_000


@pytest.mark.parametrize("is_voided", [False, True])
def test_22_a_lot_that_ends_while_held_keeps_its_part_and_a_release_has_a_defined_place(
    wallet: Wallet, staff: User, is_voided: bool
) -> None:
    """Peers' failure 22: the capture takes its lot; a release gets a day of grace, or goes out of a voided lot."""
    grant = lot(wallet, expires_at=SOON)
    captured, released = hold(wallet, 60), hold(wallet, 40)
    if is_voided:
        void(grant, staff)
    late = SOON + timedelta(hours=5)
    assert ledger.capture(captured, reason="Stored", now=late).captured_delta == 60
    ledger.release(released, reason="Failed", now=late)
    balance = ledger.balance(wallet, now=late)
    assert (balance.available, balance.adjusted_out) == ((0, 40) if is_voided else (40, 0))
    assert ledger.balance(wallet, now=late + timedelta(hours=25)).available == 0
