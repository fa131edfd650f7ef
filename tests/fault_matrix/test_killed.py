"""SIGKILL between two steps of real processes: web, worker, watcher; most with their whole process group."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress

import httpx
import pytest

from generations.states import State
from tests.fault_matrix.arming import Deed
from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import WITH_PICTURE, Member, prompt
from tests.fault_matrix.takeover import TAKEN_OVER_SECONDS, Takeover
from tests.fault_matrix.tale import Tale, wait_all

pytestmark = MATRIX

# Each dies with its whole worker, or as one child of a worker that lives on.
SENDING: dict[str, tuple[str, str, Deed]] = {
    "post": ("post", "", "kill"),
    "webhook": ("posted", "seconds=1", "kill"),
    "history": ("posted", "webhook=none", "kill child"),
}
COMING_HOME: dict[str, Deed] = {
    "downloading": "kill",
    "downloaded": "kill child",
    "stored": "kill child",
    "captured": "kill child",
}


def test_on_a_good_day_a_clip_is_made_from_a_picture_and_paid_for(order: Order) -> None:
    tale = order(engine=WITH_PICTURE).wait_settled()
    tale.assert_charged()
    assert len(tale.posts) == len(tale.attempts) == 1


def test_web_killed_between_commit_and_ring_is_dispatched_by_the_sweep_within_30_s(
    site: Installation, ann: Member
) -> None:
    token, words = str(uuid.uuid4()), prompt("")
    blow = site.arming.arm("bell", process="web")
    began_at = time.monotonic()
    with suppress(httpx.HTTPError):  # its connection dies with the process
        ann.press(words, token=token)
    site.wait_for(blow)
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


@pytest.fixture(scope="module")
def killed(running: Installation, ann: Member, in_its_database: object) -> dict[str, Tale]:
    """Each order's worker is killed at the step it is named after; they share the waiting."""
    arm, tales, blows = running.arming.arm, {}, []
    for name, (step, faults, victim) in SENDING.items():
        words = prompt(faults)
        blows.append(arm(step, needle=words, do=victim))
        tales[name] = Tale(ann.order_exactly(words), running)
    for step, victim in COMING_HOME.items():
        tales[step] = Tale(ann.order("seconds=2"), running)
        blows.append(arm(step, needle=tales[step].pk, do=victim))
    for blow in blows:
        running.wait_for(blow)
    return tales


def test_worker_killed_before_the_post_is_lost_and_only_fals_history_allows_a_new_attempt(
    site: Installation, killed: dict[str, Tale]
) -> None:
    tale = killed["post"]
    site.wait(lambda: tale.is_lost, what="the attempt is lost")
    tale.assert_held()
    assert (len(tale.attempts), tale.posts) == (1, []), "nothing is sent again blindly"
    # "Not in the history" is a proof only after the engine's longest usual time: let that have passed.
    tale.let_time_pass(3600)
    tale.wait_settled().assert_charged()
    assert [each.error_type for each in tale.attempts] == ["never_arrived", ""]
    assert len(tale.posts) == 1


@pytest.mark.parametrize("finder", ["webhook", "history"])
def test_worker_killed_after_the_post_before_recording_the_request_is_adopted(
    killed: dict[str, Tale], finder: str
) -> None:
    tale = killed[finder].wait_settled()
    tale.assert_charged()
    assert len(tale.attempts) == len(tale.posts) == len(tale.jobs) == 1
    assert tale.attempt.request_id == tale.jobs[0]["request_id"]
    assert tale.attempt.deliveries.exists() == (finder == "webhook")


@pytest.mark.parametrize("step", COMING_HOME)
def test_worker_killed_while_the_clip_comes_home_it_comes_home_once(
    killed: dict[str, Tale], step: str
) -> None:
    """In the middle of the download, after it, before and in the middle of settling."""
    tale = killed[step].wait_settled()
    tale.assert_charged()
    assert len(tale.attempts) == len(tale.posts) == 1


def test_watcher_killed_while_clips_run_another_takes_over_within_30_s_and_misses_nothing(
    takeover: Takeover,
) -> None:
    assert takeover.orphans, "the one that was killed had been watching something"
    assert takeover.seconds() < TAKEN_OVER_SECONDS
    wait_all(takeover.tales)
    for tale in takeover.tales:
        tale.assert_charged()
        assert len(tale.posts) == 1
