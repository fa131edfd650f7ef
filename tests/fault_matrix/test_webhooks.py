"""fal's calls are lost, doubled, early, late, or not fal's at all: the same end as without them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from generations.models import Delivery
from generations.states import AttemptState, State
from tests.fault_matrix import weather as kinds
from tests.fault_matrix.caller import Caller
from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import Member, prompt
from tests.fault_matrix.tale import Tale
from tests.fault_matrix.weather import Weather

pytestmark = MATRIX

UNKNOWN_ID = "6e1a1b4e-0000-4000-8000-000000000000"
# How many of fal's calls are kept; what is late or says nothing new is kept all the same.
KEPT = {
    "webhook=none": 0,
    "webhook=forged": 0,
    "webhook=stale": 0,
    "webhook=unknown": 0,
    "webhook=duplicate": 1,
    "webhook=late:3": 1,
    "webhook=payload_error": 1,
}


@pytest.fixture
def call(site: Installation) -> Caller:
    return Caller(site)


@pytest.mark.parametrize("faults", kinds.WEBHOOKS)
def test_whatever_becomes_of_fals_call_the_clip_comes_home_once(
    site: Installation, weather: Weather, faults: str
) -> None:
    tale = weather[faults]
    tale.assert_charged()
    assert len(tale.posts) == len(tale.attempts) == 1
    rows = Delivery.objects.filter(attempt=tale.attempt)
    site.wait(lambda: rows.count() == KEPT[faults], what=f"{KEPT[faults]} deliveries are kept")
    site.wait(lambda: not rows.filter(processed_at__isnull=True).exists(), what="each was acted upon")


def test_the_same_call_ten_times_at_once_is_one_delivery_and_one_capture(
    site: Installation, order: Order, call: Caller
) -> None:
    tale = order("webhook=none seconds=1.5").wait_until(State.RUNNING, State.STORING, State.SUCCEEDED)
    site.wait(lambda: tale.jobs[0]["state"] == "COMPLETED", what="fal has finished it")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: call(attempt), [attempt := tale.attempt] * 10))
    assert answers == [200] * 10
    assert Delivery.objects.filter(attempt=tale.attempt).count() == 1
    tale.wait_settled().assert_charged()


def test_a_call_before_the_submit_was_recorded_finds_its_attempt(site: Installation, ann: Member) -> None:
    words = prompt("")
    blow = site.arming.arm("posted", needle=words, do="hold")
    tale = Tale(ann.order_exactly(words), site)
    site.wait_for(blow, is_death=False)
    assert (tale.attempt.state, tale.attempt.request_id) == (AttemptState.SENDING, "")
    tale.wait_settled().assert_charged()
    assert tale.attempt.deliveries.get().outcome.startswith("found the lost request")
    blow.let_go()
    site.wait(lambda: "already" not in tale.attempt.error_type, what="the sender has gone on")
    tale.assert_charged()
    assert len(tale.posts) == len(tale.attempts) == 1


def test_a_call_after_a_cancel_is_kept_and_changes_nothing(
    site: Installation, order: Order, ann: Member, call: Caller
) -> None:
    tale = order("stuck webhook=none").wait_until(State.RUNNING)
    ann.cancel(tale.pk)
    tale.wait_until(State.CANCELED).assert_not_charged(state=State.CANCELED)
    _called_too_late(site, tale, call)
    tale.assert_not_charged(state=State.CANCELED)


def test_a_call_after_the_settlement_is_kept_and_changes_nothing(
    site: Installation, weather: Weather, call: Caller
) -> None:
    tale = weather["webhook=none"]
    _called_too_late(site, tale, call)
    tale.assert_charged()


def _called_too_late(site: Installation, tale: Tale, call: Caller) -> None:
    assert call(tale.attempt) == 200
    rows = Delivery.objects.filter(attempt=tale.attempt, processed_at__isnull=False)
    delivery = site.wait(rows.first, what="the delivery was acted upon")
    assert delivery.outcome == f"too late: the generation was {tale.state}"


@pytest.fixture(scope="module")
def endless(running: Installation, ann: Member, in_its_database: None) -> Iterator[Tale]:
    """One that runs for as long as it is wanted."""
    tale = Tale(ann.order("stuck webhook=none"), running).wait_until(State.RUNNING)
    yield tale
    ann.cancel(tale.pk)
    tale.wait_until(State.CANCELED)


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        pytest.param(401, {"is_forged": True}, id="forged"),
        pytest.param(401, {"age_seconds": 301}, id="replayed after 300 s"),
        pytest.param(401, {"user_id": "another-customer"}, id="another customer's"),
        pytest.param(404, {"request_id": UNKNOWN_ID}, id="unknown request id"),
        pytest.param(404, {"token": "no-token-of-ours"}, id="unknown token"),
        pytest.param(413, {"body": b"x" * 10_000_000}, id="10 MB body"),
    ],
)
def test_a_call_that_is_not_to_be_believed_is_refused_and_nothing_is_stored(
    endless: Tale, call: Caller, answer: int, how: dict[str, object]
) -> None:
    before = Delivery.objects.count()
    assert call(endless.attempt, **how) == answer  # type: ignore[arg-type]
    assert Delivery.objects.count() == before
    assert not Delivery.objects.filter(attempt=endless.attempt).exists()
    assert endless.state == State.RUNNING
    endless.assert_held()
