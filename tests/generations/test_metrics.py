"""What Prometheus reads is what the tables say, at a price that does not grow, and not for everybody to see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings

from accounts import clock
from accounts.models import Membership
from generations import metrics, pulse
from generations.models import Attempt, Delivery, DispatchPause, Generation
from tests.factories import MembershipFactory, TeamFactory
from tests.generations.views.conftest import advanced, ordered

LOCAL = {"REMOTE_ADDR": "127.0.0.1"}
MINUTE = timedelta(minutes=1)


@pytest.fixture
def member(db: None) -> Membership:
    return MembershipFactory.create(team=TeamFactory(credits=1000))


def figures() -> dict[tuple[str, ...], float]:
    """By name and the values of the labels, in the order of their names."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    found = (sample for family in families for sample in family.samples)
    return {
        (it.name.removeprefix("clipledger_"), *dict(sorted(it.labels.items())).values()): it.value
        for it in found
    }


def test_an_empty_house_has_no_troubles(db: None) -> None:
    found = figures()
    for name in (
        "queue_age_seconds",
        "overdue_seconds",
        "holds_without_work",
        "dispatch_paused",
        "attempts_lost",
    ):
        assert found[(name,)] == 0
    assert found[("valkey_up",)] == found[("broker_up",)] == 1
    assert {key[1] for key in found if key[0] == "broker_bells_waiting"} == {"bells", "clips"}
    assert not [key for key in found if key[0] == "latency_seconds"]


def test_what_is_in_flight_and_what_it_holds(member: Membership) -> None:
    waiting = ordered(member)
    advanced(ordered(member), "submitted", "running")
    Generation.objects.filter(pk=waiting.pk).update(created_at=clock.now() - MINUTE)
    found = figures()
    assert found[("generations_in_flight", waiting.engine, "requested")] == 1
    assert found[("generations_in_flight", waiting.engine, "running")] == 1
    assert 60 <= found[("queue_age_seconds",)] < 70
    assert found[("credits", "held")] == 2 * waiting.quote_credits
    assert found[("credits", "available")] == 1000 - 2 * waiting.quote_credits


def test_only_what_nobody_is_busy_with_is_overdue(member: Membership) -> None:
    made = ordered(member)
    now = clock.now()
    Generation.objects.filter(pk=made.pk).update(next_check_at=now - 3 * MINUTE)
    assert 180 <= figures()[("overdue_seconds",)] < 190
    Generation.objects.filter(pk=made.pk).update(lease_until=now + MINUTE / 2)
    assert figures()[("overdue_seconds",)] == 0


def test_loose_ends_are_counted(member: Membership) -> None:
    now = clock.now()
    made = advanced(ordered(member), "submitted")
    attempt = Attempt.objects.create(generation=made, number=1, state="lost", sent_at=now - MINUTE)
    Delivery.objects.create(
        attempt=attempt,
        request_id="r",
        body="{}",
        body_sha256="0",
        signed_at=now,
        received_at=now - 2 * MINUTE,
    )
    DispatchPause.objects.create(pk=1, reason="locked", code="locked", probe_at=now)
    found = figures()
    assert found[("attempts_lost",)] == found[("deliveries_unprocessed",)] == found[("dispatch_paused",)] == 1
    assert 60 <= found[("attempt_lost_age_seconds",)] < 70
    assert 120 <= found[("delivery_age_seconds",)] < 130


def test_a_hold_whose_work_is_over_is_an_alarm(member: Membership) -> None:
    made = ordered(member)
    Generation.objects.filter(pk=made.pk).update(state="failed", settled_at=clock.now())
    assert figures()[("holds_without_work",)] == 1


