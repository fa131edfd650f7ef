"""One watcher process with 10 to 10,000 in flight: processor, memory, questions, and how late it notices.

Rows are put into the database as a dispatcher would have left them and point at `bench.light_fal`; who completes is
replaced, so the number in flight stands still. CPU is user + system time of the process, which neighbours on the
machine disturb less than wall time; PostgreSQL's share is not in it. Delays run from fal's COMPLETED to the row.
"""

from __future__ import annotations

import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.db import connection

from accounts.models import Wallet
from bench import light_fal
from bench.people import make_team
from bench.report import Measurement, machine
from generations import catalogue
from generations.models import PriceVersion
from tests.self_signed import certificate

ENGINE = "fal-ai/minimax/hailuo-2.3/pro/text-to-video"
SIZES = (10, 100, 1_000, 10_000)
SUBSCRIBE_SIZES = (10, 100)
POLLS_PER_SECOND = 250
WINDOW_SECONDS = 20.0
QUEUE_SECONDS = 30.0
TABLE = Path(__file__).parent / "watcher.json"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One side at one size, over one window in steady state."""

    design: str
    in_flight: int
    cores: float
    mib: float
    requests_per_second: float
    fullest_second: int
    streams: int
    noticed: int
    delay_p50_seconds: float | None
    delay_p99_seconds: float | None


def measure() -> list[Measurement]:
    wallet = make_team("watcher", amount=10**9)
    with tempfile.TemporaryDirectory() as directory, running_fal() as base_url:
        base = watched(wallet, base_url, 0)
        ours = [watched(wallet, base_url, size) for size in SIZES]
        bare = [bare_loop(base_url, size) for size in SIZES]
        stock = [stock_client(Path(directory), size) for size in SUBSCRIBE_SIZES]
    TABLE.write_text(json.dumps([asdict(each) for each in (base, *ours, *bare, *stock)], indent=2) + "\n")
    return [*_against(ours, bare, base), *_against_stock(ours, stock)]


def _against(ours: list[Figures], bare: list[Figures], base: Figures) -> list[Measurement]:
    found = []
    for mine, limit in zip(ours, bare, strict=True):
        size = f"{mine.in_flight:,} in flight"
        found += [
            _ratio(f"watcher, CPU cores, {size}", mine.cores, limit.cores, "cores", "bare aiohttp loop"),
            _ratio(f"watcher, memory, {size}", mine.mib, base.mib, "MiB PSS", "the same process with none"),
        ]
        if mine.delay_p50_seconds is not None and limit.delay_p50_seconds:
            name = f"watcher, COMPLETED to row p50, {size}"
            found.append(
                _ratio(name, mine.delay_p50_seconds, limit.delay_p50_seconds, "s", "bare aiohttp loop")
            )
    return found


def _against_stock(ours: list[Figures], stock: list[Figures]) -> list[Measurement]:
    by_size = {each.in_flight: each for each in ours}
    found = []
    for theirs in stock:
        mine, size = by_size[theirs.in_flight], f"{theirs.in_flight:,} in flight"
        versus = "a thread each in fal_client.subscribe"
        found += [
            _ratio(f"watcher, CPU cores, {size}", mine.cores, theirs.cores, "cores", versus),
            _ratio(
                f"watcher, requests to fal, {size}",
                mine.requests_per_second,
                theirs.requests_per_second,
                "requests/s",
                versus,
            ),
        ]
    return found


def _ratio(name: str, value: float, other: float, unit: str, versus: str) -> Measurement:
    return Measurement(
        name=name,
        value=round(value, 4),
        unit=unit,
        versus=f"{versus}: {other:.4g} {unit}",
        ratio=round(value / other, 3) if other else 0.0,
        runs=1,
        conditions=f"jobs of 60-240 s, {WINDOW_SECONDS:g} s window in steady state, no webhooks, budget of "
        f"{POLLS_PER_SECOND} requests/s, {settings.FAL_STREAM_LIMIT} streams; CPU is process time; {machine()}",
    )


def watched(wallet: Wallet, base_url: str, size: int) -> Figures:
    """The real `manage.py watch` with `size` generations at fal."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM generations_logline")
        cursor.execute("DELETE FROM generations_attempt")
        cursor.execute("DELETE FROM generations_generation")
    seeds = Seeds(wallet, base_url)
    seeds.add(size, is_new=False)
    with _process([sys.executable, "manage.py", "watch"], env=_our_env(base_url, size)) as process:
        with seeds.kept_at(size):
            time.sleep(_warm_up_seconds(size))
            taken = _taken(process.pid, base_url)
        late = seeds.delays(since=taken.since, until=taken.until)
    return _figures("watcher", size, taken, late)


def bare_loop(base_url: str, size: int) -> Figures:
    command = [sys.executable, "-m", "bench.waiting", "bare", base_url, str(size), str(POLLS_PER_SECOND)]
    return _other_side("bare aiohttp loop", command, dict(os.environ), base_url, size)


def stock_client(directory: Path, size: int) -> Figures:
    cert, key = certificate(directory)
    with running_fal(str(cert), str(key)) as base_url:
        env = {
            **os.environ,
            "FAL_KEY": "bench:key",
            "FAL_QUEUE_RUN_HOST": f"{urlsplit(base_url).netloc}/queue",
            "SSL_CERT_FILE": str(cert),
        }
        command = [sys.executable, "-m", "bench.waiting", "subscribe", ENGINE, str(size)]
        return _other_side("fal_client.subscribe", command, env, base_url, size, cafile=str(cert))


