"""Peak memory of a worker process while it ingests a clip of 500 MB, over what it holds idle.

The real Celery worker (one process) is rung as the watcher would ring it and does all of `lifecycle.ingest`: download,
probe, poster, a fresh index where a clip has its own at the end, storage, capture. It has ingested a tiny clip before,
so its code is loaded and that is its idle memory; a short one at the large one's resolution comes between, to tell what
its length costs from what decoding such pictures costs. The kernel keeps the peak (VmHWM, reset before each).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import boto3
import httpx
from django.db import transaction
from django.utils import timezone
from PIL import Image

from accounts.models import Team
from bench.house import running_house
from bench.people import make_team
from bench.processes import forget_peak, resident_mib, running, tree
from bench.report import Measurement, machine
from bench.seeds import ENGINE
from bench.sizes import sized
from config.stack import places
from generations import lifecycle, queue
from generations.lifecycle import moves
from generations.models import Attempt, Generation
from generations.states import AttemptState

LARGE_BYTES = sized(500_000_000, 20_000_000)
TINY, FULL_HD = (320, 180), (1920, 1080)
BUCKET = "clipledger-bench"
PATIENCE_SECONDS = 600
NAIVE = """
import sys, httpx
def line(name):
    return next(int(each.split()[1]) / 1024 for each in open("/proc/self/status") if each.startswith(name))
def fetch(url, path):
    with open(path, "wb") as file:
        file.write(httpx.get(url, timeout=600).content)
tiny, short, large, target = sys.argv[1:]
fetch(tiny, target)
print(line("VmRSS:"))
for each in (short, large):
    open("/proc/self/clear_refs", "w").write("5")
    fetch(each, target)
    print(line("VmHWM:"))
"""


@dataclass(frozen=True)
class Memory:
    """Resident memory idle, and the peaks with a short clip and with the large one. `seconds` are the large one's."""

    idle_mib: float
    short_mib: float
    peak_mib: float
    seconds: float

    @property
    def over_mib(self) -> float:
        return self.peak_mib - self.idle_mib


def measure() -> list[Measurement]:
    team = make_team("ingest", amount=10**6).team
    with tempfile.TemporaryDirectory() as name:
        clips = Path(name) / "clips"
        clips.mkdir()
        write_clip(clips / "tiny.mp4", 1, size=TINY)
        write_clip(clips / "short.mp4", 1, size=FULL_HD)
        write_clip(clips / "large.mp4", LARGE_BYTES, size=FULL_HD)
        short_mb = (clips / "short.mp4").stat().st_size / 1e6
        with _served(clips) as url:
            local = _ingested(team, url, Path(name), {})
            with _s3() as environment:
                remote = _ingested(team, url, Path(name), environment)
            naive = _naive(url, Path(name))
    print(local, remote, naive, flush=True)
    return [
        *_measurements("local storage", local, naive, short_mb),
        *_measurements("an S3 server", remote, naive, short_mb),
    ]