def test_the_last_hour_and_its_latencies(member: Membership) -> None:
    now = clock.now()
    for number, seconds in enumerate((10, 20, 30)):
        made = advanced(ordered(member), "submitted", "running", "storing", "succeeded")
        Generation.objects.filter(pk=made.pk).update(
            completed_at=now - timedelta(seconds=seconds), settled_at=now
        )
        attempt = Attempt.objects.create(
            generation=made, number=1, state="done", request_id=str(number), ended_at=now
        )
        Delivery.objects.create(
            attempt=attempt,
            request_id=str(number),
            body="{}",
            body_sha256="0",
            signed_at=now - timedelta(seconds=seconds + 4),
        )
    Attempt.objects.filter(request_id="0").update(ended_at=now - 61 * MINUTE)
    found = figures()
    assert found[("latency_seconds", "0.5", "settle")] == pytest.approx(20)
    assert found[("latency_seconds", "0.95", "settle")] == pytest.approx(29)
    assert found[("latency_seconds", "0.5", "detect")] == pytest.approx(4)
    assert found[("attempts_ended_last_hour", "", "done")] == 2
    assert found[("generations_settled_last_hour", "", "succeeded")] == 3


def test_what_was_told_at_the_order_against_what_came(member: Membership) -> None:
    assert ("estimate_ratio", "0.5") not in figures()
    now = clock.now()
    for told, took in ((60, 90), (60, 60), (60, 30)):
        made = advanced(ordered(member), "submitted", "running", "storing", "succeeded")
        begun = now - timedelta(seconds=took)
        Generation.objects.filter(pk=made.pk).update(
            created_at=begun, expected_at=begun + timedelta(seconds=told), settled_at=now
        )
    advanced(ordered(member), "submitted", "running", "storing", "succeeded")
    found = figures()
    assert found[("estimate_error_seconds", "0.5")] == pytest.approx(30)
    assert found[("estimate_error_seconds", "0.9")] == pytest.approx(30)
    assert found[("estimate_ratio", "0.5")] == pytest.approx(1)
    assert found[("estimate_ratio", "0.9")] == pytest.approx(1.4)


def test_the_queries_do_not_grow(member: Membership) -> None:
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as asked:
            metrics.exposition()
        counts.append(len(asked))
        for _ in range(5):
            advanced(ordered(member), "submitted", "running")
    assert counts[0] == counts[1] <= 15


def test_signs_of_life_come_and_go(db: None) -> None:
    pulse.beat(pulse.WATCHER, "watch@here:1")
    before = figures()[("watchers_alive",)]
    pulse.leave(pulse.WATCHER, "watch@here:1")
    assert figures()[("watchers_alive",)] == before - 1


def test_without_valkey_the_rest_is_known(
    db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse._valkey().close()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    pulse._valkey.cache_clear()
    try:
        found = figures()
    finally:
        pulse._valkey.cache_clear()
    assert found[("valkey_up",)] == 0
    assert ("watchers_alive",) not in found and ("sweep_age_seconds",) not in found
    assert found[("attempts_lost",)] == 0


@pytest.mark.parametrize("sent", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic hush"}])
def test_a_token_is_asked_for_where_one_is_set(
    client: Client, settings: Settings, sent: dict[str, str]
) -> None:
    settings.METRICS_TOKEN = "hush"
    refused = client.get("/metrics", headers=sent, **LOCAL)  # type: ignore[arg-type]
    assert (refused.status_code, refused["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')


def test_the_token_opens_it_from_anywhere(db: None, client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = "hush"
    answer = client.get("/metrics", headers={"Authorization": "Bearer hush"}, REMOTE_ADDR="198.51.100.7")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    assert b"clipledger_generations_in_flight" in answer.content


@pytest.mark.parametrize(
    ("address", "sent", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("198.51.100.7", {}, 404),
        ("", {}, 404),
        ("127.0.0.1", {"X-Forwarded-For": "198.51.100.7"}, 404),
        ("127.0.0.1", {"X-Real-IP": "198.51.100.7"}, 404),
    ],
)
def test_without_a_token_it_is_for_this_machine_alone(
    db: None, client: Client, settings: Settings, address: str, sent: dict[str, Any], status: int
) -> None:
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", headers=sent, REMOTE_ADDR=address).status_code == status
