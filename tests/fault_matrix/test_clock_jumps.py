"""The wall clocks of all our processes jump by an hour under their hands: nothing ends early, nothing is given twice.

Jumps of PostgreSQL's own clock cannot be made for one server of a machine; tests/bad_days/test_clocks_jump.py has them.
"""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Grant
from generations.states import AttemptState, State
from tests.factories import fill
from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import Member, settle

pytestmark = MATRIX

HOUR_SECONDS = 3600
OURS = ("web", "worker", "watcher", "beat")
# Two looks at the file that says how wrong a clock is, and two sweeps.
NOTICED_SECONDS = 5


@pytest.mark.parametrize("off_seconds", [HOUR_SECONDS, -HOUR_SECONDS], ids=["forwards", "back"])
def test_no_hold_in_flight_and_no_credits_expire_early_and_new_work_is_done(
    site: Installation, order: Order, ann: Member, off_seconds: int
) -> None:
    running, lost = order("stuck webhook=none"), order("drop=after stuck webhook=none")
    running.wait_until(State.RUNNING)
    site.wait(lambda: lost.is_lost, what="an attempt is lost")
    saver = settle(f"saver{off_seconds}", amount=0)
    fill(saver.team.wallet, 70, expires_at=timezone.now() + timedelta(seconds=HOUR_SECONDS / 2))
    ours = [name for kind in OURS for name in site.names(kind)]
    site.fleet.set_clock(ours, off_seconds)
    try:
        made = order().wait_settled()
        ends_at = time.monotonic() + NOTICED_SECONDS
        site.wait(lambda: time.monotonic() > ends_at, what="everybody has swept")
        made.assert_charged()
        assert abs(made.generation.settled_at - timezone.now()) < timedelta(seconds=HOUR_SECONDS / 2)  # type: ignore[operator]
        running.assert_held()
        assert (running.state, running.attempt.timed_out_at) == (State.RUNNING, None)
        lost.assert_held()
        assert lost.attempt.state == AttemptState.LOST
        assert Grant.objects.get(wallet=saver.team.wallet).remaining == 70
    finally:
        site.fleet.set_clock(ours, 0)
    for tale in (running, lost):
        site.books.finish(tale.jobs[0]["request_id"])
    for tale in (running, lost):
        tale.wait_settled().assert_charged()
        assert len(tale.posts) == 1
