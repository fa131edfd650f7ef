"""fal made a clip and it does not come home: never captured without a playable file, never given up too soon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from generations import lifecycle, media
from generations.media import downloads
from generations.models import Generation
from generations.states import State
from tests.bad_days.story import Story

pytestmark = pytest.mark.django_db
Begin = Callable[..., Story]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer that breaks off is taken up again at once."""
    monkeypatch.setattr(downloads, "Patience", partial(downloads.Patience, pause_seconds=0.01))


@pytest.mark.parametrize(
    ("fault", "code", "fetches"),
    [
        ("download=404", "clip_gone", 3),
        ("download=html", "clip_broken", 3),
        ("download=notvideo", "clip_broken", 3),
        ("download=truncated", "clip_broken", 3),
    ],
)
def test_a_clip_that_is_none_is_tried_three_times_and_not_charged(
    story: Begin, fault: str, code: str, fetches: int
) -> None:
    told = story(fault).drive()
    told.assert_not_charged(code=code)
    assert told.attempt.fetch_failures == fetches
    assert told.attempt.is_maybe_billed, "fal made it and may bill it; the member is not"
    assert len(told.posts) == 1, "nothing is made a second time"


def test_a_clip_that_is_too_large_is_refused_at_once(story: Begin, fal_settings: Settings) -> None:
    fal_settings.MAX_CLIP_BYTES = 500
    story().drive().assert_not_charged(code="clip_too_large")


def test_nothing_is_left_of_a_download_that_failed(story: Begin, fal_settings: Settings) -> None:
    told = story("download=notvideo").drive()
    told.assert_not_charged()
    root = Path(str(fal_settings.MEDIA_ROOT))
    assert [path for path in root.rglob("*") if path.is_file() and "pictures" not in path.parts] == []


def test_a_full_storage_waits_and_captures_nothing_until_there_is_room(story: Begin) -> None:
    told = story().drive(until=State.STORING)
    with mock.patch("generations.media.storing.shutil.disk_usage", return_value=mock.Mock(free=0)):
        for _ in range(5):
            assert not lifecycle.ingest(told.generation.pk)
    told.assert_held()
    assert told.generation.state == State.STORING
    assert told.attempt.fetch_failures == 5
    told.drive().assert_charged()


def test_a_storage_that_stays_full_ends_not_charged_once_fal_has_dropped_the_clip(story: Begin) -> None:
    told = story().drive(until=State.STORING)
    told.backdate(2 * 86_400)
    with mock.patch("generations.media.storing.shutil.disk_usage", return_value=mock.Mock(free=0)):
        lifecycle.ingest(told.generation.pk)
    told.assert_not_charged(code="storage_unavailable")


def test_ingest_twice_at_once_is_ingest_once(story: Begin) -> None:
    told = story().drive(until=State.STORING)
    real, inner = media.fetch_clip, []

    def fetch_and_ring_again(url: str) -> media.LocalClip:
        inner.append(lifecycle.ingest(told.generation.pk))
        return real(url)

    with mock.patch.object(media, "fetch_clip", fetch_and_ring_again):
        assert lifecycle.ingest(told.generation.pk)
    assert inner == [False]
    told.assert_charged()
    assert not lifecycle.ingest(told.generation.pk)


def test_what_nobody_foresaw_is_tried_again_and_holds_no_credits_for_ever(story: Begin) -> None:
    told = story("").drive(until=State.STORING)
    began_at = timezone.now()
    with mock.patch.object(media, "store_clip", side_effect=RuntimeError("no such case")):
        assert not lifecycle.ingest(told.generation.pk)
        told.generation.refresh_from_db()
        assert told.generation.state == State.STORING
        assert told.generation.next_check_at > began_at
        Generation.objects.update(completed_at=timezone.now() - timedelta(hours=2))
        assert lifecycle.ingest(told.generation.pk)
    told.generation.refresh_from_db()
    told.assert_not_charged(code="not_brought_home")
