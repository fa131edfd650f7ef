"""Several hosts, and either broker, with real processes: nothing is done twice, and what a dead host held goes on.

The scenarios are played in processes of their own (see drive.py); here is what must have come out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from config.stack import environment, rabbitmq

pytestmark = [pytest.mark.long, pytest.mark.concurrency, pytest.mark.xdist_group("hosts")]
MOST_SECONDS = 400
# What a frozen broker may add to a press of Generate, whatever else the machine is busy with.
MOST_ADDED_SECONDS = 3


def played(scenario: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hosts.drive", scenario],
        check=False,
        cwd=environment.CHECKOUT,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_nothing_lost_or_doubled(found: dict[str, Any]) -> None:
    assert found["broken"] == {}, found
    assert found["states"] == {"succeeded": found["orders"]}
    # Killed before it sent, an attempt has no POST and another follows; that none has two is one of the rules.
    assert found["orders"] == found["posts"] <= found["attempts"]


def test_two_hosts_share_the_work_and_one_takes_over_what_the_other_held() -> None:
    found = played("two_hosts")
    assert_nothing_lost_or_doubled(found)
    assert found["orders"] >= 40
    assert found["most_watchers_of_one_row"] == 1, "before the kill, two watchers held the same row"
    assert 0 < found["settled_before"] < found["orders"], "it was to be struck in the middle"
    assert found["taken_over"] >= 3
    assert 1 < found["takeover_seconds"] < 30
    broker = found["frozen_broker"]
    assert broker["order_seconds"] < broker["usual_order_seconds"] + MOST_ADDED_SECONDS
    assert broker["pages"]["failures"] == []


@pytest.mark.skipif(not rabbitmq.is_installed(), reason=rabbitmq.NO_RABBITMQ)
def test_on_rabbitmq_the_same_holds_with_workers_killed_and_the_broker_restarted_and_frozen() -> None:
    found = played("rabbitmq")
    assert_nothing_lost_or_doubled(found)
    assert found["killed"] == [True, True]
    assert found["queues"] == {"bells": "quorum", "clips": "quorum"}
    assert found["order_seconds"] < found["usual_order_seconds"] + MOST_ADDED_SECONDS
    assert found["pages"]["failures"] == []
    assert "clipledger_broker_up 1.0" in found["metrics"]
    assert {line.partition("{")[2].partition("}")[0] for line in found["metrics"][1:]} == {
        'queue="bells"',
        'queue="clips"',
    }
