"""fal answers badly or not at all: at the submit, while it runs, and when its result is asked for."""

from __future__ import annotations

import pytest

from accounts.models import Hold
from generations.models import DispatchPause
from generations.states import AttemptState, State
from tests.fault_matrix import weather as kinds
from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import Member
from tests.fault_matrix.weather import Weather

pytestmark = MATRIX


@pytest.mark.parametrize("faults", kinds.ADOPTED)
def test_an_answer_lost_after_fal_took_the_submit_is_one_post_and_the_request_is_adopted(
    weather: Weather, faults: str
) -> None:
    tale = weather[faults]
    tale.assert_charged()
    assert len(tale.posts) == len(tale.jobs) == len(tale.attempts) == 1
    assert tale.attempt.request_id == tale.jobs[0]["request_id"]


@pytest.mark.parametrize("faults", kinds.NEVER_KNOWN)
def test_an_answer_lost_for_good_is_one_post_and_after_deadline_and_search_released_and_listed(
    weather: Weather, faults: str
) -> None:
    tale = weather[faults]
    tale.assert_not_charged("submit_lost")
    assert (len(tale.posts), len(tale.jobs), len(tale.attempts)) == (1, 0, 1)
    assert tale.attempt.is_maybe_billed, "listed for reconciliation"


@pytest.mark.parametrize("faults", kinds.REFUSED)
def test_a_submit_that_fal_refuses_fails_and_is_released(weather: Weather, faults: str) -> None:
    tale = weather[faults]
    tale.assert_not_charged(kinds.REFUSED[faults])
    assert (len(tale.posts), len(tale.jobs)) == (1, 0)
    assert not tale.attempt.is_maybe_billed


@pytest.mark.parametrize("faults", kinds.LATER)
def test_a_submit_that_fal_cannot_take_just_now_is_a_later_attempt_with_back_off(
    weather: Weather, faults: str
) -> None:
    tale = weather[faults]
    tale.assert_charged()
    assert len(tale.posts) == len(tale.attempts) == kinds.LATER[faults]
    for earlier, later in zip(tale.attempts, tale.attempts[1:], strict=False):
        assert earlier.ended_at is not None
        assert later.sent_at > earlier.ended_at


def test_a_locked_account_pauses_dispatch_alerts_the_admins_and_fails_nothing(
    site: Installation, weather: Weather, order: Order, ann: Member
) -> None:
    site.books.settings(locked="Exhausted balance. Top up your balance.")
    try:
        tales = [order(), order()]
        pause = site.wait(DispatchPause.current, what="dispatch pauses")
        assert pause.code == "account_locked"
        site.wait(lambda: sum(len(tale.posts) for tale in tales) >= 2, what="a probe goes now and then")
        for tale in tales:
            tale.assert_held()
            tale.wait_until(State.REQUESTED)  # where a probe was just on its way
        assert any("DISPATCH PAUSED" in site.log(name) for name in site.names("worker"))
        assert "fal has paused this account" in ann.get("/").text
    finally:
        site.books.settings(locked="")
    for tale in tales:
        tale.wait_settled().assert_charged()
        assert all(not each.is_counted for each in tale.attempts[:-1])
    assert DispatchPause.current() is None


@pytest.mark.parametrize("faults", kinds.ANOTHER_ATTEMPT)
def test_a_run_that_breaks_at_fal_is_a_new_attempt_under_the_same_hold(weather: Weather, faults: str) -> None:
    tale = weather[faults]
    tale.assert_charged()
    assert [each.state for each in tale.attempts] == [AttemptState.FAILED, AttemptState.DONE]
    assert Hold.objects.filter(reference=tale.generation.reference).count() == 1


@pytest.mark.parametrize("faults", kinds.RESULT_LATER)
def test_a_result_that_is_not_there_at_once_is_asked_for_again_and_nothing_is_made_twice(
    weather: Weather, faults: str
) -> None:
    tale = weather[faults]
    tale.assert_charged()
    assert len(tale.posts) == len(tale.attempts) == 1


@pytest.mark.parametrize("faults", kinds.NO_MORE_ATTEMPTS)
def test_a_fault_of_fals_that_stays_ends_failed_and_released_once_no_attempt_is_left(
    weather: Weather, faults: str
) -> None:
    tale = weather[faults]
    tale.assert_not_charged()
    assert len(tale.posts) == len(tale.attempts) == 3


@pytest.mark.parametrize("faults", kinds.INPUT_REFUSED)
def test_a_422_while_running_is_failed_released_in_plain_words_and_what_fal_took_is_recorded(
    site: Installation, weather: Weather, faults: str
) -> None:
    tale = weather[faults]
    tale.assert_not_charged(faults.partition(":")[2])
    assert len(tale.attempts) == len(tale.posts) == 1
    assert "picture" in tale.generation.failure_message
    assert tale.attempt.is_maybe_billed
    cost = site.wait(lambda: tale.attempt.fal_cost_usd, what="fal's bill is written beside the attempt")
    assert abs(cost - site.books.bills_usd()[tale.attempt.request_id]) < 0.00001
