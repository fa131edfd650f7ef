"""What everybody writes first: a Celery task for each generation, which calls `fal_client.subscribe` and waits in it.

`celery -A bench.naive worker --pool=gevent --concurrency=1000`, in processes of its own. The broker is the bench's own
Valkey under another prefix. Every task that ends writes a line into the file that BENCH_NAIVE_LOG names: the moment,
and the seconds from fal's COMPLETED to noticing it. `python -m bench.naive COUNT ENDPOINT` puts so many in the queue.
"""

from __future__ import annotations

import os
import sys
import time

import fal_client
from celery import Celery

from bench.light_fal import times_of

app = Celery("naive", broker=os.environ.get("REDIS_URL"))
app.conf.update(
    broker_transport_options={"global_keyprefix": "bench-naive:"},
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
)


@app.task(name="bench.naive.generate")
def generate(endpoint: str) -> None:
    ids: list[str] = []
    fal_client.subscribe(endpoint, arguments={"prompt": "A boat drifts"}, on_enqueue=ids.append)
    now = time.time()
    _write(f"{now:.3f} {now - times_of(ids[0])[1]:.3f}\n")


def _write(line: str) -> None:
    """One write a line: many processes append to this file."""
    handle = os.open(os.environ["BENCH_NAIVE_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


def fill(count: int, endpoint: str) -> None:
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for _ in range(count):
            generate.apply_async(args=(endpoint,), producer=producer)


if __name__ == "__main__":
    fill(int(sys.argv[1]), sys.argv[2])
