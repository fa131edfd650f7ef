"""Pictures in: what a person uploads becomes a `Picture` of the team, and a `Picture` becomes what an engine takes."""

from __future__ import annotations

import hashlib
import io
import unicodedata
import uuid
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, Protocol

from django.conf import settings
from django.core.files.storage import default_storage

from accounts.models import Team, User
from generations import catalogue
from generations.catalogue import Engine
from generations.catalogue.pictures import MIB
from generations.media import stills
from generations.media.errors import PictureRefused
from generations.media.stills import Still
from generations.media.storing import CHUNK_BYTES, put, storage_errors
from generations.models import Picture

RAW_BYTES = 4  # per pixel: no encoding of ours takes more
LOWER_QUALITIES = (90, 85, 80, 72, 64, 55, 45)


class Readable(Protocol):
    """An upload, a file, or bytes in memory."""

    def read(self, size: int = ..., /) -> bytes: ...


class Prepared(NamedTuple):
    """The bytes an engine is sent."""

    file: BinaryIO
    content_type: str
    file_name: str


def accept_picture(file: Readable, *, team: Team, user: User, original_name: str = "") -> Picture:
    """Decode, turn upright, strip and store a picture, or find the same one of this team again.

    Raises `PictureRefused` with a sentence for the member, `StorageUnavailable` when it cannot be stored.
    """
    still = stills.normalise(read_capped(file))
    return keep_still(still, team=team, user=user, original_name=original_name)


def keep_still(still: Still, *, team: Team, user: User, original_name: str) -> Picture:
    """Store a still of ours as a picture of this team, once per content. Raises `StorageUnavailable`."""
    sha256 = hashlib.sha256(still.content).hexdigest()
    picture = Picture.objects.filter(team=team, sha256=sha256).order_by("created_at").first()
    if picture is not None:
        if not _is_stored(picture):
            _put(str(picture.file), still)
        return picture
    picture_id = uuid.uuid4()
    name = f"pictures/{team.pk}/{picture_id}.{stills.SUFFIXES[still.format]}"
    _put(name, still)
    try:
        return Picture.objects.create(
            id=picture_id,
            team=team,
            user=user,
            file=name,
            original_name=clean_name(original_name),
            format=still.format,
            width=still.width,
            height=still.height,
            size_bytes=len(still.content),
            sha256=sha256,
        )
    except Exception:
        default_storage.delete(name)
        raise


def violations(engine: Engine, picture: Picture) -> list[str]:
    """What is wrong with this picture for this engine, in sentences; empty when `prepare_for` would fit.

    Judged is what would be sent: a wrong format, too many bytes and too large a side are our work to mend; a side
    too small and a wrong ratio are not. Where scaling down does not help, the sentences name the sides it came with.
    """
    form, size_bytes = picture.format, picture.size_bytes
    width, height = _sent_sides(engine, picture)
    if _surely_fits(engine, picture):
        size_bytes = width * height * RAW_BYTES
    elif _must_change(engine, picture):
        try:
            content, form = _recoded(engine, picture)
            size_bytes = len(content)
        except PictureRefused as refusal:
            return [refusal.member_message]
    if not catalogue.check_picture(engine, format=form, bytes=size_bytes, width=width, height=height):
        return []
    return catalogue.check_picture(
        engine, format=form, bytes=size_bytes, width=picture.width, height=picture.height
    )


def note(engine: Engine, picture: Picture) -> str:
    """What is done to a picture that fits the engine only scaled down, for the member; empty when nothing is."""
    if not _is_scaled(engine, picture):
        return ""
    width, height = _sent_sides(engine, picture)
    return f"Will be scaled down to {width} x {height} px, the most {engine.label} takes."


