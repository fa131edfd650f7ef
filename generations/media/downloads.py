"""A finished clip, brought home: streamed in pieces of 1 MiB to a file of ours, resumed where the server allows it.

fal's media links are public to anyone who has them and may vanish, so this happens once, at once, and only from hosts
that fal serves files from.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NoReturn, Self
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from generations.media.errors import (
    ClipBroken,
    ClipError,
    ClipGone,
    ClipNotAllowed,
    ClipTooLarge,
    ClipUnreachable,
)
from generations.media.storing import CHUNK_BYTES, scratch_path, storage_errors

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 3
HEADERS = {
    "User-Agent": "Clipledger",
    "Accept": "video/*, application/octet-stream",
    "Accept-Encoding": "identity",
}
NOT_VIDEO = ("text/", "application/json", "application/xml", "application/xhtml")
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

HostCheck = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transfer may take and how often it is taken up again. The total stays below a task's time limit."""

    total_seconds: float = 420
    idle_seconds: float = 30
    connect_seconds: float = 10
    tries: int = 5
    pause_seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class LocalClip:
    """Bytes that arrived whole, not yet believed to be a video. Use it in a `with`: the file goes at the end."""

    path: Path
    size_bytes: int
    sha256: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)


def fetch_clip(
    url: str,
    *,
    max_bytes: int | None = None,
    expected_host_check: HostCheck | None = None,
    patience: Patience | None = None,
) -> LocalClip:
    """Fetch what is behind a link of fal's into a file in the making. At most `MAX_CLIP_BYTES` unless told otherwise.

    Raises `ClipGone`, `ClipBroken`, `ClipTooLarge`, `ClipNotAllowed`, `ClipUnreachable` or `StorageUnavailable`; then
    nothing is left behind.
    """
    path = scratch_path()
    try:
        # Around all of it: what is buffered may find the disk full only when the file is closed.
        with storage_errors(), path.open("w+b", buffering=CHUNK_BYTES) as handle:
            transfer = _Transfer(
                url,
                handle,
                max_bytes=max_bytes or settings.MAX_CLIP_BYTES,
                host_check=expected_host_check or may_fetch_from,
                patience=patience or Patience(),
            )
            size_bytes, sha256 = transfer.run()
        return LocalClip(path, size_bytes, sha256)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def may_fetch_from(host: str) -> bool:
    """Is this a host that fal, as configured here, serves files from? This machine only if the CDN is set to it."""
    host = host.lower().rstrip(".")
    cdn = _host_of(settings.FAL_CDN_URL)
    if _is_loopback(host):
        return _is_loopback(cdn)
    configured = {
        _host_of(url) for url in (settings.FAL_QUEUE_URL, settings.FAL_REST_URL, settings.FAL_CDN_URL)
    }
    return host in configured or any(
        host == suffix or host.endswith(f".{suffix}") for suffix in settings.FAL_MEDIA_HOSTS
    )


