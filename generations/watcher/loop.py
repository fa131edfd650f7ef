"""The watcher's one async loop. Database work has threads of its own; everything that waits is a task of the loop."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from generations import catalogue, fal, lifecycle
from generations.lifecycle import leases
from generations.models import Attempt, Generation
from generations.states import AT_FAL, AttemptState, State
from generations.watcher import pace

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

CLAIM_SECONDS = 0.5
CLAIM_BATCH = 500
MOST_WATCHED = 20_000
TICK_SECONDS = 0.1
BELL_SECONDS = 2.0
LOG_WRITE_SECONDS = 1.0
CONNECTIONS = 32
SHORT_STREAM_SECONDS = 30.0
MOST_BROKEN_STREAMS = 3
REFUSED_STREAMS_SECONDS = 30.0


@dataclass
class Watched:
    """One request at fal that this process answers for."""

    generation_id: uuid.UUID
    attempt_id: int
    status_url: str
    state: State
    since: datetime
    usual_seconds: float
    next_at: float = 0.0
    failures: int = 0
    broken_streams: int = 0
    is_asking: bool = False
    last: object = None
    written_at: float = 0.0
    stream: asyncio.Task[None] | None = None

    @property
    def is_streamed(self) -> bool:
        return self.stream is not None and not self.stream.done()


class Watcher:
    """Watch until told to stop. `run` returns after the leases were given back."""

    def __init__(self) -> None:
        self.owner = leases.new_owner("watch")
        self.watched: dict[uuid.UUID, Watched] = {}
        self._stop = asyncio.Event()
        self._budget = pace.Budget(settings.FAL_POLLS_PER_SECOND)
        # One thread each, so that a slow sweep never keeps leases from being renewed.
        self._rows = ThreadPoolExecutor(1, thread_name_prefix="watch-rows")
        self._sweeps = ThreadPoolExecutor(1, thread_name_prefix="watch-sweep")
        self._questions: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.Task[None]] = set()
        self._no_streams_until = 0.0

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """The loop; ends after `stop()`."""
        config = lifecycle.fal_config()
        limits = {"max_connections": CONNECTIONS, "max_streams": max(settings.FAL_STREAM_LIMIT, 1)}
        async with fal.AsyncFal(config, **limits) as self._fal:
            rounds = [
                asyncio.create_task(self._every(CLAIM_SECONDS, self._claim)),
                asyncio.create_task(self._every(settings.LEASE_SECONDS / 3, self._renew)),
                asyncio.create_task(self._every(TICK_SECONDS, self._ask_due)),
                asyncio.create_task(self._every(settings.SWEEP_SECONDS, self._sweep)),
                asyncio.create_task(self._every(BELL_SECONDS, self._ring)),
            ]
            log.info("%s watches %s", self.owner, settings.FAL_QUEUE_URL)
            try:
                await self._stop.wait()
            finally:
                await self._close(rounds)

    async def _close(self, rounds: list[asyncio.Task[None]]) -> None:
        tasks = [*rounds, *self._streams, *self._questions]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(DatabaseError):  # they lapse by themselves
            await self._db(leases.give_back, list(self.watched), owner=self.owner)
        for pool in (self._rows, self._sweeps):
            await asyncio.get_running_loop().run_in_executor(pool, _close_connection)
            pool.shutdown()
        log.info("%s has given back %d leases", self.owner, len(self.watched))

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        """Do `step` again and again; what goes wrong in one round is reported, and the next is made."""
        while True:
            try:
                await step()
            except Exception:
                log.exception("the watcher stumbled; it goes on")
            await asyncio.sleep(seconds)

    async def _db(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run database work in the thread that is there for it."""
        return await asyncio.get_running_loop().run_in_executor(
            self._rows, lambda: _with_fresh_connection(lambda: work(*args, **kwargs))
        )

    async def _claim(self) -> None:
        room = min(CLAIM_BATCH, MOST_WATCHED - len(self.watched))
        if room <= 0:
            return
        for each in await self._db(_claimed, self.owner, room):
            self.watched.setdefault(each.generation_id, each)
            self._open_stream(each)

    async def _renew(self) -> None:
        """Lengthen our leases, and forget what is no longer ours: settled, cancelled, or taken over."""
        ids = list(self.watched)
        if not ids:
            return
        mine = await self._db(_renewed, ids, self.owner)
        for generation_id in set(ids) - mine:
            self._forget(generation_id)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._sweeps, lambda: _with_fresh_connection(lifecycle.sweep))

    async def _ring(self) -> None:
        await self._db(lifecycle.ring_waiting)

    async def _ask_due(self) -> None:
        """Ask about what is due, longest due first, as far as the budget goes."""
        now = time.monotonic()
        due = [each for each in self.watched.values() if each.next_at <= now and not each.is_asking]
        for each in sorted(due, key=lambda each: each.next_at):
            if not self._budget.take(now=now):
                return
            each.is_asking = True
            question = asyncio.create_task(self._ask(each))
            self._questions.add(question)
            question.add_done_callback(self._questions.discard)

    async def _ask(self, each: Watched) -> None:
        try:
            status = await self._fal.status(each.status_url, with_logs=True)
        except fal.FalError as error:
            await self._unanswered(each, error)
        except Exception:
            log.exception("asking about attempt %s went wrong", each.attempt_id)
            self._later(each, pace.LONGEST_BACK_OFF_SECONDS)
        else:
            each.failures = 0
            await self._seen(each, status)
        finally:
            each.is_asking = False

    async def _unanswered(self, each: Watched, error: fal.FalError) -> None:
        each.failures += 1
        is_over = isinstance(error, fal.RequestUnknown) and await self._db(lifecycle.unknown, each.attempt_id)
        if is_over:
            self._forget(each.generation_id)
            return
        log.warning("no status of attempt %s: %s", each.attempt_id, error)
        self._later(each, max(pace.back_off_seconds(each.failures), error.retry_after_seconds or 0))

    async def _seen(self, each: Watched, status: fal.Status) -> None:
        """Write down a change, and plan the next question."""
        if self._is_news(each, status):
            each.last, each.written_at = _gist(status), time.monotonic()
            try:
                await self._db(lifecycle.observe, each.attempt_id, status)
            except DatabaseError as error:
                each.last = None
                log.warning("attempt %s could not be written: %s", each.attempt_id, error)
                self._later(each, pace.SOONEST_SECONDS)
                return
        if isinstance(status, fal.Completed):
            await self._db(leases.give_back, [each.generation_id], owner=self.owner)
            self._forget(each.generation_id)
            return
        self._follow(each, State.RUNNING if isinstance(status, fal.InProgress) else State.SUBMITTED)

    def _is_news(self, each: Watched, status: fal.Status) -> bool:
        gist = _gist(status)
        if gist == each.last:
            return False
        is_only_logs = (
            isinstance(status, fal.InProgress) and each.state == State.RUNNING and each.last is not None
        )
        return not is_only_logs or time.monotonic() - each.written_at >= LOG_WRITE_SECONDS

    def _follow(self, each: Watched, state: State) -> None:
        if state != each.state:
            each.state, each.since = state, timezone.now()
        self._open_stream(each)
        self._later(
            each,
            pace.interval_seconds(
                state=state,
                age_seconds=(timezone.now() - each.since).total_seconds(),
                usual_seconds=each.usual_seconds,
                is_streamed=each.is_streamed,
                has_webhook=bool(settings.FAL_WEBHOOK_BASE_URL),
            ),
        )

    def _later(self, each: Watched, seconds: float) -> None:
        each.next_at = time.monotonic() + seconds

    def _open_stream(self, each: Watched) -> None:
        """A stream, while there are fewer than the limit and fal gives them; what runs comes before what queues."""
        limit = settings.FAL_STREAM_LIMIT
        if each.state != State.RUNNING:
            limit -= settings.FAL_CONCURRENCY
        is_off = time.monotonic() < self._no_streams_until or each.broken_streams >= MOST_BROKEN_STREAMS
        if each.is_streamed or is_off or len(self._streams) >= limit:
            return
        each.stream = asyncio.create_task(self._stream(each))
        self._streams.add(each.stream)
        each.stream.add_done_callback(self._streams.discard)

    async def _stream(self, each: Watched) -> None:
        """Follow a stream; when it ends early, polling takes over at once.

        Silence is no fault: a long queue has nothing to say. A stream that breaks again and again is given up for this
        request, and a refusal keeps all streams off for a while.
        """
        opened_at = time.monotonic()
        try:
            async for status in self._fal.stream(each.status_url):
                await self._seen(each, status)
                if isinstance(status, fal.Completed):
                    return
        except fal.NoAnswer as error:
            log.info("the status stream of attempt %s ended: %s", each.attempt_id, error)
            each.broken_streams += time.monotonic() - opened_at < SHORT_STREAM_SECONDS
        except fal.FalError as error:
            log.info("no status stream for attempt %s: %s", each.attempt_id, error)
            self._no_streams_until = time.monotonic() + REFUSED_STREAMS_SECONDS
        except Exception:
            log.exception("the status stream of attempt %s broke", each.attempt_id)
            each.broken_streams += 1
        self._later(each, pace.SOONEST_SECONDS)

    def _forget(self, generation_id: uuid.UUID) -> None:
        each = self.watched.pop(generation_id, None)
        if each and each.stream and each.stream is not asyncio.current_task():
            each.stream.cancel()


