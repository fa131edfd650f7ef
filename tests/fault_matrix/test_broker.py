"""The broker is stopped, frozen or flushed: pages answer all the same, and the sweep resumes what was not rung for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import Member, prompt
from tests.fault_matrix.tale import Tale

pytestmark = MATRIX

PAGE_SECONDS = 3
PAGES = ("/", "/library/")


@contextmanager
def stopped(site: Installation) -> Iterator[None]:
    site.stop_broker()
    try:
        yield
    finally:
        site.start_broker()


@contextmanager
def frozen(site: Installation) -> Iterator[None]:
    """It takes connections and answers nothing."""
    os.kill(site.fleet.pid_of_broker(), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(site.fleet.pid_of_broker(), signal.SIGCONT)


@contextmanager
def flushed(site: Installation) -> Iterator[None]:
    """Everything that was rung and not yet heard is forgotten, again and again."""
    with redis.Redis.from_url(site.env["REDIS_URL"], socket_timeout=2) as broker:
        broker.flushall()
        yield
        broker.flushall()


@pytest.mark.parametrize("struck", [stopped, frozen, flushed])
def test_without_a_broker_pages_answer_within_3_s_and_the_sweep_resumes_with_no_loss_and_no_double(
    site: Installation, order: Order, ann: Member, struck: Callable[[Installation], contextmanager[None]]
) -> None:
    under_way = [order("seconds=2"), order("seconds=2 webhook=none")]
    with struck(site):
        seconds = {path: _seconds(lambda path=path: ann.get(path).raise_for_status()) for path in PAGES}
        tales: list[Tale] = []
        for number in range(2):
            seconds[f"generate {number}"] = _seconds(
                lambda: tales.append(Tale(ann.order_exactly(prompt("")), site))
            )
        assert max(seconds.values()) < PAGE_SECONDS, seconds
        for tale in tales:
            tale.assert_held() if struck is not flushed else None
    for tale in [*under_way, *tales]:
        tale.wait_settled().assert_charged()
        assert len(tale.posts) == len(tale.attempts) == 1


def _seconds(work: Callable[[], object]) -> float:
    began_at = time.monotonic()
    work()
    return time.monotonic() - began_at
