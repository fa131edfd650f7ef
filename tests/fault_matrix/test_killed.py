"""SIGKILL between two steps of real processes: web, worker, watcher. The victims take their whole process group along."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from datetime import timedelta

import httpx
import pytest
from django.conf import settings
from django.db.models import F

from generations.models import Attempt, Generation
from generations.states import AttemptState, State
from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import WATCHERS_LEASE_SECONDS, Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import WITH_PICTURE, Member, prompt
from tests.fault_matrix.tale import Tale, wait_all

pytestmark = MATRIX

TAKEN_OVER_SECONDS = 30
STEPS = ("downloading", "downloaded", "stored", "captured")


def test_on_a_good_day_a_clip_is_made_from_a_picture_and_paid_for(order: Order) -> None:
    tale = order(engine=WITH_PICTURE).wait_settled()
    tale.assert_charged()
    assert len(tale.posts) == len(tale.attempts) == 1


def test_web_killed_between_commit_and_ring_is_dispatched_by_the_sweep_within_30_s(
    site: Installation, ann: Member
) -> None:
    token, words = str(uuid.uuid4()), prompt("")
    site.arming.arm("bell", process="web")
    began_at = time.monotonic()
    with suppress(httpx.HTTPError):  # its connection dies with the process
        ann.press(words, token=token)
    site.wait_for_strike("bell")
    tale = Tale(ann.made_by(token).pk, site)
    tale.wait_until(*set(State) - {State.REQUESTED})
    assert time.monotonic() - began_at < 30
    tale.wait_settled().assert_charged()
    assert len(tale.posts) == 1
    again = site.wait(lambda: _answered(ann, words, token), what="the member's browser sends the form again")
    assert again == 302
    assert ann.made_by(token).pk == tale.pk


def _answered(member: Member, words: str, token: str) -> int | None:
    with suppress(httpx.HTTPError):
        return member.press(words, token=token).status_code
    return None


def test_worker_killed_before_the_post_is_lost_and_only_fals_history_allows_a_new_attempt(
    site: Installation, order: Order
) -> None:
    site.arming.arm("post")
    tale = order()
    site.wait_for_strike("post")
    site.wait(lambda: tale.attempt.state == AttemptState.LOST, what="the attempt is lost")
    tale.assert_held()
    assert (len(tale.attempts), tale.posts) == (1, []), "nothing is sent again blindly"
    # "Not in the history" is a proof only after the engine's longest usual time: let that have passed.
    Attempt.objects.filter(pk=tale.attempt.pk).update(sent_at=F("sent_at") - timedelta(hours=1))
    tale.wait_settled().assert_charged()
    assert [each.error_type for each in tale.attempts] == ["never_arrived", ""]
    assert len(tale.posts) == 1


@pytest.mark.parametrize("finder", ["webhook", "history"])
def test_worker_killed_after_the_post_before_recording_the_request_is_adopted(
    site: Installation, order: Order, finder: str
) -> None:
    site.arming.arm("posted")
    tale = order("webhook=none" if finder == "history" else "seconds=1")
    site.wait_for_strike("posted")
    assert len(tale.posts) == 1
    tale.wait_settled().assert_charged()
    assert len(tale.attempts) == len(tale.posts) == len(tale.jobs) == 1
    assert tale.attempt.request_id == tale.jobs[0]["request_id"]
    assert tale.attempt.deliveries.exists() == (finder == "webhook")


def test_watcher_killed_while_clips_run_another_takes_over_within_30_s_and_misses_nothing(
    site: Installation, order: Order
) -> None:
    """With the lease that production has, and a watcher that does not come back: the other one has to see it."""
    assert WATCHERS_LEASE_SECONDS == settings.LEASE_SECONDS
    tales = [order("webhook=none seconds=18") for _ in range(6)]
    rows = Generation.objects.filter(pk__in=[tale.pk for tale in tales], lease_owner__startswith="watch@")
    site.wait(lambda: rows.filter(state=State.RUNNING).count() == len(tales), what="all run and are watched")
    owners = rows.values_list("lease_owner", flat=True).order_by("lease_owner").distinct()
    victims = {name: site.pid(name) for name in site.names("watcher")}
    victim = next(name for name, pid in victims.items() if f":{pid}:" in owners[0])
    dead, orphans = owners[0], set(rows.filter(lease_owner=owners[0]).values_list("pk", flat=True))
    killed_at = time.monotonic()
    assert site.fleet.kill(victim)
    site.fleet.hold_down(victim, seconds=TAKEN_OVER_SECONDS)
    site.wait(
        lambda: not rows.filter(lease_owner=dead).exists(),
        what="no lease is the dead watcher's",
        seconds=TAKEN_OVER_SECONDS,
    )
    assert orphans
    wait_all(tales, seconds=TAKEN_OVER_SECONDS)
    assert time.monotonic() - killed_at < TAKEN_OVER_SECONDS + 10
    for tale in tales:
        tale.assert_charged()
        assert len(tale.posts) == 1


@pytest.mark.parametrize("step", STEPS)
def test_worker_killed_while_the_clip_comes_home_it_comes_home_once(
    site: Installation, order: Order, step: str
) -> None:
    """In the middle of the download, after it, before and in the middle of settling."""
    site.arming.arm(step)
    tale = order()
    site.wait_for_strike(step)
    tale.assert_held()
    tale.wait_settled().assert_charged()
    assert len(tale.attempts) == len(tale.posts) == 1
