"""Writing into the media storage: the whole file or none of it, under exactly the name asked for.

Two storages are known (see settings): a local directory and S3. A repeat overwrites itself, so work that is done again
after a crash leaves one file and not two.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage

from generations.media import owners
from generations.media.errors import StorageUnavailable

CHUNK_BYTES = 1024 * 1024
STALE_SECONDS = 24 * 60 * 60
SCRATCH = ".incoming"


def put(name: str, content: BinaryIO, *, size_bytes: int, content_type: str) -> None:
    """Store `content` as `name`, replacing what is there. Raises `StorageUnavailable`; then nothing half is left."""
    with storage_errors():
        if is_local():
            _put_local(Path(default_storage.path(name)), content, size_bytes=size_bytes)
            return
        file = File(content, name=name)
        file.content_type = content_type  # type: ignore[attr-defined]  # django-storages reads it from here
        # S3 shows an object only once it is whole; our settings let it overwrite (file_overwrite).
        default_storage.save(name, file)


def forget(*names: str) -> None:
    """Remove files from the media storage; what is not there, or cannot be removed now, is left alone."""
    for name in filter(None, names):
        with suppress(StorageUnavailable), storage_errors():
            default_storage.delete(name)


def is_local() -> bool:
    """Is the media storage a directory of this host?"""
    return isinstance(default_storage, FileSystemStorage)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn a full disk, a refusing bucket or an unreachable endpoint into `StorageUnavailable`."""
    try:
        yield
    except (OSError, ClientError, BotoCoreError) as error:
        raise StorageUnavailable(f"{type(error).__name__}: {error}") from error


@contextmanager
def scratch_file(suffix: str = ".part") -> Iterator[Path]:
    """A path for a file in the making; what is still there at the end is removed."""
    path = scratch_path(suffix)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def scratch_path(suffix: str = ".part") -> Path:
    """A path for a file in the making that the caller removes. Raises `StorageUnavailable`."""
    with storage_errors():
        return _scratch_dir() / f"{owners.this_process()}.{uuid.uuid4().hex}{suffix}"


def sweep_scratch(*, older_than_seconds: float = STALE_SECONDS) -> int:
    """Remove files in the making that a killed process left behind on this host; says how many.

    What a process of this host left goes as soon as it is dead; where nobody can tell whose it is, or the directory is
    shared with other hosts, by its age.
    """
    before = time.time() - older_than_seconds
    stale = [
        path
        for path in _scratch_dir().iterdir()
        if owners.is_gone(path.name.partition(".")[0]) or _modified(path) < before
    ]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def _put_local(target: Path, content: BinaryIO, *, size_bytes: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch_file() as part:
        _require_room(part.parent, size_bytes)
        with part.open("wb") as out:
            shutil.copyfileobj(content, out, CHUNK_BYTES)
            out.flush()
            os.fsync(out.fileno())
        part.replace(target)
    _sync_directory(target.parent)


def _require_room(directory: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < size_bytes:
        raise StorageUnavailable(f"{directory} has {free} bytes free, {size_bytes} are needed")


def _sync_directory(directory: Path) -> None:
    # Without this a power cut may forget the new name although the ledger remembers the capture.
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _scratch_dir() -> Path:
    """Beside the media when they are local, so that moving a file into place is one rename; else a temporary place."""
    if is_local():
        directory = Path(default_storage.path(SCRATCH))
    else:
        root = settings.FILE_UPLOAD_TEMP_DIR or tempfile.gettempdir()
        directory = Path(root) / f"clipledger-incoming-{os.getuid()}"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
