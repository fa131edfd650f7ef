"""Webhooks that are forged, doubled, late, early, stale or not ours; and the ones that save a lost request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import Membership
from generations import fal, lifecycle
from generations.lifecycle import attempts
from generations.models import Attempt, Delivery
from generations.sandbox.webhooks import Signer
from generations.states import AttemptState, State
from tests.bad_days.story import Story
from tests.sandbox_server import RunningSandbox

pytestmark = pytest.mark.django_db
Begin = Callable[..., Story]


class Post:
    """Sends webhooks as fal signs them, with the sandbox's own key, or as fal never would."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.signer = Signer(sandbox.data_dir / "webhook.key")
        self.client = Client(enforce_csrf_checks=True)

    def __call__(
        self,
        attempt: Attempt,
        *,
        request_id: str = "",
        token: str = "",
        status: str = "OK",
        age_seconds: float = 0,
        forged: bool = False,
        body: bytes = b"",
    ) -> int:
        request_id = request_id or attempt.request_id
        body = body or json.dumps({"request_id": request_id, "status": status, "payload": {}}).encode()
        headers = self.signer.headers(request_id, body, at=time.time() - age_seconds, forged=forged)
        address = reverse("generations:fal_webhook", args=[token or attempt.token])
        kind = headers.pop("Content-Type")
        return self.client.post(address, body, content_type=kind, headers=headers).status_code


@pytest.fixture
def post(sandbox: RunningSandbox) -> Post:
    return Post(sandbox)


@pytest.fixture
def at_fal(story: Begin) -> Story:
    """Submitted, and finished at fal, and we have not heard of it."""
    told = story()
    lifecycle.dispatch()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and told.sandbox.jobs("state=COMPLETED") == []:
        time.sleep(0.03)
    told.generation.refresh_from_db()
    assert told.generation.state == State.SUBMITTED
    return told


def process_all() -> list[bool]:
    return [lifecycle.process_delivery(pk) for pk in Delivery.objects.values_list("pk", flat=True)]


def test_a_genuine_webhook_moves_the_generation_on(at_fal: Story, post: Post) -> None:
    assert post(at_fal.attempt) == 200
    at_fal.assert_held()
    assert process_all() == [True]
    at_fal.generation.refresh_from_db()
    assert at_fal.generation.state == State.STORING
    at_fal.drive().assert_charged()


def test_it_is_answered_with_less_than_50_ms_of_our_own_time(at_fal: Story, post: Post) -> None:
    post(at_fal.attempt, status="warm the keys")
    times = []
    for number in range(5):
        begin = time.thread_time()
        assert post(at_fal.attempt, status=f"OK {number}") == 200
        times.append(time.thread_time() - begin)
    assert min(times) < 0.05, times


def test_ten_deliveries_of_the_same_are_one(at_fal: Story, post: Post) -> None:
    assert [post(at_fal.attempt) for _ in range(10)] == [200] * 10
    assert Delivery.objects.count() == 1
    assert process_all() == [True]
    assert process_all() == [False], "once"
    at_fal.drive().assert_charged()


def test_a_webhook_cannot_lie_about_the_outcome(at_fal: Story, post: Post) -> None:
    assert post(at_fal.attempt, status="ERROR") == 200
    process_all()
    at_fal.drive().assert_charged()


def test_a_webhook_that_says_done_while_it_runs_changes_nothing(story: Begin, post: Post) -> None:
    told = story("stuck").drive(until=State.RUNNING)
    assert post(told.attempt) == 200
    process_all()
    told.assert_held()
    assert told.generation.state == State.RUNNING


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        ({"forged": True}, 401),
        ({"age_seconds": 301}, 401),
        ({"age_seconds": -400}, 401),
        ({"token": "not-a-token-of-ours"}, 404),
        ({"request_id": "6e1a1b4e-0000-4000-8000-000000000000"}, 404),
        ({"body": b"x" * 1_000_001}, 413),
    ],
)
def test_what_is_not_to_be_believed_is_refused_and_not_stored(
    at_fal: Story, post: Post, how: dict[str, object], answer: int
) -> None:
    assert post(at_fal.attempt, **how) == answer  # type: ignore[arg-type]
    assert Delivery.objects.count() == 0
    at_fal.assert_held()
    assert at_fal.generation.state == State.SUBMITTED


def test_without_a_signature_nothing_is_believed(at_fal: Story, client: Client) -> None:
    address = reverse("generations:fal_webhook", args=[at_fal.attempt.token])
    assert client.post(address, b"{}", content_type="application/json").status_code == 401
    assert client.get(address).status_code == 405


def test_another_customers_genuine_webhook_is_refused(
    at_fal: Story, post: Post, fal_settings: Settings
) -> None:
    fal_settings.FAL_WEBHOOK_USER_ID = "somebody-else"
    assert post(at_fal.attempt) == 401
    fal_settings.FAL_WEBHOOK_USER_ID = "sandbox"
    assert post(at_fal.attempt) == 200


