"""What everybody writes first: a Celery task for each generation, which calls `fal_client.subscribe` and waits in it.

`celery -A bench.naive worker --pool=gevent --concurrency=1000`, in processes of its own. The broker is the bench's own
Valkey under another prefix. Every task that ends writes a line into the file that BENCH_NAIVE_LOG names: the moment,
and the seconds from fal's COMPLETED to noticing it (with BENCH_NAIVE_DOWNLOADS: to having the clip).
`python -m bench.naive COUNT ENDPOINT` puts so many in the queue.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import fal_client
import redis
from celery import Celery

from bench.light_fal import times_of

# Never the current one: a bench that imports this rings its bells through our own.
app = Celery("naive", broker=os.environ.get("REDIS_URL"), set_as_current=False)
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
    result = fal_client.subscribe(endpoint, arguments={"prompt": "A boat drifts"}, on_enqueue=ids.append)
    if os.environ.get("BENCH_NAIVE_DOWNLOADS"):
        _download(result["video"]["url"])
    now = time.time()
    _write(f"{now:.3f} {now - times_of(ids[0])[1]:.3f}\n")


def _download(url: str) -> None:
    with urllib.request.urlopen(url) as body, tempfile.TemporaryFile() as file:  # noqa: S310
        file.write(body.read())


def _write(line: str) -> None:
    """One write a line: many processes append to this file."""
    handle = os.open(os.environ["BENCH_NAIVE_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


COMMAND = (
    *(sys.executable, "-W", "ignore", "-m", "celery", "-A", "bench.naive", "--quiet", "worker"),
    *("--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"),
)


def worker_environment(log: Path, **more: str) -> dict[str, str]:
    """Without Django, which Celery would load into the worker where it is configured."""
    env = {**os.environ, "BENCH_NAIVE_LOG": str(log), **more}
    env.pop("DJANGO_SETTINGS_MODULE", None)
    return env


def ended(log: Path) -> list[tuple[float, float]]:
    """Moment and lateness of every task that ended so far."""
    lines = log.read_text().splitlines()
    return [(float(at), float(late)) for at, late in map(str.split, lines)]


def forget_queue() -> None:
    broker = redis.Redis.from_url(os.environ["REDIS_URL"])
    for key in broker.scan_iter("bench-naive:*", count=1_000):
        broker.delete(key)
    broker.close()


def fill(count: int, endpoint: str) -> None:
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for _ in range(count):
            generate.apply_async(args=(endpoint,), producer=producer)


if __name__ == "__main__":
    fill(int(sys.argv[1]), sys.argv[2])
