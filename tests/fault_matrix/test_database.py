"""PostgreSQL goes away under everybody's hands and comes back: nothing confirmed is missing, nothing is double."""

from __future__ import annotations

import time
import uuid

import pytest
from django.core.management import call_command
from django.db import connection

from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import Member, prompt
from tests.fault_matrix.tale import Tale

pytestmark = MATRIX

FAILS_WITHIN_SECONDS = 10


@pytest.mark.parametrize("is_crash", [False, True], ids=["fast restart", "crash and recovery"])
def test_requests_fail_cleanly_or_are_retried_and_afterwards_the_books_balance(
    site: Installation, order: Order, ann: Member, is_crash: bool
) -> None:
    under_way = [order("seconds=1"), order("seconds=2"), order("seconds=2 webhook=none")]
    token, words = str(uuid.uuid4()), prompt("")
    connection.close()
    site.fleet.stop_database(is_crash=is_crash)
    try:
        began_at = time.monotonic()
        refused = ann.press(words, token=token)
        took = time.monotonic() - began_at
    finally:
        site.fleet.start_database()
    assert refused.status_code in {500, 503}
    assert took < FAILS_WITHIN_SECONDS
    site.wait(lambda: ann.press(words, token=token).status_code == 302, what="the same form is taken")
    tales = [*under_way, Tale(ann.made_by(token).pk, site)]
    for tale in tales:
        tale.wait_settled().assert_charged()
        assert len(tale.posts) == len(tale.attempts) == 1
    call_command("check_ledger")  # it exits where anything does not balance
