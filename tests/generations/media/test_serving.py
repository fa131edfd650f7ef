"""Files are handed out with the ranges browsers seek by, and never to be sniffed or shared by caches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.signals import request_finished
from django.db import close_old_connections
from django.http import Http404
from django.http.response import HttpResponseBase
from django.test import RequestFactory

from generations.media import serve

CONTENT = bytes(range(256)) * 1000
NAME = "clips/7/g/clip.mp4"
asked: list[HttpResponseBase] = []


@pytest.fixture(autouse=True)
def stored(media_root: Path) -> None:
    (media_root / NAME).parent.mkdir(parents=True)
    (media_root / NAME).write_bytes(CONTENT)
    (media_root.parent / "secret.txt").write_text("not yours")


def ask(
    method: str = "get", name: str = NAME, download_name: str | None = None, **headers: str
) -> HttpResponseBase:
    request = getattr(RequestFactory(), method)("/clip", headers=headers)
    asked.append(serve(request, name, content_type="video/mp4", download_name=download_name))
    return asked[-1]


@pytest.fixture(autouse=True)
def without_a_database() -> Iterator[None]:
    """As Django's own test client does: closing a response must not look after database connections here."""
    request_finished.disconnect(close_old_connections)
    yield
    for response in asked:
        response.close()
    asked.clear()
    request_finished.connect(close_old_connections)


def content(response: HttpResponseBase) -> bytes:
    return b"".join(response)  # type: ignore[arg-type]


def test_the_whole_file_with_the_headers_it_needs() -> None:
    response = ask()
    assert (response.status_code, content(response)) == (200, CONTENT)
    assert response["Content-Type"] == "video/mp4"
    assert response["Content-Length"] == str(len(CONTENT))
    assert response["Cache-Control"] == "private"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Accept-Ranges"] == "bytes"
    assert response["Content-Disposition"] == "inline"


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-1", 0, 1),
        ("bytes=0-0", 0, 0),
        ("bytes=1000-1999", 1000, 1999),
        ("bytes=255000-", 255_000, 255_999),
        ("bytes=-500", 255_500, 255_999),
        ("bytes=255999-255999", 255_999, 255_999),
        ("bytes=255990-999999", 255_990, 255_999),
    ],
)
def test_ranges_give_exactly_these_bytes(wanted: str, first: int, last: int) -> None:
    response = ask(Range=wanted)
    assert response.status_code == 206
    assert response["Content-Range"] == f"bytes {first}-{last}/256000"
    assert response["Content-Length"] == str(last - first + 1)
    assert content(response) == CONTENT[first : last + 1]


def test_a_range_outside_the_file_is_416() -> None:
    response = ask(Range="bytes=256000-")
    assert (response.status_code, response["Content-Range"]) == (416, "bytes */256000")


@pytest.mark.parametrize("wanted", ["bytes=x-y", "pages=1-2", "bytes=0-1,5-6"])
def test_ranges_we_do_not_speak_give_the_whole_file(wanted: str) -> None:
    response = ask(Range=wanted)
    assert (response.status_code, content(response)) == (200, CONTENT)


def test_who_has_it_already_gets_304(media_root: Path) -> None:
    first = ask()
    assert ask(If_None_Match=first["ETag"]).status_code == 304
    changed = ask(Range="bytes=0-9", If_Range='"another"')
    assert (changed.status_code, content(changed)) == (200, CONTENT), "a range of another file is no use"
    same = ask(Range="bytes=0-9", If_Range=first["ETag"])
    assert same.status_code == 206


def test_head_says_the_length_and_sends_nothing() -> None:
    response = ask("head")
    assert (response.status_code, response["Content-Length"], content(response)) == (200, "256000", b"")


def test_nothing_may_be_written_here() -> None:
    assert ask("post").status_code == 405


def test_a_download_has_a_name_that_cannot_break_out_of_its_header() -> None:
    response = ask(download_name='Meer "Abend" ü\r\nX-Bad: 1.mp4')
    assert response["Content-Disposition"].startswith("attachment; filename")
    assert "\n" not in response["Content-Disposition"]


@pytest.mark.parametrize("name", ["", "clips/7/g/missing.mp4", "clips/7/g"])
def test_what_is_not_there_is_404(name: str) -> None:
    with pytest.raises(Http404):
        ask(name=name)


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "clips/../../secret.txt"])
def test_nothing_outside_the_media_is_served(name: str) -> None:
    with pytest.raises(SuspiciousFileOperation):
        ask(name=name)
