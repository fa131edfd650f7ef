"""The doorbell rings, and costs whoever rings it a second at most."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial

import pytest
from celery import current_app
from kombu import Connection

from generations import queue


@pytest.fixture
def mute_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that takes every connection and never says a word, as a frozen one does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        app = current_app._get_current_object()
        monkeypatch.setattr(app, "connection_for_write", partial(Connection, url))
        monkeypatch.setattr(queue, "_silent_until", {})
        yield


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_never_answers_costs_one_second_and_the_rest_of_the_request_none(
    mute_broker: None,
) -> None:
    began_at = time.monotonic()
    queue.enqueue(queue.DISPATCH)
    first = time.monotonic() - began_at
    assert 0.9 * queue.BELL_SECONDS < first < 2.5 * queue.BELL_SECONDS
    began_at = time.monotonic()
    queue.enqueue(queue.SWEEP)
    queue.announce(1, "x")
    assert time.monotonic() - began_at < 0.2
