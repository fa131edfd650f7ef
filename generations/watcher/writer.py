"""What was seen, written to the rows in batches: at once while little happens, a few times a second under load."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from django.db import DatabaseError, OperationalError

from generations import fal, lifecycle
from generations.watcher.watched import Watched

log = logging.getLogger(__name__)

GATHER_SECONDS = 0.1
RETRY_SECONDS = 1.0
MOST_PER_BATCH = 500
# One row that cannot be written now may be somebody's lock; two are the database's trouble.
MOST_FAILURES = 2

Batch = list[tuple[Watched, fal.Status]]


@dataclass
class Written:
    """What became of a batch: `changed` attempts, and what has to be tried again."""

    changed: set[int] = field(default_factory=set)
    left: Batch = field(default_factory=list)


class Writer:
    """`run` writes what `add` was given and tells `when_over` of each request that was seen completed."""

    def __init__(
        self,
        in_thread: Callable[[Callable[[], Written]], Awaitable[Written]],
        when_over: Callable[[Watched, bool], None],
    ) -> None:
        self._in_thread = in_thread
        self._when_over = when_over
        self._pending: dict[int, tuple[Watched, fal.Status]] = {}
        self._bell = asyncio.Event()

    def add(self, each: Watched, status: fal.Status) -> None:
        """Only the latest counts, except that nothing follows COMPLETED."""
        waiting = self._pending.get(each.attempt_id)
        if waiting is None or not isinstance(waiting[1], fal.Completed):
            self._pending[each.attempt_id] = (each, status)
        self._bell.set()

    async def run(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            is_all = await self.flush()
            await asyncio.sleep(GATHER_SECONDS if is_all else RETRY_SECONDS)

    async def flush(self) -> bool:
        """Write what is pending; whether nothing has to be tried again."""
        batch: Batch = []
        while self._pending and len(batch) < MOST_PER_BATCH:
            batch.append(self._pending.pop(next(iter(self._pending))))
        if not batch:
            return True
        try:
            written = await self._in_thread(lambda: _write(batch))
        except Exception:
            for each, _ in batch:
                each.last = None  # so that the same answer is news again
            raise
        left = {each.attempt_id for each, _ in written.left}
        for each, status in batch:
            if isinstance(status, fal.Completed) and each.attempt_id not in left:
                self._when_over(each, each.attempt_id in written.changed)
        for each, status in written.left:
            self._pending.setdefault(each.attempt_id, (each, status))
        if self._pending:
            self._bell.set()
        return not left


def _write(batch: Batch) -> Written:
    """All at once, or one by one where one of them spoils it for the others."""
    try:
        return Written(lifecycle.observe_many({each.attempt_id: status for each, status in batch}))
    except (DatabaseError, RuntimeError, ValueError) as error:
        log.warning("%d statuses could not be written together: %s", len(batch), error)
        return _one_by_one(batch)


def _one_by_one(batch: Batch) -> Written:
    written, failed = Written(), []
    for number, (each, status) in enumerate(batch):
        try:
            if lifecycle.observe(each.attempt_id, status):
                written.changed.add(each.attempt_id)
        except OperationalError as error:
            log.warning("attempt %s could not be written, and will be: %s", each.attempt_id, error)
            failed.append((each, status))
            if len(failed) == MOST_FAILURES:
                written.left = batch[number + 1 :]
                break
        except (DatabaseError, ValueError):
            log.exception("what fal says of attempt %s cannot be written", each.attempt_id)
    written.left += failed  # the others first, next time
    return written
