"""The light fal in a process of its own."""

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
from urllib.parse import urlsplit


@dataclass(frozen=True)
class LightFal:
    """Where it listens (no slash at the end), and the certificate to trust where it speaks TLS."""

    base_url: str
    cafile: Path | None = None

    @property
    def queue_url(self) -> str:
        return f"{self.base_url}/queue"

    def counts(self) -> dict[str, int]:
        """Requests so far by kind; the fullest second is that since the last call."""
        return self._ask("counts")

    def posts_whole_jobs(self) -> None:
        self._ask("whole")

    def _ask(self, what: str) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=self.cafile) if self.cafile else None
        with urllib.request.urlopen(f"{self.base_url}/{what}", timeout=30, context=context) as reply:  # noqa: S310
            return dict(json.load(reply))

    def environment(self) -> dict[str, str]:
        """What the stock client reads: it speaks nothing but TLS."""
        return {
            "FAL_KEY": "bench:key",
            "FAL_QUEUE_RUN_HOST": f"{urlsplit(self.base_url).netloc}/queue",
            "SSL_CERT_FILE": str(self.cafile),
        }


@contextmanager
def running_fal(*arguments: str, tls: tuple[Path, Path] | None = None) -> Iterator[LightFal]:
    """`arguments` as on its command line; `tls` is a certificate and its key."""
    command = [sys.executable, "-m", "bench.light_fal", *arguments]
    command += ["--tls", *map(str, tls)] if tls else []
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        scheme, cafile = ("https", tls[0]) if tls else ("http", None)
        yield LightFal(f"{scheme}://127.0.0.1:{port}", cafile)
    finally:
        process.kill()
        process.communicate()