def _with_fresh_connection(work: Callable[[], T]) -> T:
    """A connection that broke or grew old is replaced before and let go after."""
    close_old_connections()
    try:
        return work()
    finally:
        close_old_connections()


def _close_connection() -> None:
    """A function, because `connection` means that of the thread which asks."""
    connection.close()


def _gist(status: fal.Status) -> object:
    """What of a status would change a row."""
    match status:
        case fal.InQueue():
            return ("queued", status.position)
        case fal.InProgress():
            return ("running", len(status.logs))
        case fal.Completed():
            return ("completed",)


def _claimed(owner: str, limit: int) -> list[Watched]:
    ids = leases.claim_due(owner=owner, states=AT_FAL, limit=limit)
    rows = Attempt.objects.filter(generation__in=ids, state=AttemptState.ACCEPTED).select_related(
        "generation"
    )
    return [_watched(attempt) for attempt in rows]


def _watched(attempt: Attempt) -> Watched:
    generation = attempt.generation
    return Watched(
        generation_id=generation.pk,
        attempt_id=attempt.pk,
        status_url=attempt.status_url,
        state=State(generation.state),
        since=generation.started_at or attempt.sent_at,
        usual_seconds=_usual_seconds(generation),
    )


def _usual_seconds(generation: Generation) -> float:
    try:
        usual = catalogue.get(generation.engine).timing.typical_seconds
    except catalogue.UnknownEngine:
        return 0.0
    return float(usual[0]) if usual else 0.0


def _renewed(ids: list[uuid.UUID], owner: str) -> set[uuid.UUID]:
    """Renew, and say which of `ids` are still ours."""
    leases.renew(ids, owner=owner)
    return set(Generation.objects.filter(pk__in=ids, lease_owner=owner).values_list("pk", flat=True))
