"""Generations at fal, written by SQL as a dispatcher would have left them, and kept at a number."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from accounts.models import Wallet
from bench import light_fal
from bench.figures import LONGEST_SECONDS, QUEUE_SECONDS, SHORTEST_SECONDS
from generations import catalogue
from generations.models import PriceVersion

ENGINE = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"


class Seeds:
    """Generations at fal, written by SQL, with the light fal's request ids; the books are not part of this bench."""

    def __init__(self, wallet: Wallet, base_url: str) -> None:
        self.wallet, self.base_url = wallet, base_url
        self.user_id = wallet.team.memberships.get().user_id
        self.version = PriceVersion.objects.current(catalogue.get(ENGINE).endpoint_id)
        self.number = time.time_ns()

    def add(self, count: int, *, is_new: bool) -> None:
        jobs = [self._job(is_new=is_new) for _ in range(count)]
        params: dict[str, Any] = {
            "wallet": self.wallet.pk,
            "team": self.wallet.team_id,
            "user": self.user_id,
            "engine": ENGINE,
            "version": self.version.pk,
            "requests": jobs,
            "starts": [light_fal.times_of(job)[0] for job in jobs],
            "base": f"{self.base_url}/queue/{ENGINE}/requests/",
        }
        with connection.cursor() as cursor:
            cursor.execute(_SEED, params)

    def _job(self, *, is_new: bool) -> str:
        self.number += 1
        now, run = time.time(), random.uniform(SHORTEST_SECONDS, LONGEST_SECONDS)
        queued = random.uniform(0, QUEUE_SECONDS)
        start = now + queued if is_new else now + queued - random.uniform(0, run + queued)
        return light_fal.request_id(start=start, end=start + run, number=self.number)

    @contextmanager
    def kept_at(self, size: int) -> Iterator[None]:
        """Replace what completed, every half second, and take it aside as a worker's lease would."""
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(size, done))
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()

    def _keep(self, size: int, done: threading.Event) -> None:
        try:
            while not done.wait(0.5):
                with connection.cursor() as cursor:
                    cursor.execute(_TAKE_ASIDE)
                    missing = size - cursor.execute(_AT_FAL).fetchone()[0]
                if missing > 0:
                    self.add(missing, is_new=True)
        finally:
            connection.close()

    def delays(self, *, since: float, until: float) -> list[float]:
        """Seconds from COMPLETED to the row, for every job that ended in the window; waits until all were noticed."""
        deadline = time.monotonic() + 60
        while True:
            with connection.cursor() as cursor:
                rows = cursor.execute(_COMPLETED).fetchall()
            ended = [(light_fal.times_of(request)[1], at) for request, at in rows]
            found = [at and at - end for end, at in ended if since <= end <= until]
            if None not in found or time.monotonic() > deadline:
                return [each for each in found if each is not None]
            time.sleep(1)


_SEED = """
WITH job AS (
    SELECT gen_random_uuid() AS id, gen_random_uuid() AS hold, request, to_timestamp(start) AS start
    FROM unnest(%(requests)s::text[], %(starts)s::float8[]) AS given(request, start)
), holds AS (
    INSERT INTO accounts_hold (id, wallet_id, user_id, reference, amount, captured, refunded, state, created_at)
    SELECT hold, %(wallet)s, %(user)s, 'generation:' || id, 49, 0, 0, 'held', now() FROM job RETURNING id
), made AS (
    INSERT INTO generations_generation (id, team_id, user_id, engine, prompt, inputs, form_token, price_version_id,
        quote_credits, hold_id, state, is_cancel_requested, failure_code, failure_message, is_simulated,
        lease_owner, created_at, queued_at, submitted_at, started_at, changed_at, next_check_at)
    SELECT id, %(team)s, %(user)s, %(engine)s, 'A boat drifts out of the harbour, fog, morning.', '{}',
        gen_random_uuid(), %(version)s, 49, hold, CASE WHEN start > now() THEN 'submitted' ELSE 'running' END,
        false, '', '', true, '', now(), now(), now(), CASE WHEN start > now() THEN NULL ELSE start END, now(), now()
    FROM job WHERE hold IN (SELECT id FROM holds) RETURNING id
)
INSERT INTO generations_attempt (generation_id, number, state, token, sent_inputs, is_counted, request_id,
    status_url, response_url, cancel_url, error_type, error_detail, is_maybe_billed, fetch_failures, sent_at)
SELECT id, 1, 'accepted', id::text, '{}', true, request, %(base)s || request || '/status', %(base)s || request,
    %(base)s || request || '/cancel', '', '', false, 0, now()
FROM job WHERE id IN (SELECT id FROM made)
"""
_TAKE_ASIDE = """
UPDATE generations_generation SET lease_owner = 'ingest@bench', lease_until = now() + interval '9 minutes'
WHERE state = 'storing' AND lease_owner = ''
"""
_AT_FAL = "SELECT count(*) FROM generations_generation WHERE state IN ('submitted', 'running')"
_COMPLETED = """
SELECT a.request_id, extract(epoch FROM g.completed_at)::float8
FROM generations_attempt a JOIN generations_generation g ON g.id = a.generation_id
"""
