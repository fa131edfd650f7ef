"""Signed heads: kept, sent out of the house, and held against the book ever after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core import mail
from django.core.management import call_command
from pytest_django.fixtures import Settings

from accounts.ledger import check, heads
from accounts.models import Entry, SignedHead, Wallet
from tests.accounts.test_ledger_check import behind_the_guards
from tests.factories import TeamFactory, fill

pytestmark = pytest.mark.django_db


@pytest.fixture
def wallet() -> Wallet:
    return TeamFactory(credits=100).wallet


def rules() -> set[str]:
    return {breach.rule for breach in check.breaches()}


def test_a_head_names_the_last_entry_of_every_wallet(wallet: Wallet) -> None:
    made = heads.seal()
    assert made is not None
    [mine] = [each for each in json.loads(made.heads) if each["wallet"] == wallet.pk]
    assert mine["sha256"] == Entry.objects.filter(wallet=wallet).latest("seq").sha256
    assert heads.is_signed(made)


def test_without_an_entry_there_is_nothing_to_sign() -> None:
    TeamFactory()
    assert heads.seal() is None


def test_it_goes_out_of_the_house_by_mail_and_into_a_directory(
    wallet: Wallet, settings: Settings, tmp_path: Path
) -> None:
    settings.LEDGER_HEADS_MAIL = ["auditor@example.com"]
    settings.LEDGER_HEADS_DIRECTORY = str(tmp_path / "heads")
    made, again = heads.seal(), heads.seal()
    assert made is not None
    assert again is not None
    assert mail.outbox[0].to == ["auditor@example.com"]
    assert heads.statement(made) in mail.outbox[0].body
    [file] = (tmp_path / "heads").iterdir()
    assert file.read_text().splitlines() == [heads.statement(made), heads.statement(again)]


def test_a_mail_server_that_is_down_loses_no_head(
    wallet: Wallet, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.LEDGER_HEADS_MAIL = ["auditor@example.com"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    assert heads.seal() is not None
    assert SignedHead.objects.count() == 1
    assert "could not leave the house" in caplog.text


def test_the_book_is_held_against_every_head_that_was_signed(wallet: Wallet) -> None:
    heads.seal()
    fill(wallet, 5)
    heads.seal()
    assert rules() == set()
    behind_the_guards("UPDATE accounts_entry SET sha256 = repeat('a', 64) WHERE seq = 1")
    found = [breach for breach in check.breaches() if breach.rule == "entries-are-as-signed"]
    assert [breach.subject.split(",")[0] for breach in found] == [f"entry #1 of wallet {wallet.pk}"]


def test_a_tail_that_was_cut_off_is_missed(wallet: Wallet) -> None:
    fill(wallet, 5)
    heads.seal()
    behind_the_guards("DELETE FROM accounts_entry WHERE seq = 2")
    assert "entries-are-as-signed" in rules()


def test_a_head_that_was_rewritten_is_not_signed_any_more(wallet: Wallet) -> None:
    heads.seal()
    behind_the_guards(
        "UPDATE accounts_signedhead SET content = replace(content, '\"version\":1', '\"version\":2')"
    )
    assert rules() == {"entries-are-as-signed"}


def test_a_head_that_is_not_the_one_signed_is_found(wallet: Wallet) -> None:
    heads.seal()
    behind_the_guards("UPDATE accounts_signedhead SET heads = replace(heads, '\"seq\":1', '\"seq\": 1')")
    assert rules() == set(), "the same head, written otherwise"
    behind_the_guards("UPDATE accounts_signedhead SET heads = replace(heads, 'team', 'seam')")
    assert rules() == {"entries-are-as-signed"}


def test_the_key_may_be_given_and_is_otherwise_that_of_the_installation(settings: Settings) -> None:
    ours = heads.Signer.ours().public_hex
    settings.LEDGER_SIGNING_KEY = bytes(range(32))
    given = heads.Signer.ours().public_hex
    settings.LEDGER_SIGNING_KEY = b""
    settings.SECRET_KEY = "another-secret-key-of-another-installation"
    assert len({ours, given, heads.Signer.ours().public_hex}) == 3


def test_the_command_signs_after_it_has_found_the_books_whole(wallet: Wallet) -> None:
    call_command("check_ledger", "--seal")
    assert SignedHead.objects.count() == 1
    behind_the_guards("UPDATE accounts_entry SET reason = 'x'")
    with pytest.raises(SystemExit):
        call_command("check_ledger", "--seal")
    assert SignedHead.objects.count() == 1, "what is broken is not signed for"
