"""Our storage is down, refuses, or is full: it waits while fal keeps the clip, and captures nothing meanwhile."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from generations.states import State
from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import Installation
from tests.fault_matrix.marks import MATRIX

pytestmark = MATRIX

ENOUGH_TRIES = 2


@contextmanager
def stopped(site: Installation) -> Iterator[None]:
    """The S3 server is gone, and comes back with its objects."""
    kept = {name: site.s3.read(name) for name in site.s3.objects("")}
    site.s3.kill()
    try:
        yield
    finally:
        site.s3.start()
        site.s3.wait()
        for name, content in kept.items():
            site.s3.write(name, content)


@contextmanager
def refusing(site: Installation) -> Iterator[None]:
    """The S3 server answers, and takes nothing: there is no such bucket."""
    kept = site.s3.remove_bucket()
    try:
        yield
    finally:
        site.s3.restore_bucket(kept)


@contextmanager
def full(site: Installation) -> Iterator[None]:
    """No worker can write another byte on its own disk, where a clip is put together first."""
    assert site.fleet.limit_files(0)
    try:
        yield
    finally:
        site.fleet.limit_files(resource.RLIM_INFINITY)


@pytest.mark.parametrize("struck", [stopped, refusing, full])
def test_storage_that_takes_nothing_is_waited_for_and_nothing_is_captured_meanwhile(
    site: Installation, order: Order, struck: Callable[[Installation], contextmanager[None]]
) -> None:
    with struck(site):
        tales = [order(), order()]
        for tale in tales:
            tale.wait_until(State.STORING)
        site.wait(
            lambda: all(tale.attempt.fetch_failures >= ENOUGH_TRIES for tale in tales), what="it is tried"
        )
        for tale in tales:
            tale.assert_held()
            assert tale.state == State.STORING
    for tale in tales:
        tale.wait_settled().assert_charged()
        assert len(tale.posts) == len(tale.attempts) == 1
    if struck is not full:  # the log is a file as well
        assert any("StorageUnavailable" in site.log(name) for name in site.names("worker")), "an alarm"
