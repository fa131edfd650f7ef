"""fal refuses, breaks, loses the line or takes for ever: nobody pays for what did not come, nothing is sent twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings

from generations import lifecycle
from generations.models import Attempt, DispatchPause, Generation
from generations.states import AttemptState, State
from tests.bad_days.story import PRICE, Story
from tests.sandbox_server import RunningSandbox

pytestmark = pytest.mark.django_db
Begin = Callable[..., Story]


def test_a_good_day_ends_with_a_stored_clip_and_the_quote_captured(story: Begin) -> None:
    told = story().drive()
    told.assert_charged()
    assert (told.wallet.available, told.wallet.held, told.wallet.captured) == (200 - PRICE, 0, PRICE)
    assert len(told.posts) == told.attempts == 1
    assert told.attempt.state == AttemptState.DONE
    assert told.attempt.billable_units is not None
    assert told.generation.started_at is not None
    assert told.generation.completed_at is not None


def test_what_fal_took_is_written_beside_the_quote(story: Begin) -> None:
    told = story().drive()
    lifecycle.sweep()
    assert told.attempt.fal_cost_usd is not None
    assert told.attempt.fal_cost_usd > 0


@pytest.mark.parametrize("fault", ["submit=500", "run=500", "run=502", "run=504"])
def test_a_server_error_once_is_tried_again_under_the_same_hold(story: Begin, fault: str) -> None:
    told = story(f"{fault}*1").drive()
    told.assert_charged()
    assert told.attempts == 2
    assert told.wallet.captured == PRICE


def test_a_server_error_that_left_a_request_behind_is_listed_and_one_clip_is_paid_for(story: Begin) -> None:
    told = story("submit=504:after*1").drive()
    told.assert_charged()
    first = told.generation.attempts.earliest("number")
    assert (told.attempts, first.state, first.http_status) == (2, AttemptState.FAILED, 504)
    assert first.is_maybe_billed
    assert len(told.sandbox.jobs()) == 2


@pytest.mark.parametrize("fault", ["submit=500", "run=500"])
def test_a_server_error_every_time_ends_not_charged_after_the_attempts_allowed(
    story: Begin, fault: str
) -> None:
    told = story(fault).drive()
    told.assert_not_charged()
    assert told.attempts == len(told.posts) == 3
    assert told.wallet.available == 200


def test_a_result_that_fails_for_a_moment_is_asked_for_again(story: Begin) -> None:
    told = story("result=504*2").drive()
    told.assert_charged()
    assert told.attempts == 1


def test_a_result_that_always_fails_is_asked_for_three_times_and_then_made_anew(story: Begin) -> None:
    told = story("result=500").drive()
    told.assert_not_charged(code="fal_error")
    assert told.attempts == len(told.posts) == 3
    assert [job["counts"]["result"] for job in told.sandbox.jobs()] == [3, 3, 3]
    billed = told.generation.attempts.filter(is_maybe_billed=True)
    assert billed.count() == 3, "fal has made and billed each of them; only the way to the result was broken"


def test_a_result_that_cannot_be_reached_ends_not_charged_and_listed(
    story: Begin, fal_settings: Settings
) -> None:
    told = story().drive(until=State.STORING)
    away = "http://127.0.0.1:9/queue"
    Attempt.objects.filter(pk=told.attempt.pk).update(response_url=f"{away}/fal-ai/minimax/requests/1")
    fal_settings.FAL_QUEUE_URL = away
    lifecycle.ingest(told.generation.pk)
    told.assert_held()
    told.backdate(2 * 3600)
    lifecycle.ingest(told.generation.pk)
    told.assert_not_charged(code="result_unavailable")
    assert told.attempt.is_maybe_billed


def test_a_refused_content_ends_not_charged_with_words_and_what_fal_took(story: Begin) -> None:
    told = story("run=422:content_policy_violation").drive()
    told.assert_not_charged(code="content_policy_violation")
    assert "content check" in told.generation.failure_message
    assert told.attempt.is_maybe_billed
    assert told.attempts == 1


def test_a_refused_submit_ends_not_charged_at_once(story: Begin) -> None:
    told = story("submit=422").drive()
    told.assert_not_charged()
    assert not told.attempt.is_maybe_billed
    assert len(told.posts) == 1


def test_429_goes_back_to_the_queue_and_uses_up_no_attempt(story: Begin) -> None:
    told = story("submit=429*5").drive()
    told.assert_charged()
    assert told.attempts == 6
    assert Attempt.objects.filter(generation=told.generation, is_counted=True).count() == 1


def test_a_locked_account_pauses_everybody_and_fails_nothing(story: Begin, sandbox: RunningSandbox) -> None:
    sandbox.settings(locked="Exhausted balance. Top up your balance at fal.ai/dashboard/billing.")
    first, second = story(), story()
    assert lifecycle.dispatch() == 1, "the second is not even tried"
    pause = DispatchPause.current()
    assert pause is not None
    assert pause.code == "account_locked"
    assert lifecycle.dispatch() == 0
    for told in (first, second):
        told.assert_held()
        assert told.generation.state == State.REQUESTED
    sandbox.settings(locked="")
    time.sleep(0.25)
    first.drive().assert_charged()
    assert DispatchPause.current() is None
    second.drive().assert_charged()


def test_while_the_account_stays_locked_one_probe_goes_at_a_time(
    story: Begin, sandbox: RunningSandbox, fal_settings: Settings
) -> None:
    fal_settings.PAUSE_PROBE_SECONDS = 1.0
    sandbox.settings(locked="Admin lock.")
    story(), story()
    lifecycle.dispatch()
    time.sleep(1.1)
    assert lifecycle.dispatch() == 1
    assert lifecycle.dispatch() == 0
    assert DispatchPause.current() is not None
    assert not Generation.objects.exclude(state=State.REQUESTED).exists()


def test_no_network_sends_nothing_and_loses_nothing(story: Begin, fal_settings: Settings) -> None:
    there, nowhere = fal_settings.FAL_REST_URL, "http://127.0.0.1:9"
    told = story()
    fal_settings.FAL_REST_URL = fal_settings.FAL_QUEUE_URL = nowhere
    lifecycle.dispatch()
    told.assert_held()
    assert told.generation.state == State.REQUESTED
    assert told.posts == []
    fal_settings.FAL_REST_URL, fal_settings.FAL_QUEUE_URL = there, told.sandbox.queue_url
    told.drive().assert_charged()


def test_a_network_that_stays_away_gives_the_credits_back_in_the_end(
    story: Begin, fal_settings: Settings
) -> None:
    fal_settings.PATIENCE_SECONDS = 0
    told = story()
    fal_settings.FAL_REST_URL = fal_settings.FAL_QUEUE_URL = "http://127.0.0.1:9"
    told.drive().assert_not_charged()
    assert told.wallet.available == 200


def test_the_line_lost_after_fal_accepted_is_posted_once_and_found_in_the_history(story: Begin) -> None:
    told = story("drop=after")
    lifecycle.dispatch()
    assert told.attempt.state == AttemptState.LOST
    told.assert_held()
    assert len(told.posts) == 1
    lifecycle.dispatch()
    told.drive().assert_charged()
    assert len(told.posts) == told.attempts == 1


def test_an_ingress_error_page_is_no_answer_of_fals(story: Begin) -> None:
    told = story("nginx=502:after")
    lifecycle.dispatch()
    assert told.attempt.state == AttemptState.LOST
    told.drive().assert_charged()
    assert len(told.posts) == 1


def test_the_line_lost_before_fal_accepted_waits_until_the_history_is_proof(story: Begin) -> None:
    told = story("drop=before*1")
    lifecycle.dispatch()
    time.sleep(0.15)
    lifecycle.sweep()
    assert told.attempt.state == AttemptState.LOST, "too early: fal lists what has ended"
    told.backdate(3600)
    lifecycle.sweep()
    told.drive().assert_charged()
    assert told.attempts == 2
    assert len(told.posts) == 2


def test_a_lost_attempt_without_a_history_is_released_at_the_deadline_and_listed(
    story: Begin, fal_settings: Settings
) -> None:
    told = story("drop=after")
    lifecycle.dispatch()
    fal_settings.FAL_PLATFORM_URL = "http://127.0.0.1:9/v1"
    told.backdate(3600)
    lifecycle.sweep()
    told.assert_held()
    told.backdate(4 * 3600)
    lifecycle.sweep()
    told.assert_not_charged(code="submit_lost")
    assert told.attempt.is_maybe_billed
    assert len(told.posts) == 1


def test_a_submit_that_hangs_is_lost_after_the_read_timeout(story: Begin, fal_settings: Settings) -> None:
    fal_settings.SUBMIT_READ_TIMEOUT_SECONDS = 0.3
    told = story("hang=after")
    lifecycle.dispatch()
    assert told.attempt.state == AttemptState.LOST
    assert len(told.posts) == 1


def test_status_errors_are_asked_past(story: Begin) -> None:
    story("status=503*3").drive().assert_charged()


def test_a_job_that_never_ends_is_stopped_at_fal_first_and_then_released(story: Begin) -> None:
    told = story("stuck").drive(until=State.RUNNING)
    told.backdate(24 * 3600)
    lifecycle.sweep()
    assert told.attempt.timed_out_at is not None
    told.assert_held()
    lifecycle.send_cancel(told.generation.pk)
    assert told.attempt.cancel_sent_at is not None
    told.drive().assert_not_charged(code="timed_out")


def test_a_job_that_cannot_even_be_stopped_is_let_go_after_a_grace(story: Begin) -> None:
    told = story("stuck cancel=ignored").drive(until=State.RUNNING)
    told.backdate(24 * 3600)
    lifecycle.sweep()
    lifecycle.send_cancel(told.generation.pk)
    lifecycle.sweep()
    told.assert_held()
    attempt = told.attempt
    assert attempt.timed_out_at is not None
    Attempt.objects.filter(pk=attempt.pk).update(timed_out_at=attempt.sent_at)
    lifecycle.sweep()
    told.assert_not_charged(code="timed_out")
    assert told.attempt.is_maybe_billed
