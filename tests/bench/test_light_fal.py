"""The light fal keeps no jobs: what it says of one follows from the request id and the clock."""

from __future__ import annotations

import time

from bench.light_fal import Desk, request_id, status_of, times_of


def desk() -> Desk:
    return Desk(queue=30, shortest=60, longest=240)


def test_a_job_waits_then_runs_then_is_over() -> None:
    job = request_id(start=100, end=160, number=1)
    statuses = [status_of(job, now)["status"] for now in (50, 100, 159, 160)]
    assert statuses == ["IN_QUEUE", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]


def test_jobs_are_of_every_age_until_whole_ones_are_asked_for() -> None:
    filled, now = desk(), time.time()
    starts = [times_of(filled.new_job())[0] for _ in range(50)]
    assert min(starts) < now
    filled.is_whole = True
    assert all(times_of(filled.new_job())[0] >= now - 1 for _ in range(50))
    assert filled.counts["posts"] == 100


def test_no_job_is_shorter_or_longer_than_it_was_told() -> None:
    times = [times_of(desk().new_job()) for _ in range(50)]
    assert all(59.9 < end - start < 240.1 for start, end in times)
