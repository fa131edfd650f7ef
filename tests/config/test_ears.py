"""A worker that sits there with bells waiting ends; one that is busy, or has nothing to do, does not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from config.ears import Ears
from generations import queue
from tests.bells import forget_bells

# A worker that is alive and has stopped listening, as after a broker that was frozen.
DEAF = """
import sys
from celery import signals

@signals.worker_ready.connect
def stop_listening(sender, **_):
    if "deaf" in sys.argv:
        sender.task_consumer.cancel()

from config.celery import app
app.worker_main(["worker", "--pool=prefork", "--concurrency=1", "--queues=clips", "--loglevel=WARNING",
                 "--without-gossip", "--without-mingle"])
"""


def looked(ears: Ears, *looks: tuple[float, int, int, bool]) -> list[bool]:
    return [
        ears.are_deaf(now=now, waiting=waiting, taken=taken, is_busy=busy)
        for now, waiting, taken, busy in looks
    ]


def test_bells_that_wait_while_none_is_taken_are_not_heard() -> None:
    assert looked(Ears(10), (0, 3, 5, False), (9, 4, 5, False), (11, 4, 5, False)) == [False, False, True]


@pytest.mark.parametrize(
    "look", [(8, 0, 5, False), (8, 4, 6, False), (8, 4, 5, True)], ids=["nothing waits", "one taken", "busy"]
)
def test_a_sign_of_hearing_begins_anew(look: tuple[float, int, int, bool]) -> None:
    now, _, taken, _ = look
    assert looked(
        Ears(10), (0, 3, 5, False), look, (now + 9, 4, taken, False), (now + 11, 4, taken, False)
    ) == [
        False,
        False,
        False,
        True,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deaf", "well"])
def test_a_real_worker_that_hears_nothing_ends_and_another_goes_on(how: str) -> None:
    forget_bells()
    worker = subprocess.Popen(
        [sys.executable, "-c", DEAF, how],
        env=os.environ | {"DEAF_SECONDS": "3"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        time.sleep(6)
        queue._silent_until.clear()
        queue._send(queue.INGEST, ("00000000-0000-4000-8000-000000000000",))
        if how == "deaf":
            worker.wait(40)
            assert "has heard none for 3.0 s" in (worker.stderr.read() if worker.stderr else "")
            assert (queue.waiting() or {})["clips"] == 1, "left for another"
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                worker.wait(10)
            assert (queue.waiting() or {})["clips"] == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, 9)
        worker.communicate()