def test_while_fals_keys_cannot_be_had_it_is_told_to_come_again(
    at_fal: Story, post: Post, fal_settings: Settings
) -> None:
    fal_settings.FAL_JWKS_URL = "http://127.0.0.1:9/jwks.json"
    assert post(at_fal.attempt) == 503
    assert Delivery.objects.count() == 0


def test_a_webhook_adopts_the_request_whose_receipt_was_lost(story: Begin, post: Post) -> None:
    told = story("drop=after")
    lifecycle.dispatch()
    assert told.attempt.state == AttemptState.LOST
    [job] = told.sandbox.jobs()
    assert post(told.attempt, request_id=job["request_id"]) == 200
    process_all()
    assert told.attempt.request_id == job["request_id"]
    told.drive().assert_charged()
    assert len(told.posts) == 1


def test_a_signed_webhook_about_a_request_fal_does_not_know_is_not_taken_for_the_lost_one(
    story: Begin, post: Post
) -> None:
    told = story("drop=after")
    lifecycle.dispatch()
    assert post(told.attempt, request_id="6e1a1b4e-0000-4000-8000-000000000000") == 200
    assert process_all() == [True]
    assert Delivery.objects.get().outcome == "fal does not know this request"
    assert (told.attempt.state, told.attempt.request_id) == (AttemptState.LOST, "")
    told.drive().assert_charged()
    assert [told.attempt.request_id] == [job["request_id"] for job in told.sandbox.jobs()]


def test_a_webhook_may_come_before_the_receipt_was_written(story: Begin, post: Post) -> None:
    told = story()

    real = fal.FalClient.submit

    def deliver_first(client: fal.FalClient, *args: Any, **kwargs: Any) -> fal.Submitted:
        receipt = real(client, *args, **kwargs)
        assert post(told.attempt, request_id=receipt.request_id) == 200
        assert process_all() == [True]
        return receipt

    with mock.patch.object(fal.FalClient, "submit", deliver_first):
        lifecycle.dispatch()
    told.drive().assert_charged()
    assert len(told.posts) == told.attempts == 1


def test_a_webhook_after_the_settlement_is_kept_and_changes_nothing(story: Begin, post: Post) -> None:
    told = story().drive()
    told.assert_charged()
    assert post(told.attempt) == 200
    process_all()
    assert "too late" in Delivery.objects.get().outcome
    told.assert_charged()


def test_success_after_we_gave_up_is_listed_and_never_captured(
    story: Begin, post: Post, fal_settings: Settings
) -> None:
    told = story("drop=after")
    lifecycle.dispatch()
    fal_settings.FAL_PLATFORM_URL = "http://127.0.0.1:9/v1"
    told.backdate(5 * 3600)
    lifecycle.sweep()
    told.assert_not_charged(code="submit_lost")
    [job] = told.sandbox.jobs()
    assert post(told.attempt, request_id=job["request_id"]) == 200
    process_all()
    told.assert_not_charged(code="submit_lost")
    assert told.attempt.request_id == job["request_id"]
    assert told.attempt.is_maybe_billed


def test_a_webhook_about_a_request_that_a_later_attempt_was_found_as_is_settled(
    story: Begin, post: Post
) -> None:
    told = story("submit=504:after*1 drop=before*1")
    lifecycle.dispatch()
    [job] = told.sandbox.jobs()
    while told.attempts == 1:
        lifecycle.dispatch()
    assert post(told.generation.attempts.earliest("number"), request_id=job["request_id"]) == 200
    # As a search of fal's history does, which goes by the inputs; both attempts have the same.
    found = lifecycle.fal_client().locate(told.generation.engine, job["request_id"])
    assert attempts.accepted(told.attempt, found)
    told.drive().assert_charged()
    first, second = told.generation.attempts.order_by("number")
    assert (first.request_id, second.request_id) == ("", job["request_id"])
    assert process_all() == [True]
    assert "the request of attempt 2" in Delivery.objects.get().outcome
    told.assert_charged()


def test_a_webhook_after_a_cancel_changes_nothing(story: Begin, post: Post, member: Membership) -> None:
    told = story("stuck").drive(until=State.RUNNING)
    lifecycle.cancel(told.generation, actor=member.user)
    told.drive().assert_not_charged(State.CANCELED)
    assert post(told.attempt) == 200
    process_all()
    told.assert_not_charged(State.CANCELED)


def test_a_delivery_waits_while_fal_cannot_be_asked_and_the_sweep_comes_back(
    at_fal: Story, post: Post, fal_settings: Settings
) -> None:
    here = fal_settings.FAL_QUEUE_URL
    assert post(at_fal.attempt) == 200
    fal_settings.FAL_QUEUE_URL = "http://127.0.0.1:9/queue"
    assert process_all() == [False]
    fal_settings.FAL_QUEUE_URL, fal_settings.SWEEP_SECONDS = here, 0
    with mock.patch("generations.lifecycle.sweeping.queue.enqueue") as bell:
        lifecycle.sweep()
    bell.assert_any_call("generations.process_delivery", str(Delivery.objects.get().pk))
    assert process_all() == [True]
    at_fal.drive().assert_charged()
