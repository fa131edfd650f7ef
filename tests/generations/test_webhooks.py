"""Webhooks as they really arrive: posted by the sandbox to a running server of ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from django.db import connections
from django.urls import reverse
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from generations import lifecycle
from generations.models import Delivery
from generations.states import State
from tests.bad_days.story import Story
from tests.sandbox_server import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)
Begin = Callable[..., Story]


@pytest.fixture
def reachable(
    monkeypatch: pytest.MonkeyPatch, fal_settings: Settings, live_server: LiveServer, sandbox: RunningSandbox
) -> Iterator[None]:
    """fal can call us; it does not call again once the server of the test is gone."""
    # The sandbox keeps its connections to the server alive, and each would keep one to the database.
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    fal_settings.FAL_WEBHOOK_BASE_URL = live_server.url
    fal_settings.FAL_WEBHOOK_USER_ID = "sandbox"
    sandbox.settings(webhook_attempts=1)
    yield
    sandbox.control("reset", {"jobs": True})
    sandbox.settings(webhook_attempts=10)


def answers(told: Story, *, count: int) -> dict[str, list[str]]:
    """What the sandbox's webhooks were answered, by kind, once `count` of them were."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        sent = [row for row in told.sandbox.webhooks() if row["answer"]]
        if len(sent) >= count:
            found: dict[str, list[str]] = {}
            for row in sent:
                found.setdefault(row["kind"], []).append(row["answer"])
            return found
        time.sleep(0.05)
    raise AssertionError(f"not answered in time: {told.sandbox.webhooks()}")


@pytest.mark.usefixtures("reachable")
def test_fals_own_call_is_taken_and_settles_without_one_question_asked_before_it(story: Begin) -> None:
    told = story()
    lifecycle.dispatch()
    assert told.sandbox.jobs()[0]["webhook_url"].endswith(
        reverse("generations:fal_webhook", args=[told.attempt.token])
    )
    assert answers(told, count=1) == {"genuine": ["200"]}
    assert lifecycle.process_delivery(Delivery.objects.get().pk)
    told.generation.refresh_from_db()
    assert told.generation.state == State.STORING
    assert told.sandbox.jobs()[0]["counts"]["status"] == 1
    told.drive().assert_charged()


@pytest.mark.parametrize(
    ("how", "expected", "kept"),
    [
        ("duplicate", {"genuine": ["200", "200"]}, 1),
        ("forged,stale,unknown", {"forged": ["401"], "stale": ["401"], "unknown": ["404"]}, 0),
    ],
)
@pytest.mark.usefixtures("reachable")
def test_of_doubled_calls_one_is_kept_and_of_false_ones_none(
    story: Begin, how: str, expected: dict[str, list[str]], kept: int
) -> None:
    told = story(f"webhook={how}")
    lifecycle.dispatch()
    assert answers(told, count=sum(map(len, expected.values()))) == expected
    assert Delivery.objects.count() == kept
    told.drive().assert_charged()
