"""The clips are real: opened and decoded with PyAV, of the length and shape that was ordered."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pytest
from PIL import Image

from generations.sandbox.clips import Plan, StoppedError, render
from tests.generations.sandbox.conftest import PICTURE_ENGINE, TEXT_ENGINE, Caller, picture_uri

WAN = "fal-ai/wan/v2.2-a14b/image-to-video"
KLING = "fal-ai/kling-video/v2.5-turbo/pro/image-to-video"
VEO = "fal-ai/veo3.1"
CASES = [
    (TEXT_ENGINE, {}, 6, 16 / 9, False),
    (PICTURE_ENGINE, {"image_url": picture_uri(400, 320)}, 6, 1.25, False),
    (KLING, {"image_url": picture_uri(320, 400), "duration": "10"}, 10, 0.8, False),
    (WAN, {"image_url": picture_uri(640, 320), "num_frames": 49}, 49 / 16, 2.0, False),
    (VEO, {"duration": "4s", "aspect_ratio": "9:16", "generate_audio": True}, 4, 9 / 16, True),
    (VEO, {"duration": "8s", "generate_audio": False}, 8, 16 / 9, False),
]


def measured(raw: bytes | Path) -> tuple[float, float, int]:
    """Seconds, width / height and number of sound tracks of a clip, after decoding every frame."""
    with av.open(io.BytesIO(raw) if isinstance(raw, bytes) else str(raw)) as clip:
        stream = clip.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        ratio, sounds, rate = stream.width / stream.height, len(clip.streams.audio), stream.average_rate
        assert rate
        return sum(1 for _ in clip.decode(video=0)) / float(rate), ratio, sounds


@pytest.mark.parametrize(("engine", "params", "seconds", "ratio", "has_audio"), CASES)
def test_a_clip_has_the_length_shape_and_sound_ordered(
    caller: Caller, engine: str, params: dict[str, object], seconds: float, ratio: float, *, has_audio: bool
) -> None:
    reply = caller.outcome("A fox", engine=engine, params=params)
    raw = caller.http.get(reply.json()["video"]["url"]).content
    got_seconds, got_ratio, sounds = measured(raw)
    assert got_seconds == pytest.approx(seconds, abs=0.3)
    assert got_ratio == pytest.approx(ratio, rel=0.02)
    assert bool(sounds) is has_audio
    assert raw.index(b"moov") < raw.index(b"mdat")


def test_the_result_has_the_engines_own_shape(caller: Caller) -> None:
    body = caller.outcome("A fox", engine=WAN, params={"image_url": picture_uri()}).json()
    assert {"video", "seed", "prompt"} <= set(body)
    assert set(caller.outcome("A fox").json()) == {"video"}


def test_an_uploaded_picture_is_taken_from_our_own_cdn(caller: Caller) -> None:
    address = f"{caller.sandbox.rest_url}/storage/upload/initiate?storage_type=fal-cdn-v3"
    where = caller.http.post(address, json={"file_name": "fox one.png", "content_type": "image/png"}).json()
    buffer = io.BytesIO()
    Image.new("RGB", (500, 500), "orange").save(buffer, "PNG")
    assert caller.http.get(where["file_url"]).status_code == 404
    assert caller.http.put(where["upload_url"], content=buffer.getvalue()).status_code == 200
    back = caller.http.get(where["file_url"])
    assert (back.content, back.headers["content-type"]) == (buffer.getvalue(), "image/png")
    reply = caller.outcome("A fox", engine=PICTURE_ENGINE, params={"image_url": where["file_url"]})
    clip = caller.http.get(reply.json()["video"]["url"]).content
    assert measured(clip)[1] == pytest.approx(1.0, rel=0.02)


def test_an_expired_clip_is_gone(caller: Caller) -> None:
    headers = {"X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds": 0.01}'}
    reply = caller.outcome("A fox", headers=headers)
    assert caller.http.get(reply.json()["video"]["url"]).status_code == 404


def first_frame(path: Path) -> Image.Image:
    with av.open(str(path)) as clip:
        return next(clip.decode(video=0)).to_image()


def test_a_full_clip_shows_the_picture_the_prompt_and_the_mark(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.new("RGB", (600, 400), (220, 60, 20)).save(picture)
    for name, prompt in (("words", "A red fox runs"), ("none", "")):
        plan = Plan(seconds=1, ratio=None, has_audio=True, prompt=prompt)
        render(plan, tmp_path / f"{name}.mp4", picture=picture)
    assert measured(tmp_path / "words.mp4") == (1.0, 1.5, 1)
    words, none = first_frame(tmp_path / "words.mp4"), first_frame(tmp_path / "none.mp4")
    assert words.size == (960, 640)
    red, green, blue = words.getpixel((480, 320))
    assert red > 190
    assert max(green, blue) < 90
    bottom, corner = (0, 600, 960, 640), (760, 0, 960, 30)
    assert words.crop(bottom).getextrema()[1][1] > 180
    assert none.crop(bottom).getextrema()[1][1] < 90
    assert none.crop(corner).getextrema()[1][1] > 180


def test_the_picture_moves(tmp_path: Path) -> None:
    render(Plan(seconds=1, ratio=1.0, has_audio=False, prompt=""), tmp_path / "clip.mp4", picture=None)
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        frames = [frame.to_image() for frame in clip.decode(video=0)]
    assert frames[0].tobytes() != frames[-1].tobytes()


def test_a_stopped_clip_leaves_nothing_behind(tmp_path: Path) -> None:
    plan = Plan(seconds=1, ratio=1.0, has_audio=False, prompt="")
    with pytest.raises(StoppedError):
        render(plan, tmp_path / "clip.mp4", picture=None, should_stop=lambda: True)
    assert list(tmp_path.iterdir()) == []
