"""The daily check of the books: whole ones are sealed, broken ones are told of, and the metrics know both."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache

from accounts.models import SignedHead
from generations import metrics, proving, queue, tasks
from tests.accounts.test_ledger_check import behind_the_guards
from tests.factories import TeamFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def unchecked() -> Any:
    cache.delete(proving.LATEST)
    yield
    cache.delete(proving.LATEST)


def test_whole_books_are_sealed_once_however_often_the_beat_rings() -> None:
    TeamFactory(credits=10)
    for _ in range(2):
        tasks.check_books()
    assert SignedHead.objects.count() == 1
    assert b"clipledger_book_breaches 0.0" in metrics.exposition()
    assert b"clipledger_book_checked_seconds" in metrics.exposition()
    assert queue.CHECK_BOOKS in queue.TASK_NAMES


def test_a_breach_is_logged_as_critical_and_mailed_and_nothing_is_sealed(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.LEDGER_HEADS_MAIL = ["auditor@example.com"]
    team = TeamFactory(credits=10)
    behind_the_guards("UPDATE accounts_entry SET reason = 'Forged' WHERE wallet_id = %s", team.wallet.pk)
    with caplog.at_level(logging.CRITICAL):
        found = proving.daily()
    assert [breach.rule for breach in found] == ["entries-are-chained"]
    assert "entries-are-chained: entry" in caplog.text
    (letter,) = mail.outbox
    assert letter.to == ["auditor@example.com"]
    assert "#1 of wallet" in letter.body
    assert not SignedHead.objects.exists()
    assert b"clipledger_book_breaches 1.0" in metrics.exposition()
