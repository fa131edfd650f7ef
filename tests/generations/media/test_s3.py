"""The same against an S3 server: a process of its own, asked over HTTP.

The server (moto) does not check signatures or expiry, so those are read from the link itself.
"""

from __future__ import annotations

import hashlib
import io
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from django.conf import settings as django_settings
from django.core.files.storage import default_storage, storages
from django.test import RequestFactory

from accounts.models import Team, User
from generations import catalogue
from generations.media import (
    LocalClip,
    PictureRefused,
    StorageUnavailable,
    accept_picture,
    prepare_for,
    serve,
    store_clip,
    sweep_scratch,
)
from generations.media.storing import put
from tests.generations.media.makers import clip, encoded, picture
from tests.s3_server import BUCKET, environment, running_s3


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture(autouse=True)
def bucket(endpoint: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Storage as our own settings file makes it from the environment."""
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    made = runpy.run_path(str(Path(django_settings.BASE_DIR) / "config" / "settings.py"))
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    settings.STORAGES = made["STORAGES"]
    settings.MEDIA_LINK_SECONDS = 123
    yield client
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()
    storages["default"].connection.meta.client.close()  # type: ignore[attr-defined]


def keys(client: Any) -> list[str]:
    return [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def store(path: Path) -> Any:
    content = path.read_bytes()
    return store_clip("g", LocalClip(path, len(content), hashlib.sha256(content).hexdigest()), team_id=7)


def test_a_clip_is_stored_and_a_repeat_overwrites_it(bucket: Any, tmp_path: Path) -> None:
    clip(tmp_path / "one.mp4", seconds=1)
    second = clip(tmp_path / "two.mp4", seconds=2)
    store(tmp_path / "one.mp4")
    stored = store(tmp_path / "two.mp4")
    assert keys(bucket) == ["clips/7/g/clip.mp4", "clips/7/g/poster.webp"]
    found = bucket.get_object(Bucket=BUCKET, Key=stored.file)
    assert (found["Body"].read(), found["ContentType"]) == (second, "video/mp4")
    found["Body"].close()


def test_serving_redirects_to_a_link_of_minutes_that_gives_ranges(bucket: Any, tmp_path: Path) -> None:
    content = clip(tmp_path / "clip.mp4")
    stored = store(tmp_path / "clip.mp4")
    request = RequestFactory().get("/clip")
    response = serve(request, stored.file, content_type="video/mp4", download_name="Evening.mp4")
    assert (response.status_code, response["Cache-Control"]) == (302, "private, no-store")
    link = response["Location"]
    signed = parse_qs(urlsplit(link).query)
    assert signed["X-Amz-Expires"] == ["123"]
    assert signed["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    answer = httpx.get(link, headers={"Range": "bytes=10-19"})
    assert (answer.status_code, answer.content) == (206, content[10:20])
    assert answer.headers["content-disposition"] == 'attachment; filename="Evening.mp4"'
    assert httpx.get(link).content == content


def test_a_picture_goes_there_and_comes_back(bucket: Any, team: Team, user: User) -> None:
    raw = encoded(picture(), "JPEG")
    found = accept_picture(io.BytesIO(raw), team=team, user=user)
    assert accept_picture(io.BytesIO(raw), team=team, user=user).pk == found.pk
    assert keys(bucket) == [str(found.file)]
    engine = catalogue.get("fal-ai/minimax/hailuo-2.3/pro/image-to-video")
    sent = prepare_for(engine, found)
    assert hashlib.sha256(sent.file.read()).hexdigest() == found.sha256
    bucket.delete_object(Bucket=BUCKET, Key=str(found.file))
    with pytest.raises(PictureRefused, match="bring the picture again"):
        prepare_for(engine, found)


def test_a_bucket_that_is_gone_is_our_fault_and_says_so(bucket: Any, settings: Any, tmp_path: Path) -> None:
    options = settings.STORAGES["default"]["OPTIONS"] | {"bucket_name": "no-such-bucket"}
    settings.STORAGES = settings.STORAGES | {"default": settings.STORAGES["default"] | {"OPTIONS": options}}
    clip(tmp_path / "clip.mp4")
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        store(tmp_path / "clip.mp4")


def test_files_in_the_making_stay_on_this_host(settings: Any, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    assert sweep_scratch() == 0
    assert len(list(tmp_path.iterdir())) == 1
    assert type(default_storage._wrapped).__name__ == "S3Storage"  # type: ignore[attr-defined]


MEASURED = """
import io, resource, sys
import django; django.setup()
from generations.media.storing import put
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def store(name, size):
    with open(sys.argv[1], "w+b") as file:
        file.truncate(size)
        put(name, file, size_bytes=size, content_type="video/mp4")
store("small", 1000)
before = peak()
store("large", 64_000_000)
print(peak() - before)
"""


def test_a_large_file_is_sent_with_little_memory(bucket: Any, endpoint: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "large.bin")],
        env=os.environ | environment(endpoint),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 32
    assert bucket.head_object(Bucket=BUCKET, Key="large")["ContentLength"] == 64_000_000


def test_bytes_in_memory_are_stored_too(bucket: Any) -> None:
    put("a/b.webp", io.BytesIO(b"poster"), size_bytes=6, content_type="image/webp")
    assert bucket.head_object(Bucket=BUCKET, Key="a/b.webp")["ContentType"] == "image/webp"