def prepare_for(engine: Engine, picture: Picture) -> Prepared:
    """The picture in a format, a number of bytes and with sides the engine takes.

    Raises `PictureRefused` when no encoding fits or our copy is gone, `StorageUnavailable` when it cannot be read.
    """
    if _must_change(engine, picture):
        content, form = _recoded(engine, picture)
    else:
        content, form = _stored_bytes(picture), picture.format
    name = f"{picture.pk}.{stills.SUFFIXES[form]}"
    return Prepared(io.BytesIO(content), stills.CONTENT_TYPES[form], name)


def read_capped(file: Readable) -> bytes:
    """All of it, unless it is empty or over the limit. Raises `PictureRefused`; never holds more than the limit."""
    limit = settings.MAX_PICTURE_BYTES
    content = bytearray()
    while chunk := file.read(CHUNK_BYTES):
        content += chunk
        if len(content) > limit:
            raise too_large()
    if not content:
        raise PictureRefused(f"This file is empty; bring a {stills.TAKEN} picture.")
    return bytes(content)


def too_large() -> PictureRefused:
    return PictureRefused(
        f"This file is too large; a picture may have at most {settings.MAX_PICTURE_BYTES / 1e6:g} MB."
    )


def clean_name(name: str) -> str:
    """The last part of what a browser or an address calls the file, printable and short; only ever shown."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip()[:200]


def _must_change(engine: Engine, picture: Picture) -> bool:
    limits = engine.limits.picture
    if limits is None:
        return False
    is_heavy = picture.size_bytes > (limits.max_bytes or picture.size_bytes)
    return picture.format not in limits.formats or is_heavy or _is_scaled(engine, picture)


def _sent_sides(engine: Engine, picture: Picture) -> tuple[int, int]:
    return catalogue.fitting_sides(engine, width=picture.width, height=picture.height)


def _is_scaled(engine: Engine, picture: Picture) -> bool:
    return _sent_sides(engine, picture) != (picture.width, picture.height)


def _surely_fits(engine: Engine, picture: Picture) -> bool:
    """Scaling is all it needs and cannot give too many bytes: a form that is judged often need not try it out."""
    limits = engine.limits.picture
    if limits is None or picture.format not in limits.formats or not _is_scaled(engine, picture):
        return False
    width, height = _sent_sides(engine, picture)
    return width * height * RAW_BYTES <= (limits.max_bytes or settings.MAX_PICTURE_BYTES)


def _recoded(engine: Engine, picture: Picture) -> tuple[bytes, str]:
    """Bytes and format that fit. A transparent picture stays so if its PNG fits; else JPEG, as good as will fit."""
    limits = engine.limits.picture
    assert limits is not None
    most = limits.max_bytes or settings.MAX_PICTURE_BYTES
    image = stills.scaled(stills.decode(_stored_bytes(picture)), _sent_sides(engine, picture))
    may_shrink = picture.format != "png" or _is_scaled(engine, picture)
    if image.mode == "RGBA" and "png" in limits.formats and may_shrink:
        content = stills.encode(image, "png")
        if len(content) <= most:
            return content, "png"
    for quality in (stills.JPEG_QUALITY, *LOWER_QUALITIES):
        content = stills.encode(image, "jpeg", quality=quality)
        if len(content) <= most:
            return content, "jpeg"
    raise PictureRefused(
        f"This picture does not fit into the {most / MIB:g} MB {engine.label} takes, "
        "however much it is compressed. Make it smaller first."
    )


def _stored_bytes(picture: Picture) -> bytes:
    with storage_errors():
        try:
            with default_storage.open(str(picture.file)) as stored:
                return bytes(stored.read())
        except FileNotFoundError as error:
            raise PictureRefused(
                "Our copy of this picture is gone; please bring the picture again."
            ) from error


def _is_stored(picture: Picture) -> bool:
    with storage_errors():
        return default_storage.exists(str(picture.file))


def _put(name: str, still: Still) -> None:
    content_type = stills.CONTENT_TYPES[still.format]
    put(name, io.BytesIO(still.content), size_bytes=len(still.content), content_type=content_type)
