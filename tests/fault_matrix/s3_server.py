"""An S3 server as a process of its own, for the fleet to keep its clips in. It forgets everything when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import httpx

from config.stack import child, environment

BUCKET = "fault-matrix"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
START_SECONDS = 60


class S3Server:
    """moto's, on a port that stays the same when it comes back."""

    def __init__(self, port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._port, self._log = port, log
        self.process: subprocess.Popen[bytes] | None = None
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=botocore.config.Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=20),
        )

    def environment(self) -> dict[str, str]:
        """What our settings want to know; one try each, so that a server that is away is noticed at once."""
        return {
            "MEDIA_S3_BUCKET": BUCKET,
            "AWS_S3_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            **CREDENTIALS,
        }

    def start(self) -> None:
        argv: list[str | Path] = [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(self._port)]
        with self._log.open("ab") as log:
            self.process = child.spawn(
                argv, death_signal=signal.SIGKILL, env=_clean(), cwd=environment.CHECKOUT, output=log
            )

    def wait(self) -> None:
        """Until it answers; then there is an empty bucket."""
        ends_at = time.monotonic() + START_SECONDS
        while time.monotonic() < ends_at:
            assert self.process is not None
            assert self.process.poll() is None, self._log.read_text()
            with suppress(httpx.HTTPError):
                httpx.get(self.url, timeout=5)
                self.client.create_bucket(Bucket=BUCKET)
                return
            time.sleep(0.05)
        raise AssertionError("the S3 server did not come up")

    def kill(self) -> None:
        if self.process is not None:
            child.kill_group(self.process)
            self.process = None

    def objects(self, prefix: str) -> dict[str, int]:
        """Name and size of everything whose name begins so."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {each["Key"]: each["Size"] for each in found}

    def read(self, name: str) -> bytes:
        with self.client.get_object(Bucket=BUCKET, Key=name)["Body"] as body:
            return bytes(body.read())

    def remove_bucket(self) -> dict[str, bytes]:
        """Take the bucket away with all that is in it, and say what that was."""
        kept = {name: self.read(name) for name in self.objects("")}
        for name in kept:
            self.client.delete_object(Bucket=BUCKET, Key=name)
        self.client.delete_bucket(Bucket=BUCKET)
        return kept

    def restore_bucket(self, kept: dict[str, bytes]) -> None:
        self.client.create_bucket(Bucket=BUCKET)
        for name, content in kept.items():
            self.write(name, content)

    def write(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=name, Body=content)


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
