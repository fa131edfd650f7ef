"""`check_ledger` must be able to fail: each rule is broken once, with the guards off, and named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts import ledger
from accounts.ledger import check
from accounts.models import Wallet
from tests.factories import TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet() -> Wallet:
    wallet, ana = TeamFactory(credits=100).wallet, UserFactory()
    ledger.set_budget(wallet, user=ana, limit_credits=90, period="day", actor=ana, reason="Cap")
    hold = ledger.hold(wallet, amount=40, user=ana, reference="generation:1", reason="Generate")
    ledger.capture(hold, amount=30, reason="Stored")
    ledger.hold(wallet, amount=7, user=ana, reference="generation:2", reason="Generate")
    ledger.refund(hold, amount=3, actor=ana, reason="Bad clip", idempotency_key="r")
    return wallet


def behind_the_guards(sql: str, *params: int) -> None:
    """As a superuser of the database could do it, constraints and triggers off."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # no checks may be pending when tables are altered
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint"
            " WHERE contype = 'c' AND conrelid::regclass::text LIKE 'accounts_%'"
        )
        for (drop,) in cursor.fetchall():
            cursor.execute(drop)
        cursor.execute(sql, params or None)
        assert cursor.rowcount, "nothing was broken"


def test_whole_books_have_no_breach(wallet: Wallet) -> None:
    assert check.breaches() == []


@pytest.mark.parametrize(
    ("sql", "rules"),
    [
        (
            "UPDATE accounts_wallet SET available = available + 5, granted = granted + 5",
            {"wallet-is-sum-of-entries", "wallet-is-sum-of-grants"},
        ),
        ("UPDATE accounts_wallet SET seq = seq + 1", {"wallet-is-sum-of-entries"}),
        (
            "UPDATE accounts_entry SET seq = 900 WHERE kind = 'refund'",
            {"wallet-is-sum-of-entries", "entries-run-on"},
        ),
        ("UPDATE accounts_entry SET available_after = 1 WHERE kind = 'hold'", {"entries-run-on"}),
        (
            "UPDATE accounts_draw SET amount = amount + 1 WHERE target = 'captured'",
            {"entry-is-sum-of-draws", "grant-is-sum-of-draws"},
        ),
        (
            "UPDATE accounts_grant SET captured = captured + 1, remaining = remaining - 1",
            {"grant-is-sum-of-draws", "wallet-is-sum-of-grants"},
        ),
        (
            "DELETE FROM accounts_draw WHERE source = 'outside'",
            {"entry-is-sum-of-draws", "grant-is-sum-of-draws"},
        ),
        (
            "UPDATE accounts_hold SET state = 'released', resolved_at = now() WHERE state = 'held'",
            {"open-holds-are-what-is-held", "holds-are-as-the-book-says", "budget-windows-are-sums-of-holds"},
        ),
        ("UPDATE accounts_hold SET reference = 'other' WHERE state = 'held'", {"holds-are-as-the-book-says"}),
        (
            "UPDATE accounts_hold SET refunded = 0",
            {"holds-are-as-the-book-says", "budget-windows-are-sums-of-holds"},
        ),
        ("UPDATE accounts_budgetperiod SET captured = 0", {"budget-windows-are-sums-of-holds"}),
        (
            "UPDATE accounts_budgetperiod SET ends_at = '1999-01-01', starts_at = '1998-01-01'",
            {"holds-count-in-their-own-budgets"},
        ),
    ],
)
def test_each_rule_names_what_is_broken(wallet: Wallet, sql: str, rules: set[str]) -> None:
    behind_the_guards(sql)
    chained = ("accounts_entry", "accounts_draw")
    expected = rules | (
        {"entries-are-chained"} if sql.split()[1] in chained or "FROM accounts_draw" in sql else set()
    )
    assert {breach.rule for breach in check.breaches(wallet=wallet)} == expected


def test_a_draw_on_another_teams_grant_is_found(wallet: Wallet) -> None:
    other = TeamFactory(credits=5).wallet.grants.get()
    behind_the_guards("UPDATE accounts_draw SET grant_id = %s WHERE target = 'captured'", other.pk)
    assert "draws-stay-in-the-wallet" in {breach.rule for breach in check.breaches()}


def test_an_overlooked_expiry_is_found(wallet: Wallet) -> None:
    behind_the_guards("UPDATE accounts_grant SET expires_at = '2020-01-01'")
    [breach] = check.breaches()
    assert (breach.rule, breach.what, breach.stored) == ("no-expiry-is-overlooked", "next_expiry_at", "never")


def test_a_disabled_trigger_is_found(wallet: Wallet) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE accounts_draw DISABLE TRIGGER USER")
    [breach] = check.breaches()
    assert (breach.rule, breach.subject, breach.what) == (
        "triggers-guard-the-book", "accounts_draw", "trigger append_only",
    )  # fmt: skip


def test_one_wallets_breach_is_not_anothers(wallet: Wallet) -> None:
    other = TeamFactory(credits=5).wallet
    behind_the_guards("UPDATE accounts_wallet SET seq = 77 WHERE id = %s", wallet.pk)
    assert check.breaches(wallet=other) == []
    assert str(check.breaches()[0]) == (
        f"wallet-is-sum-of-entries: wallet {wallet.pk}: seq is 77, should be 6"
    )


@pytest.mark.django_db(transaction=True)
def test_the_command_says_that_the_books_are_whole(capsys: Any) -> None:
    fill(TeamFactory(slug="film").wallet, 10)
    call_command("check_ledger")
    call_command("check_ledger", "--team", "film", "--json")
    assert capsys.readouterr().out == "The books are whole.\n[]\n"


def test_the_command_prints_each_difference_and_fails(wallet: Wallet, capsys: Any) -> None:
    behind_the_guards("UPDATE accounts_wallet SET seq = 77")
    with pytest.raises(SystemExit) as end:
        call_command("check_ledger", "--json")
    assert end.value.code == 1
    rows = json.loads(capsys.readouterr().out)
    assert {row["stored"] for row in rows if row["rule"] == "wallet-is-sum-of-entries"} == {"77"}
    with pytest.raises(SystemExit):
        call_command("check_ledger")
    assert f"wallet {wallet.pk}: seq is 77, should be 6" in capsys.readouterr().out


def test_an_open_hold_without_work_is_a_difference(wallet: Wallet, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        call_command("check_ledger")
    out = capsys.readouterr().out
    assert "open-holds-are-unsettled-work: hold " in out
    assert "(generation:2): hold is held, should be none" in out
    assert "1 differences." in out


def test_the_command_wants_a_team_that_exists(wallet: Wallet) -> None:
    with pytest.raises(CommandError, match="No team with a wallet has the slug 'nobody'"):
        call_command("check_ledger", "--team", "nobody")
