"""Whoever rewrites the past breaks the chain, and the first broken row is named."""

from __future__ import annotations

import hashlib
import importlib
from datetime import datetime
from types import SimpleNamespace

import pytest
from django.db import connection

from accounts import ledger
from accounts.ledger import chain, check
from accounts.models import Entry, Wallet
from tests.accounts.test_ledger_check import behind_the_guards
from tests.factories import TeamFactory, UserFactory, fill

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet() -> Wallet:
    """Seven entries: two grants, two holds, a capture, a release and a refund."""
    wallet, ana = TeamFactory(credits=100).wallet, UserFactory()
    fill(wallet, 50)
    first = ledger.hold(wallet, amount=120, user=ana, reference="generation:1", reason="Generate “mist”")
    second = ledger.hold(wallet, amount=7, user=ana, reference="generation:2", reason="Generate")
    ledger.capture(first, amount=110, reason="Stored")
    ledger.release(second, reason="Not charged: é")
    ledger.refund(first, amount=3, actor=ana, reason="Bad clip", idempotency_key="r")
    return wallet


def broken(wallet: Wallet) -> list[int]:
    with check.snapshot():
        return [found.seq for found in chain.breaks(wallet_id=wallet.pk)]


def test_every_entry_is_linked_to_the_one_before_it(wallet: Wallet) -> None:
    assert broken(wallet) == []
    previous = ""
    for entry in Entry.objects.filter(wallet=wallet).order_by("seq"):
        draws = list(entry.draws.order_by("pk").values_list("grant", "source", "target", "amount"))
        text = chain.canonical(entry, draws)
        assert entry.sha256 == hashlib.sha256((previous + text).encode()).hexdigest()
        previous = entry.sha256


def test_what_is_hashed_never_changes() -> None:
    """Bundles that left the house are verified by this form: a change here is a new version, beside this one."""
    row = dict.fromkeys(chain.FIELDS, 0) | {
        "wallet_id": 3,
        "seq": 2,
        "kind": "hold",
        "hold_id": "5f0c7f3e-8f5e-4a0e-9a53-1f1e3f8f2a10",
        "user_id": 4,
        "actor_id": None,
        "reason": "Generate “é”",
        "reference": "generation:1",
        "note": "",
        "idempotency_key": "hold:generation:1",
        "parameters_sha256": "ab",
        "created_at": datetime.fromisoformat("2026-11-26T10:00:00+01:00"),
        "available_delta": -49,
        "held_delta": 49,
        "available_after": 51,
        "held_after": 49,
    }
    text = chain.text_of(row, [(1, "remaining", "held", 49)])
    assert text == (
        '{"actor":null,"after":[51,49,0],"at":"2026-11-26T09:00:00.000000Z","deltas":[0,-49,49,0,0,0],'
        '"draws":[[1,"remaining","held",49]],"hold":"5f0c7f3e-8f5e-4a0e-9a53-1f1e3f8f2a10",'
        '"key":"hold:generation:1","kind":"hold","note":"","parameters":"ab","reason":"Generate “é”",'
        '"reference":"generation:1","seq":2,"user":4,"version":1,"wallet":3}'
    )
    assert chain.link("", text) == "212cf154fbf9952e43a06aed6a622a4611b9286293cd8e40a52c7e31376fd885"


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("UPDATE accounts_entry SET reason = 'Nothing' WHERE seq = 3", 3),
        ("UPDATE accounts_entry SET actor_id = NULL WHERE kind = 'refund'", 7),
        ("UPDATE accounts_entry SET user_id = user_id + 1 WHERE seq = 4", 4),
        ("UPDATE accounts_entry SET created_at = created_at - interval '1 day' WHERE seq = 1", 1),
        ("UPDATE accounts_entry SET note = 'x', reference = 'y' WHERE seq = 2", 2),
        ("UPDATE accounts_entry SET captured_delta = captured_delta - 1 WHERE kind = 'capture'", 5),
        ("UPDATE accounts_draw SET amount = amount - 1 WHERE target = 'captured'", 5),
        ("DELETE FROM accounts_draw WHERE source = 'captured'", 7),
        ("UPDATE accounts_entry SET sha256 = repeat('0', 64) WHERE seq = 6", 6),
        ("DELETE FROM accounts_entry WHERE seq = 4", 5),
    ],
)
def test_a_rewritten_past_is_found_at_its_first_row(wallet: Wallet, sql: str, first: int) -> None:
    behind_the_guards(sql)
    assert broken(wallet)[:1] == [first]
    found = [breach for breach in check.breaches(wallet=wallet) if breach.rule == "entries-are-chained"]
    assert len(found) == 1
    assert f"#{first} of wallet {wallet.pk}" in found[0].subject


AWKWARD = 'quote " backslash \\ slash / tab \t line \n bell \x07 delete \x7f \u2028 \u00e9\u0301 \U0001f3ac </script>'


def test_the_server_writes_every_entry_as_we_do(wallet: Wallet) -> None:
    """Byte for byte, whatever stands in it: where it did not, each check would take the long way."""
    ledger.hold(wallet, amount=1, user=UserFactory(), reference=AWKWARD[:120], reason=AWKWARD)
    actor, note = UserFactory(), AWKWARD[:280]
    fill(wallet, 5, note=note, reference=AWKWARD[:100], actor=actor, reason=AWKWARD)
    ledger.set_budget(wallet, user=UserFactory(), limit_credits=9, period="day", actor=actor, reason=AWKWARD)
    with check.snapshot():
        assert chain.suspects(wallet_id=wallet.pk) == []
        assert wallet.pk not in chain.suspects()
    behind_the_guards(
        "UPDATE accounts_entry SET note = note || ' ' WHERE wallet_id = %s AND seq = 9", wallet.pk
    )
    with check.snapshot():
        assert chain.suspects() == chain.suspects(wallet_id=wallet.pk) == [wallet.pk]


def test_a_break_of_one_wallet_is_none_of_another(wallet: Wallet) -> None:
    other = TeamFactory(credits=5).wallet
    behind_the_guards("UPDATE accounts_entry SET reason = 'x' WHERE wallet_id = %s AND seq = 2", wallet.pk)
    assert broken(wallet) == [2]
    assert broken(other) == []


def test_the_head_is_the_last_entry(wallet: Wallet) -> None:
    last = Entry.objects.filter(wallet=wallet).latest("seq")
    assert chain.heads(wallet_ids=[wallet.pk]) == [chain.Head(wallet.pk, 7, last.sha256)]


def test_what_was_written_before_there_was_a_chain_is_chained_by_the_migration(wallet: Wallet) -> None:
    before = list(Entry.objects.order_by("pk").values_list("sha256"))
    behind_the_guards("UPDATE accounts_entry SET sha256 = ''")
    assert broken(wallet) == [1]
    migration = importlib.import_module("accounts.migrations.0003_chain")
    migration.forge(None, SimpleNamespace(connection=connection))
    assert list(Entry.objects.order_by("pk").values_list("sha256")) == before
    assert broken(wallet) == []
