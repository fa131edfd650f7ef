"""A clip counts only when it plays, and is stored whole under its own name."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from PIL import Image, ImageStat

from generations.media import (
    ClipBroken,
    LocalClip,
    StorageUnavailable,
    owners,
    poster,
    probe,
    store_clip,
    sweep_scratch,
)
from generations.media.probing import starts_at_once
from generations.media.storing import put, scratch_path
from tests.generations.media.conftest import files_in
from tests.generations.media.makers import clip, encoded, picture, silence


def local(path: Path) -> LocalClip:
    content = path.read_bytes()
    return LocalClip(path, len(content), hashlib.sha256(content).hexdigest())


def test_the_facts_are_read_from_the_clip_itself(tmp_path: Path) -> None:
    path = tmp_path / "anything.bin.mp4"
    clip(path, seconds=2, rate=12, size=(160, 90), has_audio=True)
    facts = probe(path)
    assert (facts.width, facts.height, facts.fps, facts.codec) == (160, 90, 12.0, "h264")
    assert facts.duration_seconds == pytest.approx(2, abs=0.1)
    assert (facts.has_audio, facts.content_type) == (True, "video/mp4")


def test_webm_is_a_video_too(tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    clip(path, seconds=1, codec="libvpx-vp9")
    facts = probe(path)
    assert (facts.codec, facts.content_type, facts.has_audio) == ("vp9", "video/webm", False)
    stored = store_clip("g", local(path), team_id=1)
    assert stored.file == "clips/1/g/clip.webm"


def test_a_clip_of_one_frame_plays(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    clip(path, seconds=0.01, rate=10)
    assert probe(path).duration_seconds == pytest.approx(0.1, abs=0.05)
    assert poster(path)


@pytest.mark.parametrize("is_faststart", [True, False])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.97])
def test_a_truncated_clip_is_broken(part: float, is_faststart: bool, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    content = clip(path, seconds=3, is_faststart=is_faststart)
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ClipBroken):
        probe(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!doctype html><html><body>502 Bad Gateway</body></html>",
        b'{"detail": "Not found"}',
        b"\x00\x00\x00\x18ftypisom" + bytes(4_000),
        b"\x1a\x45\xdf\xa3" + bytes(4_000),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        encoded(picture(), "PNG"),
        encoded(picture(), "GIF"),
    ],
)
def test_what_is_no_video_is_broken(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    for check in (probe, poster):
        with pytest.raises(ClipBroken):
            check(path)


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        sound = out.add_stream("aac", rate=44_100, layout="mono")
        silence(out, sound, seconds=1)
    with pytest.raises(ClipBroken, match="no picture"):
        probe(path)


def test_the_poster_is_not_black_although_the_clip_begins_so(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    clip(path, seconds=4, dark_until=1)
    image = Image.open(io.BytesIO(poster(path)))
    assert (image.format, image.size) == ("WEBP", (160, 90))
    assert ImageStat.Stat(image.convert("L")).mean[0] > 40


def test_a_clip_that_is_dark_throughout_still_has_a_poster(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    clip(path, seconds=1, dark_until=9)
    assert Image.open(io.BytesIO(poster(path))).size == (160, 90)


def test_a_large_poster_is_made_smaller(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    clip(path, seconds=0.1, size=(1920, 1080))
    assert Image.open(io.BytesIO(poster(path))).size == (1280, 720)


def test_a_clip_is_stored_byte_for_byte_with_its_poster(tmp_path: Path, media_root: Path) -> None:
    content = clip(tmp_path / "clip.mp4")
    generation_id = uuid.uuid4()
    stored = store_clip(generation_id, local(tmp_path / "clip.mp4"), team_id=7)
    assert (stored.file, stored.poster) == (
        f"clips/7/{generation_id}/clip.mp4",
        f"clips/7/{generation_id}/poster.webp",
    )
    assert (media_root / stored.file).read_bytes() == content
    assert (stored.size_bytes, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (media_root / stored.poster).read_bytes()[8:12] == b"WEBP"
    assert stored.facts.width == 160


def test_a_repeat_overwrites_itself(tmp_path: Path, media_root: Path) -> None:
    clip(tmp_path / "one.mp4", seconds=1)
    second = clip(tmp_path / "two.mp4", seconds=2)
    store_clip("g", local(tmp_path / "one.mp4"), team_id=7)
    store_clip("g", local(tmp_path / "two.mp4"), team_id=7)
    assert files_in(media_root) == ["clips/7/g/clip.mp4", "clips/7/g/poster.webp"]
    assert (media_root / "clips/7/g/clip.mp4").read_bytes() == second


def test_an_index_at_the_end_is_moved_to_the_front_without_encoding_anew(
    tmp_path: Path, media_root: Path
) -> None:
    path = tmp_path / "clip.mp4"
    clip(path, is_faststart=False, has_audio=True)
    assert not starts_at_once(path)
    stored = store_clip("g", local(path), team_id=7)
    kept = media_root / stored.file
    assert starts_at_once(kept)
    assert (stored.size_bytes, stored.sha256) == (
        kept.stat().st_size,
        hashlib.sha256(kept.read_bytes()).hexdigest(),
    )
    assert probe(kept) == stored.facts
    assert packets(kept) == packets(path)
    assert files_in(media_root) == [stored.file, stored.poster]


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_a_broken_clip_is_not_stored(tmp_path: Path, media_root: Path) -> None:
    content = clip(tmp_path / "clip.mp4", seconds=3)
    (tmp_path / "clip.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(ClipBroken) as raised:
        store_clip("g", local(tmp_path / "clip.mp4"), team_id=7)
    assert (raised.value.is_retryable, raised.value.max_tries) == (True, 3)
    assert files_in(media_root) == []


def test_a_full_disk_is_seen_before_the_first_byte(
    tmp_path: Path, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(tmp_path / "clip.mp4")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(StorageUnavailable):
        store_clip("g", local(tmp_path / "clip.mp4"), team_id=7)
    assert files_in(media_root) == []


def test_a_write_that_fails_half_way_leaves_the_old_file_whole(media_root: Path) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 2_000_000:
                raise OSError(28, "No space left on device")
            return super().read(size)

    put("a/b.bin", io.BytesIO(b"old"), size_bytes=3, content_type="application/octet-stream")
    with pytest.raises(StorageUnavailable, match="No space left"):
        put("a/b.bin", Failing(bytes(5_000_000)), size_bytes=5, content_type="application/octet-stream")
    assert files_in(media_root) == ["a/b.bin"]
    assert (media_root / "a/b.bin").read_bytes() == b"old"


def test_a_storage_that_is_in_the_way_is_unavailable(media_root: Path) -> None:
    media_root.parent.mkdir(exist_ok=True)
    media_root.write_text("a file where the directory should be")
    with pytest.raises(StorageUnavailable):
        put("a/b.bin", io.BytesIO(b"new"), size_bytes=3, content_type="application/octet-stream")


def test_what_a_killed_process_left_in_the_making_is_swept(media_root: Path) -> None:
    old, young = scratch_path(), scratch_path()
    for path in (old, young):
        path.write_bytes(b"half a clip")
    os.utime(old, (1, 1))
    assert sweep_scratch() == 1
    assert (old.exists(), young.exists()) == (False, True)


MAKING = """
import sys, time
import django; django.setup()
from generations.media.storing import scratch_path
scratch_path().write_bytes(b"half a clip")
print("written", flush=True)
time.sleep(60)
"""


def making(media_root: Path) -> subprocess.Popen[str]:
    """A process in the middle of a clip."""
    env = os.environ | {"MEDIA_ROOT": str(media_root)}
    process = subprocess.Popen([sys.executable, "-c", MAKING], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.stdout.close()
    return process


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells which process is which")
def test_what_a_process_was_making_goes_when_it_is_killed_and_not_before(media_root: Path) -> None:
    killed, living = making(media_root), making(media_root)
    try:
        assert sweep_scratch() == 0
        killed.kill()
        while Path(f"/proc/{killed.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        assert sweep_scratch() == 1, "dead, and its parent has not yet asked"
        killed.wait()
        (left,) = (media_root / ".incoming").iterdir()
        assert f"-{living.pid}-" in left.name
    finally:
        for process in (killed, living):
            process.kill()
            process.wait()
    assert sweep_scratch() == 1


@pytest.mark.parametrize("owner", ["unknown", "0123456789ab-{pid}-1", "{machine}-{pid}-now", "{machine}", ""])
def test_whose_process_is_not_known_is_not_taken_for_dead(owner: str, media_root: Path) -> None:
    machine, pid, _ = owners.this_process().split("-")
    path = scratch_path().with_name(f"{owner.format(machine=machine, pid=pid)}.0.part")
    path.write_bytes(b"half a clip")
    assert sweep_scratch() == 0
    assert path.exists()


def test_a_number_that_came_round_again_is_another_process(media_root: Path) -> None:
    machine, pid, began_at = owners.this_process().split("-")
    scratch_path().with_name(f"{machine}-{pid}-{int(began_at) - 1}.0.part").write_bytes(b"half a clip")
    assert sweep_scratch() == 1
