"""Runs an S3 server (moto) as a real process for a test: `with running_s3() as endpoint:`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import httpx

from config.stack import child, places

ROOT = Path(__file__).resolve().parent.parent
UP_SECONDS = 60
BUCKET = "clipledger-test"


@contextmanager
def running_s3(port: int | None = None) -> Iterator[str]:
    """The endpoint of a server for the length of a `with` block, on a free port unless told which."""
    port = port or places.free_port()
    process = child.spawn(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(port)],
        death_signal=signal.SIGKILL,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        cwd=ROOT,
        output=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _wait_for(endpoint, process)
        yield endpoint
    finally:
        child.stop(process, grace_seconds=10)


def environment(endpoint: str, *, bucket: str = BUCKET) -> dict[str, str]:
    """What makes our settings store there. The server checks no signatures."""
    return {
        "MEDIA_S3_BUCKET": bucket,
        "AWS_S3_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def make_bucket(endpoint: str, *, bucket: str = BUCKET) -> None:
    """An empty bucket of this name."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=bucket)
    client.close()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the S3 server ended"
        try:
            httpx.get(url, timeout=2)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the S3 server did not come up")