def write_clip(path: Path, size_bytes: int, *, size: tuple[int, int]) -> None:
    """A real H.264 clip of at least so many bytes with its index at the end: a second of noise, again and again.

    At 1920 x 1080 that is some 36 Mbit/s, as of a camera.
    """
    second = path.with_suffix(".second.mp4")
    with av.open(str(second), "w") as out:
        stream = out.add_stream("libx264", rate=24, options={"preset": "ultrafast", "crf": "38", "g": "24"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for _ in range(24):
            noise = Image.effect_noise(size, 90).convert("RGB")
            out.mux(stream.encode(av.VideoFrame.from_image(noise)))
        out.mux(stream.encode())
    _repeat(second, path, times=size_bytes // second.stat().st_size + 1)
    second.unlink()


def _repeat(source: Path, target: Path, *, times: int) -> None:
    with av.open(str(target), "w") as out, av.open(str(source)) as container:
        video = container.streams.video[0]
        copy = out.add_stream_from_template(video)
        assert video.time_base is not None
        length = round(1 / video.time_base)
        for number in range(times):
            container.seek(0)
            for packet in container.demux(video):
                if packet.dts is not None and packet.pts is not None:
                    packet.pts, packet.dts = packet.pts + number * length, packet.dts + number * length
                    packet.stream = copy
                    out.mux(packet)


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    """The files over HTTP, from a process of its own."""
    port = places.free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", places.LOOPBACK]
    command += ["--directory", str(directory), "--protocol", "HTTP/1.1"]
    with _quiet(command, f"http://{places.LOOPBACK}:{port}") as url:
        yield url


@contextmanager
def _s3() -> Iterator[dict[str, str]]:
    """An S3 server (moto) with our bucket; the settings that send our media there."""
    port = places.free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(port)]
    with _quiet(command, f"http://{places.LOOPBACK}:{port}") as url:
        keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",  # noqa: S106
        )
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield {
            "MEDIA_S3_BUCKET": BUCKET,
            "AWS_S3_ENDPOINT_URL": url,
            "AWS_DEFAULT_REGION": "us-east-1",
            **keys,
        }


@contextmanager
def _quiet(command: list[str], url: str) -> Iterator[str]:
    with running(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                httpx.get(url, timeout=5)
                break
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield url


def _ingested(team: Team, url: str, directory: Path, storage: dict[str, str]) -> Memory:
    """One worker process that takes in the tiny clip, then the short one, then the large one."""
    environment = {"FAL_KEY": "bench:key", "FAL_CDN_URL": url, **storage}
    with running_house(directory, environment, parts=("worker",), workers=1) as house:
        _take_in(team, f"{url}/tiny.mp4")
        (pid,) = set(tree(house.pids["worker"])) - {house.pids["worker"]}
        idle = resident_mib(pid)
        peaks = []
        for name in ("short", "large"):
            forget_peak(pid)
            begun = time.monotonic()
            _take_in(team, f"{url}/{name}.mp4")
            peaks.append(resident_mib(pid, is_peak=True))
        return Memory(idle, peaks[0], peaks[1], time.monotonic() - begun)


def _take_in(team: Team, url: str) -> None:
    """A generation whose result is known, rung for ingest, until it has succeeded."""
    pk = _storing(team, url)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        row = Generation.objects.get(pk=pk)
        if row.is_settled:
            break
        if time.monotonic() > deadline:
            raise SystemExit(f"the clip was not taken in within {PATIENCE_SECONDS} s")
        time.sleep(0.2)
    if row.state != "succeeded":
        raise SystemExit(f"the clip was not taken in: {row.failure_code} {row.failure_message}")


def _storing(team: Team, url: str) -> uuid.UUID:
    with transaction.atomic():
        made = lifecycle.request(
            user=team.memberships.get().user,
            team=team,
            engine=ENGINE,
            params={"prompt": "A boat drifts"},
            form_token=uuid.uuid4(),
        )
        row, now = moves.lock(made.pk), timezone.now()
        is_moved = (
            moves.submitted(row, now=now) and moves.running(row, now=now) and moves.storing(row, now=now)
        )
        assert is_moved
        Attempt.objects.create(
            generation=row,
            number=1,
            state=AttemptState.ACCEPTED,
            request_id=uuid.uuid4().hex,
            result={"video": {"url": url}},
        )
        queue.enqueue(queue.INGEST, str(made.pk))
    return made.pk


def _naive(url: str, directory: Path) -> Memory:
    target = directory / "naive.mp4"
    clips = [f"{url}/{name}.mp4" for name in ("tiny", "short", "large")]
    command, begun = [sys.executable, "-c", NAIVE, *clips, str(target)], time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    idle, short, large = map(float, done.stdout.split())
    target.unlink()
    return Memory(idle, short, large, time.monotonic() - begun)


def _measurements(where: str, ours: Memory, naive: Memory, short_mb: float) -> Iterator[Measurement]:
    size = LARGE_BYTES // 10**6
    pairs = (
        (f"memory over idle of a worker that ingests {size} MB into {where}", ours.over_mib, naive.over_mib),
        (
            f"memory that {size} MB take more than one second of the same pictures, into {where}",
            ours.peak_mib - ours.short_mib,
            naive.peak_mib - naive.short_mib,
        ),
    )
    for name, value, other in pairs:
        yield Measurement(
            name=name,
            value=round(value, 1),
            unit="MiB",
            versus=f"httpx.get(...).content written to a file: {other:.4g} MiB",
            ratio=round(value / other, 3) if other else 0.0,
            runs=1,
            conditions=f"{_peaks(ours, short_mb)}; H.264 1920 x 1080, index at the end, so it is also rewrapped; "
            f"{ours.seconds:.0f} s from the bell to `succeeded`; {machine()}",
        )


def _peaks(ours: Memory, short_mb: float) -> str:
    return (
        f"peak resident memory (VmHWM) of one Celery worker process: idle {ours.idle_mib:.0f} MiB after a tiny clip, "
        f"{ours.short_mib:.0f} MiB with a second of it ({short_mb:.0f} MB), {ours.peak_mib:.0f} MiB with the large one"
    )
