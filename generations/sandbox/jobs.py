"""The clock of the sandbox: jobs are rows, and one loop moves those that are due. Nothing waits per job.

Queue: a job spends a fifth of its time waiting (two pretend jobs ahead of it, a tenth each) and the rest running; it
starts once those are gone and one of the account's places is free, in the order of arrival. Only IN_PROGRESS takes a
place, as with fal's concurrency limit.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from generations.sandbox import engines
from generations.sandbox.directives import Fault, parse
from generations.sandbox.failures import Failure, failure
from generations.sandbox.options import Options
from generations.sandbox.store import COMPLETED, IN_PROGRESS, IN_QUEUE, Row, Store, loads
from generations.sandbox.studio import Studio
from generations.sandbox.webhooks import Courier

log = logging.getLogger(__name__)

NEVER = 10 * 365 * 86_400.0
PRETEND_AHEAD = 2
STEP_SHARE = 0.1
STUMBLE_SECONDS = 1.0
CANCEL_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Order:
    """One accepted submit."""

    endpoint_id: str
    params: dict[str, Any]
    base_url: str
    tags: str = ""
    webhook_url: str = ""
    start_timeout_seconds: float | None = None
    lifecycle_seconds: float | None = None


@dataclass
class Clock:
    """Accepts jobs, moves them along, finishes them; the only writer of the `jobs` table's state."""

    options: Options
    store: Store
    studio: Studio
    courier: Courier
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _preparing: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _watchers: dict[str, set[asyncio.Event]] = field(default_factory=lambda: defaultdict(set))

    def accept(self, order: Order) -> Row:
        """Store a new job and return its row."""
        faults = parse(engines.prompt_of(order.params))
        now = time.time()
        ahead, step, run_seconds = self._timing(faults)
        request_id = str(uuid.uuid4())
        deadline = order.start_timeout_seconds
        self.store.insert(
            "jobs",
            request_id=request_id,
            endpoint_id=order.endpoint_id,
            app=engines.app_of(order.endpoint_id),
            base_url=order.base_url,
            tags=order.tags,
            prompt=engines.prompt_of(order.params),
            prompt_key=prompt_key(order.endpoint_id, order.params),
            webhook_url=order.webhook_url,
            lifecycle_seconds=order.lifecycle_seconds,
            state=IN_QUEUE,
            created_at=now,
            eligible_at=now + ahead * step,
            pretend_ahead=ahead,
            run_seconds=run_seconds,
            start_deadline_at=now + deadline if deadline else None,
        )
        self.store.insert("inputs", request_id=request_id, input=json.dumps(order.params))
        self._wake.set()
        job = self.store.job(request_id)
        assert job is not None
        return job

    def position(self, job: Row) -> int:
        """How many requests are ahead of a queued job: real ones, or the pretend ones where those are more."""
        left, ahead = job["eligible_at"] - time.time(), int(job["pretend_ahead"])
        if left <= 0 or not ahead:
            return self.store.ahead_of(job)
        if left > NEVER / 2:
            return max(ahead, 1)
        share = left / max(job["eligible_at"] - job["created_at"], 0.001)
        return max(min(ahead, int(share * ahead) + 1), self.store.ahead_of(job))

    def cancel(self, job: Row) -> bool:
        """Ask for a job to be stopped: a queued one is gone at once. False when it was complete already."""
        if job["state"] == COMPLETED:
            return False
        if "cancel" in parse(job["prompt"]):
            return True
        now = time.time()
        self.store.update_job(job["request_id"], cancel_asked_at=now)
        if job["state"] == IN_QUEUE:
            self._finish_badly(job, failure(499, "client_cancelled", is_free=True), webhook=False)
        else:
            until = now + self.options.job_seconds * CANCEL_SHARE
            self.store.update_job(job["request_id"], run_until=until, prepared=1)
        self._wake.set()
        return True

    def finish_now(self, request_id: str) -> bool:
        """Let a job end at once, whatever it was told (the control endpoint's way out of `stuck`)."""
        values = {"eligible_at": 0, "run_until": 0, "run_seconds": 0}
        names = ", ".join(f"{name} = {value}" for name, value in values.items())
        done = self.store.execute(
            f"UPDATE jobs SET {names} WHERE request_id = ? AND state <> ?", request_id, COMPLETED
        )
        self._wake.set()
        return done == 1

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Move what is due, for ever."""
        while True:
            self._wake.clear()
            try:
                self.tick()
            except Exception:
                log.exception("the sandbox's clock stumbled")
                await asyncio.sleep(STUMBLE_SECONDS)
            await self._rest()

    async def _rest(self) -> None:
        may_start = self.store.running() < self.options.concurrency
        due_at = self.store.next_due_at(may_start=may_start, may_send=self.courier.has_room)
        seconds = 5.0 if due_at is None else min(max(due_at - time.time(), 0.005), 5.0)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    def tick(self) -> None:
        """One round: give up on late starts, complete what has run, start what may, send what is due."""
        now = time.time()
        for job in self._select("state = ? AND start_deadline_at <= ?", IN_QUEUE, now):
            self._finish_badly(job, failure(504, "request_timeout", is_free=True))
        for job in self._select("state = ? AND prepared = 1 AND run_until <= ?", IN_PROGRESS, now):
            self._complete(job)
        self._start_queued(now)
        for job in self._select("state = ? AND prepared = 0", IN_PROGRESS):
            self._prepare(job)
        self.courier.send_due(now)

    def _select(self, where: str, *values: Any) -> list[Row]:
        return self.store.rows(f"SELECT * FROM jobs WHERE {where} ORDER BY seq", *values)

    def _timing(self, faults: Mapping[str, Fault]) -> tuple[int, float, float]:
        """Pretend jobs ahead, seconds for each, seconds of running."""
        total = float(faults["seconds"].value) if "seconds" in faults else self.options.job_seconds
        step = total * STEP_SHARE
        ahead = int(float(faults["position"].value)) if "position" in faults else PRETEND_AHEAD
        run_seconds = total * (1 - PRETEND_AHEAD * STEP_SHARE)
        if "slow" in faults:
            run_seconds += float(faults["slow"].value)
        if "stuck" in faults:
            return (max(ahead, 1), NEVER, run_seconds) if faults["stuck"].value else (ahead, step, NEVER)
        return ahead, step, run_seconds

    def _start_queued(self, now: float) -> None:
        free = self.options.concurrency - self.store.running()
        if free > 0:
            due = self.store.rows(
                "SELECT * FROM jobs WHERE state = ? AND eligible_at <= ? ORDER BY seq LIMIT ?",
                IN_QUEUE,
                now,
                free,
            )
            for job in due:
                until = now + job["run_seconds"]
                self.store.update_job(job["request_id"], state=IN_PROGRESS, started_at=now, run_until=until)
                self._tell_watchers(job["request_id"])

    def _prepare(self, job: Row) -> None:
        request_id = job["request_id"]
        if request_id not in self._preparing:
            task = asyncio.create_task(self._load_inputs(job))
            self._preparing[request_id] = task
            task.add_done_callback(lambda _: self._preparing.pop(request_id, None))

    async def _load_inputs(self, job: Row) -> None:
        """Check the parameters and fetch the picture, as a runner does; what fails becomes the job's outcome."""
        params = self.store.input(job["request_id"])
        spec = engines.find(job["endpoint_id"])
        problem = spec.problem(params) if spec else failure(404, is_free=True)
        picture = ""
        if problem is None and spec is not None:
            picture, problem = await self.studio.fetch(spec.picture_of(params), min_side_px=spec.min_side_px)
        self.store.update_job(
            job["request_id"],
            prepared=1,
            picture=picture,
            failure=json.dumps(problem.as_dict()) if problem else None,
        )
        if problem is None and not will_fail(job["prompt"]):
            self.studio.begin(job["request_id"])
        self._wake.set()

    def _complete(self, job: Row) -> None:
        """End a job that has run; one that trips us up ends as fal's own 500 and holds nobody else up."""
        try:
            self._end(job)
        except Exception:
            log.exception("job %s could not be ended", job["request_id"])
            problem = failure(500, "internal_error")
            self._finish(job, 500, problem.body, units=None, problem=problem)

    def _end(self, job: Row) -> None:
        run = parse(job["prompt"]).get("run")
        if job["cancel_asked_at"]:
            self._finish_badly(job, failure(499, "client_cancelled", is_free=True), webhook=False)
        elif run and self.store.strike(f"run:{job['prompt_key']}", run.times):
            self._finish_badly(job, failure(run.status_code, run.tail))
        elif job["failure"]:
            self._finish_badly(job, Failure(**loads(job["failure"])))
        else:
            self._finish_well(job)

    def _finish_well(self, job: Row) -> None:
        spec = engines.find(job["endpoint_id"])
        assert spec is not None
        params = self.store.input(job["request_id"])
        self.studio.reserve(job)
        path = f"/cdn/files/{job['request_id']}/output.mp4"
        seed, size_bytes = secrets.randbelow(2**31), self.studio.clip_bytes(job)
        body = spec.body(params, path=path, size_bytes=size_bytes, seed=seed)
        self._finish(job, 200, body, units=spec.units(params))
        self._bill(job, spec.units(params), spec.unit_price)
        self._post_webhook(job)

    def _finish_badly(self, job: Row, problem: Failure, *, webhook: bool = True) -> None:
        spec = engines.find(job["endpoint_id"])
        params = self.store.input(job["request_id"])
        is_billed = problem.status_code == 422 and not problem.is_free and self.options.bill_run_422
        self._finish(
            job, problem.status_code, problem.body, units=0.0 if problem.is_free else None, problem=problem
        )
        if spec and is_billed:
            self._bill(job, spec.units(params), spec.unit_price)
        if webhook:
            self._post_webhook(job)

    def _finish(
        self,
        job: Row,
        status_code: int,
        body: dict[str, Any],
        *,
        units: float | None,
        problem: Failure | None = None,
    ) -> None:
        self.store.update_job(
            job["request_id"],
            state=COMPLETED,
            completed_at=time.time(),
            status_code=status_code,
            body=json.dumps(body),
            error=problem.error if problem else None,
            error_type=problem.error_type if problem else None,
            units=units,
        )
        self._tell_watchers(job["request_id"])

    def _bill(self, job: Row, units: float, unit_price: float) -> None:
        self.store.insert(
            "bills",
            request_id=job["request_id"],
            endpoint_id=job["endpoint_id"],
            at=time.time(),
            units=units,
            unit_price=unit_price * self.options.price_factor,
        )
        if self.options.balance_usd - self.store.spent_usd() <= 0 and not self.options.locked:
            self.options.adjust({"locked": True})

    def _post_webhook(self, job: Row) -> None:
        done = self.store.job(job["request_id"])
        if done and done["webhook_url"]:
            self.courier.post(done, parse(done["prompt"]).get("webhook"))
            self._wake.set()

    def watch(self, request_id: str) -> asyncio.Event:
        """Return an event that is set whenever the job changes state; give it back with `unwatch`."""
        event = asyncio.Event()
        self._watchers[request_id].add(event)
        return event

    def unwatch(self, request_id: str, event: asyncio.Event) -> None:
        self._watchers[request_id].discard(event)
        if not self._watchers[request_id]:
            del self._watchers[request_id]

    def _tell_watchers(self, request_id: str) -> None:
        for event in self._watchers.get(request_id, ()):
            event.set()


def will_fail(prompt: str) -> bool:
    run = parse(prompt).get("run")
    return bool(run and run.times is None)


def prompt_key(endpoint_id: str, params: dict[str, Any]) -> str:
    """What counted directives are counted by: the same words to the same engine."""
    return hashlib.sha256(f"{endpoint_id}\n{engines.prompt_of(params)}".encode()).hexdigest()
