"""The database itself refuses what the ledger would never do: raw SQL rewrites nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import ProtectedError

from accounts import ledger
from accounts.models import Draw, Entry, Hold, Wallet
from tests.factories import TeamFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet() -> Wallet:
    """A wallet with one of everything in its book."""
    wallet, ana = TeamFactory(credits=100).wallet, UserFactory()
    ledger.set_budget(wallet, user=ana, limit_credits=90, period="day", actor=ana, reason="Cap")
    hold = ledger.hold(wallet, amount=40, user=ana, reference="generation:1", reason="Generate")
    ledger.capture(hold, amount=30, reason="Stored")
    ledger.hold(wallet, amount=7, user=ana, reference="generation:2", reason="Generate")
    return wallet


def execute(sql: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
        assert cursor.rowcount, "nothing was there to be changed"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE accounts_entry SET reason = 'rewritten'",
        "UPDATE accounts_entry SET actor_id = NULL",
        "DELETE FROM accounts_entry",
        "UPDATE accounts_draw SET amount = 1",
        "DELETE FROM accounts_draw",
        "DELETE FROM accounts_holdbudget",
        "DELETE FROM accounts_hold",
        "DELETE FROM accounts_grant",
        "DELETE FROM accounts_wallet",
        "DELETE FROM accounts_budget",
        "DELETE FROM accounts_budgetperiod",
        "UPDATE accounts_grant SET amount = amount + 1, remaining = remaining + 1",
        "UPDATE accounts_grant SET source = 'promotional'",
        "UPDATE accounts_grant SET original_expires_at = now()",
        "UPDATE accounts_hold SET amount = amount + 1",
        "UPDATE accounts_hold SET reference = reference || 'x'",
        "UPDATE accounts_hold SET state = 'held', captured = 0, resolved_at = NULL WHERE state = 'captured'",
        "UPDATE accounts_hold SET captured = 40 WHERE state = 'captured'",
        "UPDATE accounts_budgetperiod SET starts_at = starts_at - interval '1 day'",
    ],
)
def test_triggers_refuse_to_rewrite_the_book(wallet: Wallet, sql: str) -> None:
    with pytest.raises(DatabaseError, match="pgtrigger: Cannot"):
        execute(sql)


@pytest.mark.parametrize(
    ("sql", "constraint"),
    [
        ("UPDATE accounts_wallet SET available = available + 1", "wallet_balances"),
        ("UPDATE accounts_wallet SET available = -1, captured = granted - held + 1", "wallet_never_negative"),
        ("UPDATE accounts_grant SET remaining = remaining + 1", "grant_balances"),
        ("UPDATE accounts_grant SET remaining = -1, held = held + remaining + 1", "grant_never_negative"),
        ("UPDATE accounts_hold SET refunded = 31 WHERE state = 'captured'", "hold_within_bounds"),
        ("UPDATE accounts_hold SET state = 'released' WHERE state = 'held'", "hold_resolved_consistently"),
        ("UPDATE accounts_budgetperiod SET held = -1", "budget_period_not_negative"),
        ("UPDATE accounts_budget SET limit_credits = -1", "budget_limit_not_negative"),
    ],
)
def test_constraints_refuse_what_does_not_add_up(wallet: Wallet, sql: str, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        execute(sql)


COPY = """
INSERT INTO accounts_entry (wallet_id, seq, kind, hold_id, reason, reference, note, idempotency_key, parameters_sha256,
    granted_delta, available_delta, held_delta, captured_delta, expired_delta, adjusted_out_delta,
    available_after, held_after, captured_after, created_at, sha256)
SELECT wallet_id, seq + {seq}, '{kind}', hold_id, reason, reference, note, idempotency_key || '{suffix}', '',
    granted_delta, available_delta + {extra}, held_delta, captured_delta, expired_delta, adjusted_out_delta,
    available_after, held_after, captured_after, created_at, sha256
FROM accounts_entry WHERE kind = 'capture'
"""


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({}, "hold_resolved_once"),
        ({"kind": "release"}, "hold_resolved_once"),
        ({"kind": "refund", "seq": 0}, "entry_seq_once"),
        ({"kind": "refund", "suffix": ""}, "idempotency_key"),
        ({"kind": "refund", "extra": 1}, "entry_balances"),
    ],
)
def test_a_forged_entry_is_refused(wallet: Wallet, changes: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        execute(COPY.format(**({"kind": "capture", "seq": 1000, "suffix": "x", "extra": 0} | changes)))


def test_the_orm_refuses_too(wallet: Wallet) -> None:
    for row in [Entry.objects.first(), Draw.objects.first()]:
        assert row is not None
        with pytest.raises(ValidationError, match="written once"):
            row.save()
        with pytest.raises(ValidationError, match="written once"):
            row.delete()
    with pytest.raises(DatabaseError), transaction.atomic():
        Entry.objects.update(reason="rewritten")
    with pytest.raises(ProtectedError):
        wallet.team.delete()
    with pytest.raises(ProtectedError):
        Hold.objects.filter(wallet=wallet)[0].user.delete()


@pytest.mark.django_db(transaction=True)
def test_a_flush_between_tests_still_works(wallet: Wallet) -> None:
    """The triggers guard rows; TRUNCATE, which a test database needs, is a privilege to take from the app's role."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE accounts_wallet CASCADE")
    assert not Entry.objects.exists()
