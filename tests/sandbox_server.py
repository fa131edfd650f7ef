"""Runs the sandbox as a real process for a test: `with running_sandbox(tmp_path, job_seconds=0.2) as sandbox:`."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
READY = "fal sandbox ready at "
STOP_SECONDS = 10


@dataclass
class RunningSandbox:
    """One sandbox process and its addresses (each without a slash at the end)."""

    process: subprocess.Popen[str]
    base_url: str
    data_dir: Path
    cafile: str | None = None

    @property
    def queue_url(self) -> str:
        return f"{self.base_url}/queue"

    @property
    def rest_url(self) -> str:
        return f"{self.base_url}/rest"

    @property
    def cdn_url(self) -> str:
        return f"{self.base_url}/cdn"

    @property
    def platform_url(self) -> str:
        return f"{self.base_url}/platform/v1"

    @property
    def jwks_url(self) -> str:
        return f"{self.base_url}/.well-known/jwks.json"

    def control(self, path: str = "", body: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET `/control/<path>`, or POST to it when there is a body; returns the JSON."""
        address = f"{self.base_url}/control" + (f"/{path}" if path else "")
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(address, data=data, headers=headers)  # noqa: S310
        context = ssl.create_default_context(cafile=self.cafile) if self.cafile else None
        with urllib.request.urlopen(request, timeout=10, context=context) as reply:  # noqa: S310
            return dict(json.load(reply))

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings: `job_seconds`, `concurrency`, `locked`, `balance_usd`, `fail_submits`, ..."""
        return self.control("settings", changes)

    def jobs(self, query: str = "") -> list[dict[str, Any]]:
        """Every job with its counts; `query` like `tag=generation=12` or `request_id=...` chooses."""
        return list(self.control(f"jobs?{query}")["jobs"])

    def posts(self) -> list[dict[str, Any]]:
        """Every submit that reached the sandbox, also those dropped or refused."""
        return list(self.control("posts")["posts"])

    def webhooks(self) -> list[dict[str, Any]]:
        return list(self.control("webhooks")["webhooks"])

    def stop(self) -> None:
        """End the process by SIGTERM (by SIGKILL if it does not listen)."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def start_sandbox(data_dir: Path, **options: Any) -> RunningSandbox:
    """Start a sandbox on a free port and return once it answers; the caller must `stop()` it.

    Options are those of the command line with underscores: `job_seconds=0.2`, `concurrency=8`, `fast_clips=True`,
    `port=0`, `key=...`, `admin_key=...`, `tls_cert=...`. Clips are fast unless `fast_clips=False`.
    """
    options = {
        "port": 0,
        "job_seconds": 0.2,
        "concurrency": 8,
        "fast_clips": True,
        "data_dir": data_dir,
        **options,
    }
    command = [sys.executable, "-m", "generations.sandbox", "--end-with-stdin", *_arguments(options)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(READY):
        process.kill()
        process.communicate()
        raise RuntimeError(f"the sandbox did not start: {line!r}")
    return RunningSandbox(process, line.removeprefix(READY).strip(), data_dir, options.get("tls_cert"))


def _arguments(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            yield from [flag] * value
        else:
            yield f"{flag}={value}"


@contextmanager
def running_sandbox(tmp_path: Path, **options: Any) -> Iterator[RunningSandbox]:
    """A sandbox for the length of a `with` block; `tmp_path` may be any directory, its jobs live in `sandbox/`."""
    sandbox = start_sandbox(tmp_path / "sandbox", **options)
    try:
        yield sandbox
    finally:
        sandbox.stop()
