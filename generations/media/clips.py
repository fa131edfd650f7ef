"""Clips out: what was fetched is proved to play, made to start at once in a browser, and stored with its poster."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from generations.media.downloads import LocalClip
from generations.media.probing import ClipFacts, poster, probe, rewrap, starts_at_once
from generations.media.storing import put, scratch_file, storage_errors


@dataclass(frozen=True, slots=True)
class StoredClip:
    """A clip in our storage. `file` and `poster` are names there; size and SHA-256 are of the stored file."""

    file: str
    poster: str
    size_bytes: int
    sha256: str
    facts: ClipFacts


def store_clip(generation_id: UUID | str, local: LocalClip, *, team_id: int) -> StoredClip:
    """Check and store a fetched clip under names that depend on the generation alone, so that a repeat overwrites.

    Raises `ClipBroken` when it does not play, `StorageUnavailable` when it cannot be stored; then no half file is left.
    """
    facts = probe(local.path)
    still = poster(local.path)
    folder = f"clips/{team_id}/{generation_id}"
    name = f"{folder}/clip.{'webm' if facts.content_type == 'video/webm' else 'mp4'}"
    with _browser_ready(local) as ready:
        with storage_errors(), ready.path.open("rb") as content:
            put(name, content, size_bytes=ready.size_bytes, content_type=facts.content_type)
        poster_name = f"{folder}/poster.webp"
        put(poster_name, io.BytesIO(still), size_bytes=len(still), content_type="image/webp")
        return StoredClip(name, poster_name, ready.size_bytes, ready.sha256, facts)


@contextmanager
def _browser_ready(local: LocalClip) -> Iterator[LocalClip]:
    """The clip as it came, or with its index moved to the front where it was at the end."""
    if starts_at_once(local.path):
        yield local
        return
    with scratch_file(".mp4") as path:
        rewrap(local.path, path)
        probe(path)
        yield LocalClip(path, path.stat().st_size, _sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
