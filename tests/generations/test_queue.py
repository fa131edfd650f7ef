"""The doorbell: which bell waits where, and how long a ring may take whatever the broker does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from unittest import mock

import pytest
from django.conf import settings as django_settings
from django.utils import timezone
from kombu import Connection

from config.celery import limit_clips
from generations import lifecycle, queue
from generations.models import Generation
from tests.bells import forget_bells
from tests.factories import MembershipFactory, TeamFactory
from tests.generations.views.conftest import advanced, ordered


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nothing waits, and nobody has just failed to ring."""
    forget_bells()
    queue._silent_until.clear()
    yield
    queue._silent_until.clear()
    forget_bells()


def test_clips_wait_apart_from_everything_else() -> None:
    for name in sorted(queue.TASK_NAMES):
        queue._send(name, ("x",))
    assert queue.waiting() == {"bells": len(queue.TASK_NAMES) - len(queue.ROUTES), "clips": len(queue.ROUTES)}


WORKER = """
import sys
from config.celery import app
worker = app.Worker(queues=[name for name in sys.argv[1].split(",") if name] or None)
print(worker.concurrency, *sorted(worker.app.amqp.queues.consume_from))
"""


@pytest.mark.parametrize(("queues", "said"), [("", "bells clips"), ("clips", "3 clips")])
def test_a_worker_told_nothing_takes_both_and_one_for_clips_has_its_limit(queues: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, queues],
        env=os.environ | {"INGEST_CONCURRENCY": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith(said)


@pytest.mark.parametrize("options", [{"queues": ["bells"]}, {"queues": None}, {"queues": ["bells", "clips"]}])
def test_the_limit_is_for_a_worker_of_clips_alone(options: dict[str, object]) -> None:
    conf = SimpleNamespace(worker_concurrency=None)
    limit_clips(conf=conf, options=options)
    assert conf.worker_concurrency is None


def test_the_command_line_goes_before_the_limit() -> None:
    conf = SimpleNamespace(worker_concurrency=None)
    limit_clips(conf=conf, options={"queues": ["clips"], "concurrency": 7})
    assert conf.worker_concurrency is None


@pytest.fixture
def mute_port() -> Iterator[int]:
    """Connections are taken by the kernel, and nobody ever says a word: a broker that is frozen."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_frozen_broker_costs_a_second_or_two_and_then_nothing(scheme: str, mute_port: int) -> None:
    def rope() -> Connection:
        return Connection(
            f"{scheme}://x:y@127.0.0.1:{mute_port}/",
            connect_timeout=queue.BELL_SECONDS,
            transport_options=django_settings.BELL_OPTIONS,
        )

    with mock.patch.object(queue, "broker_connection", rope), mock.patch.object(queue, "_broker", rope):
        began_at = time.monotonic()
        queue._send(queue.DISPATCH, ())
        assert queue.BELL_SECONDS * 0.9 < time.monotonic() - began_at < 3
        began_at = time.monotonic()
        for _ in range(50):
            queue._send(queue.DISPATCH, ())
        assert time.monotonic() - began_at < 1, "each of them waited anew"
        assert queue.waiting() is None


def test_a_connection_that_was_closed_meanwhile_is_replaced_at_once() -> None:
    with mock.patch(
        "generations.queue.current_app.send_task", side_effect=[ConnectionResetError, None]
    ) as sent:
        queue._send(queue.DISPATCH, ())
    assert sent.call_count == 2
    assert not queue._is_silent("bells")


@pytest.mark.django_db(transaction=True)
def test_a_backlog_of_clips_is_rung_for_once_the_oldest_first() -> None:
    member = MembershipFactory.create(team=TeamFactory(credits=1000))
    made = [advanced(ordered(member), "submitted", "running", "storing") for _ in range(3)]
    now = timezone.now()
    for number, each in enumerate(made):
        Generation.objects.filter(pk=each.pk).update(
            completed_at=now - timedelta(minutes=number), next_check_at=now - timedelta(minutes=9 - number)
        )
    forget_bells()
    with mock.patch.object(queue, "waiting", return_value={"bells": 0, "clips": 1}):
        assert rung_by_a_sweep() == [str(made[2].pk), str(made[1].pk)]
    for _ in range(3):
        lifecycle.sweep()
    assert (queue.waiting() or {})["clips"] == 3


def rung_by_a_sweep() -> list[str]:
    with mock.patch.object(queue, "enqueue") as enqueue:
        lifecycle.sweep()
    return [call.args[1] for call in enqueue.call_args_list if call.args[0] == queue.INGEST]