def _other_side(
    design: str, command: list[str], env: dict[str, str], base_url: str, size: int, cafile: str | None = None
) -> Figures:
    with _process(command, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        heard: list[float] = []
        reader = threading.Thread(target=lambda: heard.extend(map(float, process.stdout)), daemon=True)  # type: ignore[arg-type]
        reader.start()
        time.sleep(_warm_up_seconds(size))
        before = len(heard)
        taken = _taken(process.pid, base_url, cafile)
        late = heard[before:]
    return _figures(design, size, taken, late)


def _warm_up_seconds(size: int) -> float:
    """Until everything was claimed and looked at once, and a little more."""
    return 6 + size / POLLS_PER_SECOND * 1.25


@dataclass(frozen=True)
class Taken:
    """What was read at both ends of a window."""

    since: float
    until: float
    cpu_seconds: float
    mib: float
    requests: int
    fullest_second: int
    streams: int


def _taken(pid: int, base_url: str, cafile: str | None = None) -> Taken:
    before, since, cpu = counts(base_url, cafile), time.time(), cpu_seconds(pid)
    time.sleep(WINDOW_SECONDS)
    until, spent, after = time.time(), cpu_seconds(pid) - cpu, counts(base_url, cafile)
    requests = sum(after.get(name, 0) - before.get(name, 0) for name in ("asks", "streams"))
    fullest, streams = after.get("fullest_second", 0), after.get("streams_open", 0)
    return Taken(since, until, spent, pss_mib(pid), requests, fullest, streams)


def _figures(design: str, size: int, taken: Taken, late: Sequence[float]) -> Figures:
    seconds, ordered = taken.until - taken.since, sorted(late)
    figures = Figures(
        design=design,
        in_flight=size,
        cores=round(taken.cpu_seconds / seconds, 4),
        mib=round(taken.mib, 1),
        requests_per_second=round(taken.requests / seconds, 1),
        fullest_second=taken.fullest_second,
        streams=taken.streams,
        noticed=len(ordered),
        delay_p50_seconds=_at_share(ordered, 0.5),
        delay_p99_seconds=_at_share(ordered, 0.99),
    )
    print(figures, flush=True)
    return figures


def _at_share(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 3) if ordered else None


class Seeds:
    """Generations at fal, written by SQL, with the light fal's request ids; the books are not part of this bench."""

    def __init__(self, wallet: Wallet, base_url: str) -> None:
        self.wallet, self.base_url = wallet, base_url
        self.user_id = wallet.team.memberships.get().user_id
        self.version = PriceVersion.objects.current(catalogue.get(ENGINE).endpoint_id)
        self.number = time.time_ns()

    def add(self, count: int, *, is_new: bool) -> None:
        jobs = [self._job(is_new=is_new) for _ in range(count)]
        params = {
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
        now, run = time.time(), random.uniform(light_fal.SHORTEST_SECONDS, light_fal.LONGEST_SECONDS)
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
        lease_owner, created_at, submitted_at, started_at, changed_at, next_check_at)
    SELECT id, %(team)s, %(user)s, %(engine)s, 'A boat drifts out of the harbour, fog, morning.', '{}',
        gen_random_uuid(), %(version)s, 49, hold, CASE WHEN start > now() THEN 'submitted' ELSE 'running' END,
        false, '', '', true, '', now(), now(), CASE WHEN start > now() THEN NULL ELSE start END, now(), now()
    FROM job WHERE hold IN (SELECT id FROM holds) RETURNING id
)
INSERT INTO generations_attempt (generation_id, number, state, token, sent_inputs, is_counted, request_id,
    status_url, response_url, cancel_url, error_type, error_detail, is_maybe_billed, fetch_failures, sent_at)
SELECT id, 1, 'accepted', id::text, '{}', true, request, %(base)s || request || '/status', %(base)s || request,
    %(base)s || request || '/cancel', '', '', false, 0, now()
FROM job WHERE id IN (SELECT id FROM made)
"""
_TAKE_ASIDE = """
UPDATE generations_generation SET lease_owner = 'ingest@bench', lease_until = now() + interval '1 hour'
WHERE state = 'storing' AND lease_owner = ''
"""
_AT_FAL = "SELECT count(*) FROM generations_generation WHERE state IN ('submitted', 'running')"
_COMPLETED = """
SELECT a.request_id, extract(epoch FROM g.completed_at)::float8
FROM generations_attempt a JOIN generations_generation g ON g.id = a.generation_id
"""


@contextmanager
def running_fal(*arguments: str) -> Iterator[str]:
    """The light fal in a process of its own; yields its address."""
    command = [sys.executable, "-m", "bench.light_fal", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"{'https' if arguments else 'http'}://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


def counts(base_url: str, cafile: str | None = None) -> dict[str, int]:
    context = ssl.create_default_context(cafile=cafile) if cafile else None
    with urllib.request.urlopen(f"{base_url}/counts", timeout=10, context=context) as reply:  # noqa: S310
        return dict(json.load(reply))


@contextmanager
def _process(
    command: list[str], *, env: dict[str, str], stdout: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, env=env, stdout=stdout, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _our_env(base_url: str, size: int) -> dict[str, str]:
    parts = urlsplit(os.environ["DATABASE_URL"])
    return {
        **os.environ,
        "DATABASE_URL": urlunsplit(parts._replace(path="/" + settings.DATABASES["default"]["NAME"])),
        "FAL_KEY": "bench:key",
        "FAL_QUEUE_URL": f"{base_url}/queue",
        "FAL_WEBHOOK_BASE_URL": "",
        "FAL_CONCURRENCY": str(max(size, 2)),
        "FAL_POLLS_PER_SECOND": str(POLLS_PER_SECOND),
        "LOG_LEVEL": "WARNING",
    }


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the kernel does not tell a process's share of memory")
