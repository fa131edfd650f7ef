"""A clip costs little memory, however large it is: fetched, opened, wrapped anew and stored, here and in S3.

Measured in a process of its own, over what it needs once it has handled a small clip.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import s3_server
from tests.generations.media.makers import Server, clip, file, heavy_clip

pytestmark = pytest.mark.slow
SIZE_BYTES = 120_000_000
MOST_MIB = 32

MEASURED = """
import sys
import django; django.setup()
from generations.media import fetch_clip, store_clip
def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
def ingest(name):
    with fetch_clip(f"{sys.argv[1]}/{name}") as local:
        return store_clip(name, local, team_id=1)
ingest("small")
before = status("VmRSS")
stored = ingest("large")
print(stored.size_bytes, status("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server.running_s3() as url:
        s3_server.make_bucket(url)
        yield url


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its index is at the end, so that it has to be wrapped anew."""
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    heavy_clip(path, size_bytes=SIZE_BYTES)
    return path


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells how much memory was used"
)
@pytest.mark.parametrize("is_s3", [False, True], ids=["local", "s3"])
def test_a_large_clip_is_brought_home_with_little_memory(
    is_s3: bool, large: Path, server: Server, media_root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    clip(tmp_path / "small.mp4", is_faststart=False)
    server.answers |= {"/small": file(tmp_path / "small.mp4"), "/large": file(large)}
    env = os.environ | {"FAL_CDN_URL": server.url, "MEDIA_ROOT": str(media_root), "TMPDIR": str(tmp_path)}
    if is_s3:
        env |= s3_server.environment(request.getfixturevalue("endpoint"))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, server.url], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    size, grown_mib = done.stdout.split()
    assert int(size) == pytest.approx(SIZE_BYTES, rel=0.02)
    assert float(grown_mib) <= MOST_MIB
