"""A deploy sends SIGTERM: what is under way is finished or handed back within the grace; then SIGKILL is harmless."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from config.stack import child
from generations.models import Generation
from generations.states import State
from tests.fault_matrix.conftest import Order
from tests.fault_matrix.installation import WATCHERS_LEASE_SECONDS, Installation
from tests.fault_matrix.marks import MATRIX
from tests.fault_matrix.people import Member, prompt
from tests.fault_matrix.tale import Tale

pytestmark = MATRIX

GRACE_SECONDS = 20


def test_a_worker_finishes_the_clip_it_is_fetching(site: Installation, order: Order) -> None:
    tale = order("download=slow:3")
    name = _worker_of(site, tale)
    process = site.terminate(name)
    assert child.ends_within(process, GRACE_SECONDS)
    assert process.returncode == 0
    tale.assert_charged()
    assert tale.jobs[0]["counts"]["download"] == 1, "and nobody else had to begin again"


def test_a_worker_that_is_killed_after_all_loses_nothing(site: Installation, order: Order) -> None:
    tale = order("download=slow:3")
    name = _worker_of(site, tale)
    process = site.terminate(name)
    time.sleep(0.3)
    child.kill_group(process)
    tale.assert_held()
    tale.wait_settled().assert_charged()
    assert len(tale.posts) == len(tale.attempts) == 1


def _worker_of(site: Installation, tale: Tale) -> str:
    """Who has the lease to bring its clip home."""
    site.wait(lambda: tale.generation.lease_owner.startswith("ingest@"), what="its clip is being fetched")
    session = os.getsid(int(tale.generation.lease_owner.split(":")[1]))
    return next(name for name in site.names("worker") if site.pid(name) == session)


def test_a_watcher_hands_back_what_it_watches_long_before_a_lease_would_lapse(
    site: Installation, order: Order
) -> None:
    tales = [order("webhook=none seconds=6") for _ in range(4)]
    rows = Generation.objects.filter(pk__in=[tale.pk for tale in tales])
    watched = rows.filter(state=State.RUNNING, lease_owner__startswith="watch@")
    site.wait(lambda: watched.count() == len(tales), what="all are watched")
    owner = str(rows.values_list("lease_owner", flat=True).first())
    name = next(name for name in site.names("watcher") if f":{site.pid(name)}:" in owner)
    began_at = time.monotonic()
    process = site.terminate(name)
    assert child.ends_within(process, GRACE_SECONDS)
    assert process.returncode == 0
    assert not rows.filter(lease_owner=owner).exists()
    assert time.monotonic() - began_at < WATCHERS_LEASE_SECONDS / 2
    for tale in tales:
        tale.wait_settled().assert_charged()
        assert len(tale.posts) == 1


def test_a_web_process_answers_the_request_it_is_at(site: Installation, ann: Member) -> None:
    words, token = prompt(""), str(uuid.uuid4())
    blow = site.arming.arm("bell", process="web", do="hold")
    with ThreadPoolExecutor(1) as pool:
        pressed = pool.submit(ann.press, words, token=token)
        site.wait_for(blow, is_death=False)
        process = site.terminate("web")
        time.sleep(0.3)
        blow.let_go()
        answer = pressed.result()
    assert answer.status_code == 302
    assert child.ends_within(process, GRACE_SECONDS)
    Tale(ann.made_by(token).pk, site).wait_settled().assert_charged()


def test_beat_ends_at_once_and_comes_back(site: Installation, order: Order) -> None:
    process = site.terminate("beat")
    assert child.ends_within(process, GRACE_SECONDS)
    order().wait_settled().assert_charged()
    with suppress(KeyError):
        assert site.fleet.ends["beat"] >= 1