class _Transfer:
    """One clip on its way into one file, over as many connections as it takes."""

    def __init__(
        self, url: str, out: BinaryIO, *, max_bytes: int, host_check: HostCheck, patience: Patience
    ) -> None:
        self.url = url
        self.out = out
        self.max_bytes = max_bytes
        self.host_check = host_check
        self.patience = patience
        self.ends_at = time.monotonic() + patience.total_seconds
        self._restart()

    def run(self) -> tuple[int, str]:
        """Size and SHA-256 of what is then in the file."""
        patience = self.patience
        waits = httpx.Timeout(patience.idle_seconds, connect=patience.connect_seconds)
        with httpx.Client(timeout=waits, headers=HEADERS) as client:
            for number in range(1, patience.tries + 1):
                try:
                    self._once(client)
                    break
                except (httpx.TransportError, ClipUnreachable) as error:
                    if number == patience.tries or time.monotonic() > self.ends_at:
                        _give_up(error)
                    time.sleep(patience.pause_seconds * number)
        if not self.size:
            raise ClipBroken("the file is empty")
        return self.size, self.digest.hexdigest()

    def _once(self, client: httpx.Client) -> None:
        url = self._checked(self.url, base=None)
        for _ in range(MAX_REDIRECTS + 1):
            with client.stream("GET", url, headers=self._range()) as response:
                if response.status_code not in REDIRECTS or "location" not in response.headers:
                    self._take(response)
                    return
                location = response.headers["location"]
            url = self._checked(location, base=url)
        raise ClipBroken(f"more than {MAX_REDIRECTS} redirects")

    def _range(self) -> dict[str, str]:
        """Ask for the rest, of the same file only: without a validator it might be the rest of another."""
        if not (self.size and self.validator):
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    def _checked(self, text: str, *, base: httpx.URL | None) -> httpx.URL:
        """The very object that is then fetched, so that no second parser reads another host out of the text."""
        try:
            url = base.join(text) if base else httpx.URL(text)
        except (httpx.InvalidURL, ValueError) as error:
            raise ClipNotAllowed(f"not an address: {text!r}") from error
        if url.scheme not in {"http", "https"} or url.userinfo or not self.host_check(url.host):
            raise ClipNotAllowed(f"clips are not fetched from {url.scheme}://{url.host}")
        return url

    def _take(self, response: httpx.Response) -> None:
        if not self._continues(response):
            self._restart()
            self.validator = _validator(response)
        _check_status(response, is_continued=self.size > 0)
        expected = _content_length(response)
        if expected is not None and self.size + expected > self.max_bytes:
            raise ClipTooLarge(f"{self.size + expected} bytes announced, at most {self.max_bytes} are taken")
        if not self.size:
            self.total = expected
        for chunk in response.iter_raw():
            self._write(chunk)
        if self.total is not None and self.size != self.total:
            raise ClipUnreachable(f"{self.size} bytes of {self.total} came")

    def _continues(self, response: httpx.Response) -> bool:
        """Is this the rest, from where we are to the end, of a file as long as the first answer said?"""
        found = CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
        if response.status_code != 206 or found is None:
            return False
        first, last, total = (int(each) for each in found.groups())
        return first == self.size and last == total - 1 and self.total in {total, None}

    def _write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self.max_bytes:
            raise ClipTooLarge(f"more than {self.max_bytes} bytes")
        if time.monotonic() > self.ends_at:
            raise ClipUnreachable(f"not here after {self.patience.total_seconds:g} seconds")
        self.digest.update(chunk)
        self.out.write(chunk)

    def _restart(self) -> None:
        self.size = 0
        # How long the file is, by the first answer; None where that did not say.
        self.total = None
        self.digest = hashlib.sha256()
        self.validator = ""
        self.out.seek(0)
        self.out.truncate()


def _validator(response: httpx.Response) -> str:
    """The strong ETag of a whole file, by which the rest of it can be asked for later."""
    etag = response.headers.get("etag", "")
    return etag if response.status_code == 200 and not etag.startswith("W/") else ""


def _check_status(response: httpx.Response, *, is_continued: bool) -> None:
    status = response.status_code
    if status >= 500 or status in {408, 416, 425, 429}:
        raise ClipUnreachable(f"the server answered {status}")
    if status == 206 and not is_continued:
        raise ClipUnreachable("the server sent a part that was not asked for")
    if status not in {200, 206}:
        raise ClipGone(f"the server answered {status}")
    kind = response.headers.get("content-type", "").lower()
    if kind.startswith(NOT_VIDEO):
        raise ClipBroken(f"{kind} instead of a video")


def _give_up(error: Exception) -> NoReturn:
    if isinstance(error, ClipError):
        raise error
    # The server ended the body early, every time: the file itself is cut off. Anything else is the way to it.
    if isinstance(error, httpx.RemoteProtocolError):
        raise ClipBroken(f"the transfer breaks off: {error}") from error
    raise ClipUnreachable(f"{type(error).__name__}: {error}") from error


def _content_length(response: httpx.Response) -> int | None:
    text = response.headers.get("content-length", "")
    return int(text) if text.isdecimal() else None


def _host_of(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
