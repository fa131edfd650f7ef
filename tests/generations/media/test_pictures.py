"""Uploads become pictures of the team; pictures become what an engine takes."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from accounts.models import Team, User
from generations import catalogue
from generations.catalogue import Engine
from generations.media import (
    PictureRefused,
    StorageUnavailable,
    accept_picture,
    note,
    prepare_for,
    sample_picture,
    violations,
)
from generations.media.pictures import clean_name
from generations.media.sample import THUMBNAIL_SIZE, draw_sample
from generations.models import Picture
from tests.factories import TeamFactory
from tests.generations.media.conftest import files_in
from tests.generations.media.makers import encoded, picture

HAILUO = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"


def upload(content: bytes, team: Team, user: User, name: str = "photo.jpg") -> Picture:
    return accept_picture(io.BytesIO(content), team=team, user=user, original_name=name)


def engine_with(**limits: Any) -> Engine:
    engine = catalogue.get(HAILUO)
    assert engine.limits.picture is not None
    return replace(engine, limits=replace(engine.limits, picture=replace(engine.limits.picture, **limits)))


def test_an_upload_is_stored_in_the_teams_folder_and_described(
    team: Team, user: User, media_root: Path
) -> None:
    found = upload(encoded(picture(), "PNG"), team, user, "C:\\holiday\\sea\x00side.png")
    found.refresh_from_db()
    stored = (media_root / str(found.file)).read_bytes()
    assert str(found.file) == f"pictures/{team.pk}/{found.pk}.png"
    assert (found.format, found.width, found.height) == ("png", 400, 320)
    assert (found.size_bytes, found.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert (found.original_name, found.team, found.user) == ("seaside.png", team, user)
    assert files_in(media_root) == [str(found.file)], "nothing in the making is left"


def test_a_lying_extension_is_fine_when_it_is_a_picture(team: Team, user: User) -> None:
    assert upload(encoded(picture(), "PNG"), team, user, "virus.exe").format == "png"


def test_the_same_picture_twice_is_one_row_per_team(team: Team, user: User, media_root: Path) -> None:
    raw = encoded(picture(), "JPEG")
    first = upload(raw, team, user)
    assert upload(raw, team, user).pk == first.pk
    other = upload(raw, TeamFactory(), user)
    assert other.pk != first.pk
    assert len(files_in(media_root)) == 2


def test_a_known_picture_whose_file_was_lost_is_stored_again(
    team: Team, user: User, media_root: Path
) -> None:
    raw = encoded(picture(), "JPEG")
    first = upload(raw, team, user)
    (media_root / str(first.file)).unlink()
    with pytest.raises(PictureRefused, match="bring the picture again"):
        prepare_for(catalogue.get(HAILUO), first)
    assert upload(raw, team, user).pk == first.pk
    assert (media_root / str(first.file)).exists()


def test_too_many_bytes_are_refused_without_reading_them_all(team: Team, user: User, settings: Any) -> None:
    settings.MAX_PICTURE_BYTES = 2_000_000
    endless = io.BytesIO(bytes(9_000_000))
    with pytest.raises(PictureRefused, match="at most 2 MB"):
        accept_picture(endless, team=team, user=user)
    assert endless.tell() < 4_000_000


def test_an_empty_file_is_refused(team: Team, user: User) -> None:
    with pytest.raises(PictureRefused, match="empty"):
        upload(b"", team, user)


def test_a_full_disk_leaves_neither_row_nor_file(
    team: Team, user: User, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(StorageUnavailable):
        upload(encoded(picture(), "JPEG"), team, user)
    assert not Picture.objects.exists()
    assert files_in(media_root) == []


def test_a_row_that_cannot_be_written_leaves_no_file(team: Team, media_root: Path) -> None:
    with pytest.raises(ValueError, match="unsaved"):
        upload(encoded(picture(), "JPEG"), team, User(email="nobody@example.com"))
    assert files_in(media_root) == []


def test_what_fits_is_sent_as_it_is_stored(team: Team, user: User, media_root: Path) -> None:
    found = upload(encoded(picture(), "PNG"), team, user)
    engine = catalogue.get(HAILUO)
    prepared = prepare_for(engine, found)
    assert prepared.file.read() == (media_root / str(found.file)).read_bytes()
    assert (prepared.content_type, prepared.file_name) == ("image/png", f"{found.pk}.png")
    assert violations(engine, found) == []


def test_too_many_bytes_for_the_engine_are_our_work(team: Team, user: User) -> None:
    found = upload(encoded(Image.effect_noise((600, 500), 90).convert("RGB"), "PNG"), team, user)
    engine = engine_with(max_bytes=150_000)
    assert found.size_bytes > 150_000
    assert violations(engine, found) == []
    prepared = prepare_for(engine, found)
    content = prepared.file.read()
    assert len(content) <= 150_000
    assert (prepared.content_type, Image.open(io.BytesIO(content)).size) == ("image/jpeg", (600, 500))


def test_a_picture_no_compression_can_fit_is_said_before_any_hold(team: Team, user: User) -> None:
    found = upload(encoded(Image.effect_noise((600, 500), 90).convert("RGB"), "PNG"), team, user)
    engine = engine_with(max_bytes=2_000)
    assert "Make it smaller" in violations(engine, found)[0]
    with pytest.raises(PictureRefused, match="Make it smaller"):
        prepare_for(engine, found)


def test_a_format_the_engine_does_not_take_is_converted(team: Team, user: User) -> None:
    seen_through = picture().convert("RGBA")
    seen_through.putalpha(Image.linear_gradient("L").resize(seen_through.size))
    found = upload(encoded(seen_through, "PNG"), team, user)
    engine = engine_with(formats=("jpeg",))
    assert violations(engine, found) == []
    prepared = prepare_for(engine, found)
    sent = Image.open(prepared.file)
    assert (prepared.content_type, sent.format) == ("image/jpeg", "JPEG")
    red, green, blue = sent.getpixel((200, 0))
    assert min(red, green, blue) > 235, "what was transparent is white, not black"


@pytest.mark.parametrize(
    ("size", "words"), [((200, 200), "at least 301 px"), ((1200, 320), "nothing wider than 2.5")]
)
def test_wrong_sides_are_said_with_the_engines_limits(
    size: tuple[int, int], words: str, team: Team, user: User
) -> None:
    found = upload(encoded(picture(*size), "JPEG"), team, user)
    (said,) = violations(catalogue.get(HAILUO), found)
    assert words in said


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_above_the_engines_largest_side_is_sent_scaled_down(
    kind: str, team: Team, user: User, media_root: Path
) -> None:
    found = upload(encoded(picture(900, 1200), kind), team, user)
    engine = engine_with(max_side_px=600)
    assert violations(engine, found) == []
    assert note(engine, found) == "Will be scaled down to 450 x 600 px, the most Hailuo 2.3 Pro takes."
    sent = Image.open(prepare_for(engine, found).file)
    assert sent.size == (450, 600)
    red, _, blue = sent.convert("RGB").getpixel((100, 300))
    assert red > 150 > blue, "the left half is red still"
    with Image.open(media_root / str(found.file)) as stored:
        assert stored.size == (900, 1200), "what is stored keeps its size"


def test_a_transparent_picture_stays_transparent_when_scaled_down(team: Team, user: User) -> None:
    seen_through = picture(900, 1200).convert("RGBA")
    seen_through.putalpha(Image.linear_gradient("L").resize(seen_through.size))
    found = upload(encoded(seen_through, "PNG"), team, user)
    prepared = prepare_for(engine_with(max_side_px=600), found)
    sent = Image.open(prepared.file)
    assert (prepared.content_type, sent.mode, sent.size) == ("image/png", "RGBA", (450, 600))


def test_a_picture_within_the_sides_is_never_scaled_up(team: Team, user: User, media_root: Path) -> None:
    found = upload(encoded(picture(), "JPEG"), team, user)
    engine = engine_with(max_side_px=4000)
    assert note(engine, found) == ""
    assert prepare_for(engine, found).file.read() == (media_root / str(found.file)).read_bytes()


def test_a_picture_too_small_once_scaled_down_is_refused_with_the_sides_it_came_with(
    team: Team, user: User
) -> None:
    found = upload(encoded(picture(1600, 700), "JPEG"), team, user)
    (said,) = violations(engine_with(max_side_px=600), found)
    assert said == "This picture is 1600 x 700 px; Hailuo 2.3 Pro takes at most 600 px on each side."


def test_a_wrong_ratio_stays_refused_however_large_the_picture_is(team: Team, user: User) -> None:
    found = upload(encoded(picture(2400, 800), "JPEG"), team, user)
    said = violations(engine_with(max_side_px=2000), found)
    assert any("nothing wider than 2.5" in text for text in said)


def test_the_sample_fits_every_orderable_engine(team: Team, user: User) -> None:
    found = sample_picture(team=team, user=user)
    assert sample_picture(team=team, user=user).pk == found.pk
    assert (found.width, found.height, found.format) == (1280, 720, "jpeg")
    takers = [engine for engine in catalogue.orderable() if engine.limits.picture]
    assert takers
    assert {
        engine.endpoint_id: violations(engine, found) for engine in takers if violations(engine, found)
    } == {}


def test_the_thumbnail_in_static_is_the_sample() -> None:
    """To draw it anew: draw_sample().resize(THUMBNAIL_SIZE).save("static/sample.jpg", quality=85, optimize=True)."""
    path = Path(__file__).parents[3] / "static" / "sample.jpg"
    thumbnail = Image.open(path)
    fresh = draw_sample().resize(THUMBNAIL_SIZE)
    distance = [abs(a - b) for a, b in zip(thumbnail.tobytes(), fresh.tobytes(), strict=True)]
    assert sum(distance) / len(distance) < 3
    assert path.stat().st_size < 60_000


def test_names_are_only_for_showing() -> None:
    assert clean_name("../../etc/pass\x1bwd") == "passwd"
    assert len(clean_name("x" * 500)) == 200
