"""The watcher's one async loop. Database work has threads of its own; everything that waits is a task of the loop."""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from accounts import clock
from generations import fal, lifecycle, pulse, trace
from generations.fal.watch import AsyncFal
from generations.lifecycle import leases
from generations.states import AT_FAL, State
from generations.watcher import pace
from generations.watcher.watched import Agenda, Watched, claimed, gist
from generations.watcher.writer import Writer

log = logging.getLogger(__name__)
T = TypeVar("T")

CLAIM_SECONDS = 0.5
CLAIM_BATCH = 1000
MOST_WATCHED = 20_000
TICK_SECONDS = 0.1
BELL_SECONDS = 2.0
# What is no change of state (a place in the queue, lines of log) is written at most this often.
NEWS_SECONDS = 1.0
CONNECTIONS = 64
SHORT_STREAM_SECONDS = 30.0
MOST_BROKEN_STREAMS = 3
REFUSED_STREAMS_SECONDS = 30.0
WEBHOOK_CHECK_SECONDS = 5.0
# How long after COMPLETED fal's call may take before it counts as missing.
WEBHOOK_GRACE_SECONDS = 15.0


class Watcher:
    """Watch until told to stop. `run` returns after the leases were given back."""

    def __init__(self) -> None:
        self.owner = leases.new_owner("watch")
        self.watched: dict[uuid.UUID, Watched] = {}
        self._stop = asyncio.Event()
        self._agenda = Agenda()
        self._budget = pace.Budget(settings.FAL_POLLS_PER_SECOND)
        self._brake = pace.Brake()
        self._webhooks = pace.Webhooks()
        # Attempts that ended, when, and whether we know that it was fal who ended them.
        self._ended: deque[tuple[int, float, bool]] = deque(maxlen=200)
        # One thread each, so that a slow sweep never keeps leases from being renewed.
        self._rows = ThreadPoolExecutor(1, thread_name_prefix="watch-rows")
        self._sweeps = ThreadPoolExecutor(1, thread_name_prefix="watch-sweep")
        self._writer = Writer(self._db, self._over)
        self._questions: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.Task[None]] = set()
        self._no_streams_until = 0.0
        self._held_until = 0.0

    def stop(self) -> None:
        self._stop.set()

    @property
    def are_webhooks_coming(self) -> bool:
        """Whether asking may thin out to a net, because fal calls us."""
        return bool(settings.FAL_WEBHOOK_BASE_URL) and self._webhooks.are_coming

    async def run(self) -> None:
        """The loop; ends after `stop()`."""
        config = lifecycle.fal_config()
        limits = {"max_connections": CONNECTIONS, "max_streams": max(settings.FAL_STREAM_LIMIT, 1)}
        async with AsyncFal(config, **limits) as self._fal:
            rounds = [
                asyncio.create_task(self._every(settings.LEASE_SECONDS / 3, self._renew)),
                asyncio.create_task(self._every(CLAIM_SECONDS, self._claim)),
                asyncio.create_task(self._every(TICK_SECONDS, self._ask_due)),
                asyncio.create_task(self._every(0, self._writer.run)),
                asyncio.create_task(self._every(settings.SWEEP_SECONDS, self._sweep)),
                asyncio.create_task(self._every(BELL_SECONDS, self._ring)),
                asyncio.create_task(self._every(WEBHOOK_CHECK_SECONDS, self._count_webhooks)),
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
        with suppress(DatabaseError):  # what was seen will be seen again, and leases lapse by themselves
            await self._writer.flush()
            await self._db(lambda: leases.give_back_all(owner=self.owner, states=AT_FAL))
        await self._db(lambda: pulse.leave(pulse.WATCHER, self.owner))
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
                await asyncio.sleep(TICK_SECONDS)
            await asyncio.sleep(seconds)

    async def _db(self, work: Callable[[], T]) -> T:
        """Run database work in the thread that is there for it."""
        return await asyncio.get_running_loop().run_in_executor(self._rows, _with_fresh_connection, work)

    async def _claim(self) -> None:
        """Take what nobody holds; a dead watcher's thousands are taken over without a pause between batches."""
        while room := min(CLAIM_BATCH, MOST_WATCHED - len(self.watched)):
            found = await self._db(lambda room=room: claimed(self.owner, room))  # type: ignore[misc]
            for each in found:
                self.watched[each.generation_id] = each
                self._agenda.plan(each, at=0.0)
            if len(found) < room:
                return

    async def _renew(self) -> None:
        """Lengthen our leases, and forget what is no longer ours: settled, cancelled, or taken over."""
        begun, ids = time.monotonic(), set(self.watched)
        mine, watchers = await self._db(lambda: _renewed(self.owner))
        self._held_until = begun + settings.LEASE_SECONDS
        self._budget.per_second = settings.FAL_POLLS_PER_SECOND / max(watchers, 1)
        for generation_id in ids - mine:
            self._forget(generation_id, is_fals_end=False)
        strays = mine - self.watched.keys()
        if strays:  # claimed by us, but the answer did not reach us
            await self._db(lambda: leases.give_back(strays, owner=self.owner))

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._sweeps, _with_fresh_connection, lifecycle.sweep)

    async def _ring(self) -> None:
        await self._db(lifecycle.ring_waiting)

    async def _count_webhooks(self) -> None:
        """Of what ended some time ago: did fal call us? That decides how much is asked from here."""
        if not settings.FAL_WEBHOOK_BASE_URL:
            return
        before, ripe = time.monotonic() - WEBHOOK_GRACE_SECONDS, []
        while self._ended and self._ended[0][1] <= before:
            ripe.append(self._ended.popleft())
        if not ripe:
            return
        called = await self._db(lambda: lifecycle.called_about([attempt_id for attempt_id, _, _ in ripe]))
        had = self._webhooks.are_coming
        for attempt_id, _, is_fals_end in ripe:
            if is_fals_end or attempt_id in called:
                self._webhooks.record(has_come=attempt_id in called)
        if had != self._webhooks.are_coming:
            log.warning(
                "webhooks %s", "stay away: asking takes over" if had else "come again: asking thins out"
            )

    async def _ask_due(self) -> None:
        """Look at what is due, longest due first, as far as budget, connections and fal's patience go.

        A share of the budget per tick, so that the questions of a second are spread over it.
        """
        now = time.monotonic()
        if now > self._held_until or not self._brake.may_ask(now=now):
            return
        for _ in range(math.ceil(self._budget.per_second * TICK_SECONDS * 1.5)):
            if len(self._questions) >= (1 if self._brake.is_probing else CONNECTIONS):
                return
            each = self._agenda.due(now=now)
            if each is None:
                return
            if not self._budget.take(now=now):
                self._agenda.plan(each, at=each.next_at)
                return
            self._look_at(each)

    def _look_at(self, each: Watched) -> None:
        if self._may_stream(each):
            self._open_stream(each)
            return
        each.is_asking = True
        question = asyncio.create_task(_traced(each, self._ask))
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
            self._brake.answered()
            self._seen(each, status)
        finally:
            each.is_asking = False

    async def _unanswered(self, each: Watched, error: fal.FalError) -> None:
        each.failures += 1
        self._later(each, max(pace.back_off_seconds(each.failures), error.retry_after_seconds or 0))
        log.warning("no status of attempt %s: %s", each.attempt_id, error)
        now = time.monotonic()
        if isinstance(error, fal.TryLater):
            self._brake.refused(now=now, retry_after_seconds=error.retry_after_seconds)
        elif isinstance(error, fal.NoAnswer | fal.NotSent):
            self._brake.unanswered(now=now)
        else:
            self._brake.answered()
        if isinstance(error, fal.RequestUnknown):
            with suppress(DatabaseError):  # it will be asked about again
                if await self._db(lambda: lifecycle.unknown(each.attempt_id)):
                    self._forget(each.generation_id, is_fals_end=False)

    def _seen(self, each: Watched, status: fal.Status) -> None:
        """Have a change written down, and plan the next question."""
        if each.is_over:
            return
        state = State.RUNNING if isinstance(status, fal.InProgress) else State.SUBMITTED
        now = time.monotonic()
        if self._is_news(each, status, state, now=now):
            each.last, each.written_at = gist(status), now
            self._writer.add(each, status)
        if isinstance(status, fal.Completed):
            self._later(each, pace.LONGEST_BACK_OFF_SECONDS)  # it is forgotten once it is written
            return
        if state != each.state:
            each.state, each.since = state, clock.now()
        position = status.position if isinstance(status, fal.InQueue) else None
        self._later(each, self._interval(each, position))

    def _is_news(self, each: Watched, status: fal.Status, state: State, *, now: float) -> bool:
        if gist(status) == each.last:
            return False
        is_small = state == each.state and each.last is not None and not isinstance(status, fal.Completed)
        return not is_small or now - each.written_at >= NEWS_SECONDS

    def _interval(self, each: Watched, position: int | None) -> float:
        # One free place is not for everybody who is just being asked about.
        if self._may_stream(each) and self._streams_left(each) > len(self._questions):
            return 0.0
        return pace.interval_seconds(
            state=each.state,
            age_seconds=(clock.now() - each.since).total_seconds(),
            usual_seconds=each.usual_seconds,
            is_streamed=each.is_streamed,
            has_webhook=self.are_webhooks_coming,
            queue_position=position,
        )

    def _later(self, each: Watched, seconds: float) -> None:
        self._agenda.plan(each, at=time.monotonic() + seconds)

    def _may_stream(self, each: Watched) -> bool:
        """While there are fewer than the limit and fal gives them."""
        is_off = time.monotonic() < self._no_streams_until or each.broken_streams >= MOST_BROKEN_STREAMS
        return not (each.is_streamed or is_off) and self._streams_left(each) > 0

    def _streams_left(self, each: Watched) -> int:
        """What runs comes before what queues."""
        kept = 0 if each.state == State.RUNNING else settings.FAL_CONCURRENCY
        return int(settings.FAL_STREAM_LIMIT) - kept - len(self._streams)

    def _open_stream(self, each: Watched) -> None:
        each.stream = asyncio.create_task(_traced(each, self._stream))
        self._streams.add(each.stream)
        each.stream.add_done_callback(self._streams.discard)
        self._later(each, pace.STREAMED_SECONDS)

    async def _stream(self, each: Watched) -> None:
        """Follow a stream; when it ends early, polling takes over at once.

        Silence is no fault: a long queue has nothing to say. A stream that breaks again and again is given up for this
        request, and a refusal keeps all streams off for a while.
        """
        opened_at = time.monotonic()
        try:
            async for status in self._fal.stream(each.status_url):
                self._seen(each, status)
                if isinstance(status, fal.Completed):
                    return
        except fal.NoAnswer as error:
            log.info("the status stream of attempt %s ended: %s", each.attempt_id, error)
            each.broken_streams += time.monotonic() - opened_at < SHORT_STREAM_SECONDS
        except fal.FalError as error:
            log.info("no status stream for attempt %s: %s", each.attempt_id, error)
            off = max(REFUSED_STREAMS_SECONDS, error.retry_after_seconds or 0)
            self._no_streams_until = time.monotonic() + off
        except Exception:
            log.exception("the status stream of attempt %s broke", each.attempt_id)
            each.broken_streams += 1
        self._later(each, pace.SOONEST_SECONDS)

    def _over(self, each: Watched, is_ours: bool) -> None:
        """COMPLETED has been written. Where somebody was quicker, the row may still be ours to let go of."""
        self._forget(each.generation_id, is_fals_end=True)
        if not is_ours:
            self._rows.submit(
                _with_fresh_connection, lambda: leases.give_back([each.generation_id], owner=self.owner)
            )

    def _forget(self, generation_id: uuid.UUID, *, is_fals_end: bool) -> None:
        each = self.watched.pop(generation_id, None)
        if each is None:
            return
        each.is_over = True
        self._ended.append((each.attempt_id, time.monotonic(), is_fals_end))
        if each.stream and each.stream is not asyncio.current_task():
            each.stream.cancel()


async def _traced(each: Watched, step: Callable[[Watched], Awaitable[None]]) -> None:
    """Every line logged on the way names what it is about."""
    with trace.bound(generation=each.generation_id, attempt=each.attempt_id):
        await step(each)


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


def _renewed(owner: str) -> tuple[set[uuid.UUID], int]:
    """Which rows are ours for another while, and how many watchers share fal's patience."""
    mine = leases.renew_all(owner=owner, states=AT_FAL)
    pulse.beat(pulse.WATCHER, owner)
    return mine, leases.holders("watch", states=AT_FAL)
