"""A cancel against a completion: one of both wins, the other is told, and the credits follow the winner."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from generations.states import State
from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import Member
from tests.fault_matrix.tale import Tale, wait_all

pytestmark = MATRIX

TOO_LATE = "It is too late to cancel"
TAKEN = "Asked to cancel it"
RACES = 6
JOB_SECONDS = 2.0


def test_the_cancel_wins_where_the_job_never_ends(order: Order, ann: Member) -> None:
    waiting, running = order("stuck=queue"), order("stuck").wait_until(State.RUNNING)
    waiting.wait_until(State.SUBMITTED)
    for tale in (waiting, running):
        assert TAKEN in _told(ann, ann.cancel(tale.pk))
    for tale in (waiting, running):
        tale.wait_until(State.CANCELED).assert_not_charged(state=State.CANCELED)
        assert TOO_LATE in _told(ann, ann.cancel(tale.pk))


def test_the_clip_wins_where_fal_finishes_all_the_same(order: Order, ann: Member) -> None:
    tale = order("cancel=ignored slow=1").wait_until(State.RUNNING)
    assert TAKEN in _told(ann, ann.cancel(tale.pk))
    tale.wait_settled().assert_charged()


def test_the_clip_wins_where_the_cancel_comes_while_it_is_being_stored(
    site: Installation, order: Order, ann: Member
) -> None:
    tale = order("seconds=1")
    blow = site.arming.arm("ingesting", needle=tale.pk, do="hold")
    site.wait_for(blow, is_death=False)
    assert TOO_LATE in _told(ann, ann.cancel(tale.pk))
    tale.assert_held()
    blow.let_go()
    tale.wait_settled().assert_charged()


def test_at_the_very_moment_either_wins_and_the_credits_follow(
    site: Installation, order: Order, ann: Member
) -> None:
    tales = [order(f"seconds={JOB_SECONDS}") for _ in range(RACES)]
    with ThreadPoolExecutor(RACES) as pool:
        races = [
            (tale, pool.submit(_cancel_at, ann.another_browser(), tale, JOB_SECONDS * share))
            for tale, share in zip(tales, (0.5, 0.7, 0.8, 0.9, 1.0, 1.1), strict=True)
        ]
    wait_all(tales)
    for tale, race in races:
        assert race.result().status_code == 302
        if tale.state == State.SUCCEEDED:
            tale.assert_charged()
        else:
            assert tale.generation.is_cancel_requested
            tale.assert_not_charged(state=State.CANCELED)
        assert len(tale.posts) == 1


def _cancel_at(browser: Member, tale: Tale, seconds: float) -> httpx.Response:
    time.sleep(seconds)
    return browser.cancel(tale.pk)


def _told(member: Member, answer: httpx.Response) -> str:
    """What the page says to which the answer leads."""
    assert answer.status_code == 302
    return member.get(answer.headers["location"]).text
