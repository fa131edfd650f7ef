"""The other sides of the watcher's bench, each a process of its own that waits for N jobs of the light fal.

`python -m bench.waiting bare BASE_URL COUNT PER_SECOND` is the physical limit: one aiohttp loop that asks round-robin
under a budget and writes nothing down. `python -m bench.waiting subscribe ENDPOINT COUNT` is the stock client, a thread
per job. Both print, for each job that ended, the seconds from fal's COMPLETED to noticing it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import threading
import time
from collections import deque

import aiohttp
import fal_client

from bench.figures import LONGEST_SECONDS, SHORTEST_SECONDS
from bench.light_fal import request_id, times_of

TICK_SECONDS = 0.05
NUMBERS = itertools.count(1)


def a_job(*, is_new: bool) -> str:
    """A request of 60 to 240 s that has just been taken, or is somewhere on its way."""
    run, now = random.uniform(SHORTEST_SECONDS, LONGEST_SECONDS), time.time()
    start = now if is_new else now - random.uniform(0, run)
    return request_id(start=start, end=start + run, number=next(NUMBERS))


async def bare(base_url: str, count: int, per_second: float) -> None:
    jobs = deque(a_job(is_new=False) for _ in range(count))
    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(connector=connector) as session:
        tasks: set[asyncio.Task[None]] = set()
        begun, asked = time.monotonic(), 0
        while True:
            allowed = int((time.monotonic() - begun) * per_second)
            while asked < allowed and jobs:
                asked += 1
                task = asyncio.create_task(_ask(session, base_url, jobs.popleft(), jobs))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            asked = allowed  # what no job was there for is not saved up
            await asyncio.sleep(TICK_SECONDS)


async def _ask(session: aiohttp.ClientSession, base_url: str, job: str, jobs: deque[str]) -> None:
    async with session.get(f"{base_url}/queue/a/b/requests/{job}/status?logs=1") as response:
        status = await response.json()
    if status["status"] == "COMPLETED":
        _say(time.time() - times_of(job)[1])
        job = a_job(is_new=True)
    jobs.append(job)


def subscribe(endpoint: str, count: int) -> None:
    threads = [threading.Thread(target=_subscribe, args=(endpoint,), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _subscribe(endpoint: str) -> None:
    while True:
        ids: list[str] = []
        fal_client.subscribe(endpoint, arguments={"prompt": "A boat drifts"}, on_enqueue=ids.append)
        _say(time.time() - times_of(ids[0])[1])


def _say(seconds: float) -> None:
    # One write per line: print() writes its newline apart, and threads would mix.
    sys.stdout.write(f"{seconds:.3f}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        asyncio.run(bare(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    else:
        subscribe(sys.argv[2], int(sys.argv[3]))
