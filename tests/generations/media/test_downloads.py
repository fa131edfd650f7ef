"""Clips are brought home whole or not at all, from hosts of fal's only."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from generations.media import (
    ClipBroken,
    ClipError,
    ClipGone,
    ClipNotAllowed,
    ClipTooLarge,
    ClipUnreachable,
    StorageUnavailable,
    fetch_clip,
    may_fetch_from,
)
from generations.media.downloads import Patience
from tests.generations.media.conftest import files_in
from tests.generations.media.makers import Answer, Handler, Server, body, in_turn, redirect

QUICK = Patience(total_seconds=5, idle_seconds=0.3, connect_seconds=1, tries=3, pause_seconds=0.01)
CONTENT = os.urandom(3_000_000)


@pytest.fixture(autouse=True)
def cdn(settings: Any, server: Server) -> None:
    settings.FAL_CDN_URL = server.url


def breaking(content: bytes, *, after: int, etag: str = '"v1"', takes_ranges: bool = True) -> Answer:
    """Sends `after` bytes and hangs up; a range request gets the rest, `after` bytes at a time."""

    def answer(handler: Handler) -> None:
        wanted = handler.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and takes_ranges else 0
        if start:
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.send_header("Content-Type", "video/mp4")
        handler.send_header("ETag", etag)
        handler.end_headers()
        handler.wfile.write(content[start : start + after])

    return answer


def test_a_clip_arrives_whole_and_goes_at_the_end_of_the_with(server: Server, media_root: Path) -> None:
    server.answers["/clip.mp4"] = body(CONTENT)
    with fetch_clip(f"{server.url}/clip.mp4", max_bytes=5_000_000, patience=QUICK) as local:
        assert local.path.read_bytes() == CONTENT
        assert (local.size_bytes, local.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert files_in(media_root) == []


def test_a_transfer_that_breaks_is_taken_up_where_it_broke(server: Server) -> None:
    server.answers["/clip.mp4"] = breaking(CONTENT, after=1_200_000)
    with fetch_clip(f"{server.url}/clip.mp4", patience=QUICK) as local:
        assert local.path.read_bytes() == CONTENT
        assert local.sha256 == hashlib.sha256(CONTENT).hexdigest()
    first, second, third = [headers for _, headers in server.seen]
    assert "Range" not in first
    assert 0 < int(second["Range"].removeprefix("bytes=").rstrip("-")) <= 1_200_000
    assert (second["If-Range"], third["If-Range"]) == ('"v1"', '"v1"')


@pytest.mark.parametrize("etag", ['"v1"', 'W/"weak"', ""])
def test_a_server_without_ranges_is_asked_from_the_start(etag: str, server: Server) -> None:
    broken = breaking(CONTENT, after=900_000, etag=etag, takes_ranges=False)
    server.answers["/clip.mp4"] = in_turn(broken, body(CONTENT))
    with fetch_clip(f"{server.url}/clip.mp4", patience=QUICK) as local:
        assert local.path.read_bytes() == CONTENT
    assert ("Range" in server.seen[1][1]) == (etag == '"v1"')


def test_a_part_that_begins_elsewhere_is_not_glued_on(server: Server) -> None:
    def wrong(handler: Handler) -> None:
        handler.reply(206, CONTENT[7:], Content_Range=f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}")

    server.answers["/clip.mp4"] = in_turn(breaking(CONTENT, after=900_000), wrong, body(CONTENT))
    with fetch_clip(f"{server.url}/clip.mp4", patience=QUICK) as local:
        assert local.path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("last", "total"),
    [
        (len(CONTENT) - 1, len(CONTENT) + 5),
        (len(CONTENT) + 4, len(CONTENT) + 5),
        (len(CONTENT) - 9, len(CONTENT)),
        (len(CONTENT) - 1, "*"),
    ],
)
def test_the_rest_of_a_file_of_another_length_is_not_glued_on(
    last: int, total: int | str, server: Server
) -> None:
    """The strong ETag says that it is the same file, and the length says that it is not."""

    def other(handler: Handler) -> None:
        start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        handler.reply(206, bytes(last + 1 - start), Content_Range=f"bytes {start}-{last}/{total}")

    server.answers["/clip.mp4"] = in_turn(breaking(CONTENT, after=900_000), other, body(CONTENT))
    with fetch_clip(f"{server.url}/clip.mp4", patience=QUICK) as local:
        assert local.path.read_bytes() == CONTENT
    assert ["Range" in headers for _, headers in server.seen] == [False, True, False]


def test_a_server_that_refuses_the_range_is_asked_from_the_start(server: Server) -> None:
    server.answers["/clip.mp4"] = in_turn(
        breaking(CONTENT, after=900_000), body(b"", status=416), body(CONTENT)
    )
    with fetch_clip(f"{server.url}/clip.mp4", patience=QUICK) as local:
        assert local.path.read_bytes() == CONTENT
    assert "Range" not in server.seen[2][1]


def stall(handler: Handler) -> None:
    handler.reply(200, CONTENT[:1000], length=len(CONTENT))
    time.sleep(1)


@pytest.mark.parametrize(
    ("answer", "error", "requests"),
    [
        (body(b"", status=404), ClipGone, 1),
        (body(b"", status=410), ClipGone, 1),
        (body(b"", status=403), ClipGone, 1),
        (body(b"", status=500), ClipUnreachable, 3),
        (body(b"", status=503), ClipUnreachable, 3),
        (body(b"", status=429), ClipUnreachable, 3),
        (body(b"<html>sorry</html>", "text/html"), ClipBroken, 1),
        (body(b"{}", "application/json"), ClipBroken, 1),
        (body(b""), ClipBroken, 1),
        (lambda handler: handler.reply(200, CONTENT[:2_000], length=len(CONTENT)), ClipBroken, 3),
        (body(bytes(5_000_001)), ClipTooLarge, 1),
        (stall, ClipUnreachable, 3),
    ],
)
def test_what_does_not_arrive_is_called_by_its_name_and_leaves_nothing(
    answer: Answer, error: type[ClipError], requests: int, server: Server, media_root: Path
) -> None:
    server.answers["/clip.mp4"] = answer
    with pytest.raises(error) as raised:
        fetch_clip(f"{server.url}/clip.mp4", max_bytes=5_000_000, patience=QUICK)
    assert type(raised.value) is error
    assert raised.value.member_message.endswith(".")
    assert len(server.seen) == requests
    assert files_in(media_root) == []


def test_too_much_is_noticed_also_where_no_length_was_given(server: Server) -> None:
    def endless(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n")
        for _ in range(100):
            handler.wfile.write(bytes(100_000))

    server.answers["/clip.mp4"] = endless
    with pytest.raises(ClipTooLarge):
        fetch_clip(f"{server.url}/clip.mp4", max_bytes=2_000_000, patience=QUICK)


def test_a_server_that_drips_is_left_when_the_time_is_over(server: Server) -> None:
    def drip(handler: Handler) -> None:
        handler.reply(200, b"", length=1_000_000)
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.02)

    server.answers["/clip.mp4"] = drip
    began = time.monotonic()
    with pytest.raises(ClipUnreachable, match="not here after"):
        fetch_clip(f"{server.url}/clip.mp4", patience=Patience(total_seconds=0.4, idle_seconds=0.3, tries=3))
    assert time.monotonic() - began < 1.5


def test_nobody_there_is_unreachable() -> None:
    gone = Server()
    gone.stop()
    with pytest.raises(ClipUnreachable):
        fetch_clip(f"{gone.url}/clip.mp4", patience=QUICK)


def test_redirects_are_checked_like_the_first_address(server: Server) -> None:
    server.answers |= {
        "/clip.mp4": body(CONTENT),
        "/ok": redirect("/clip.mp4"),
        "/out": redirect("http://169.254.169.254/latest"),
        "/file": redirect("file:///etc/passwd"),
        "/round": redirect("/round"),
    }
    with fetch_clip(f"{server.url}/ok", patience=QUICK) as local:
        assert local.size_bytes == len(CONTENT)
    for path in ("/out", "/file"):
        with pytest.raises(ClipNotAllowed):
            fetch_clip(f"{server.url}{path}", patience=QUICK)
    with pytest.raises(ClipBroken, match="redirects"):
        fetch_clip(f"{server.url}/round", patience=QUICK)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "https://evil.example/clip.mp4", "http://fal.media.evil.example/x", "http://notfal.media/x",
     "https://user:pw@v3.fal.media/x", "https://evil.example#v3.fal.media", "https://evil.example\\@v3.fal.media/x",
     "http://[::1", "", "clip.mp4", "ftp://v3.fal.media/x"],
)  # fmt: skip
def test_other_places_are_never_asked(url: str) -> None:
    with pytest.raises(ClipNotAllowed):
        fetch_clip(url, patience=QUICK)


def test_the_list_of_hosts(settings: Any) -> None:
    settings.FAL_CDN_URL = "https://v3.fal.media"
    for host in ("v3.fal.media", "fal.media", "V3B.FAL.MEDIA.", "storage.googleapis.com", "queue.fal.run"):
        assert may_fetch_from(host), host
    for host in ("fal.media.example", "xfal.media", "127.0.0.1", "localhost", "::1", "10.0.0.1", ""):
        assert not may_fetch_from(host), host
    settings.FAL_CDN_URL = "http://127.0.0.1:9000"
    assert may_fetch_from("localhost")
    assert not may_fetch_from("10.0.0.1")


def test_the_caller_may_bring_a_check_of_its_own(server: Server) -> None:
    with pytest.raises(ClipNotAllowed):
        fetch_clip(
            f"{server.url}/clip.mp4", expected_host_check={"v3.fal.media"}.__contains__, patience=QUICK
        )
    assert server.seen == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_our_fault_and_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """/dev/full answers every write with the kernel's own ENOSPC."""
    full = tmp_path / "full.part"
    full.symlink_to("/dev/full")
    monkeypatch.setattr("generations.media.downloads.scratch_path", lambda: full)
    monkeypatch.setattr("generations.media.downloads._Transfer._restart", _restart_without_truncating)
    server.answers["/clip.mp4"] = body(CONTENT)
    with pytest.raises(StorageUnavailable) as raised:
        fetch_clip(f"{server.url}/clip.mp4", patience=QUICK)
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.ENOSPC
    assert raised.value.is_retryable
    assert not full.is_symlink()


def _restart_without_truncating(transfer: Any) -> None:
    transfer.size, transfer.digest, transfer.validator = (
        0,
        hashlib.sha256(),
        "",
    )  # a device cannot be truncated


MEASURED = """
import os, resource, sys
import django; django.setup()
from generations.media import fetch_clip
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with fetch_clip(sys.argv[1] + "/small") as local: pass
before = peak()
with fetch_clip(sys.argv[1] + "/large") as local:
    print(local.size_bytes, peak() - before)
"""


def test_a_large_clip_needs_little_memory(server: Server, media_root: Path) -> None:
    megabyte = bytes(1_000_000)

    def large(handler: Handler) -> None:
        handler.reply(200, b"", length=200_000_000)
        for _ in range(200):
            handler.wfile.write(megabyte)

    server.answers |= {"/small": body(megabyte), "/large": large}
    environment = os.environ | {"FAL_CDN_URL": server.url, "MEDIA_ROOT": str(media_root)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, server.url],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    size, grown_mib = done.stdout.split()
    assert int(size) == 200_000_000
    assert float(grown_mib) < 32
