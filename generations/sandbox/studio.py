"""Pictures in, clips out: fetches what a job was given, and draws its clip in a worker thread when it is wanted.

A clip is drawn while its job runs if the studio is idle, otherwise on its first download: a thousand jobs in flight
cost a thousand rows. PyAV and Pillow let go of the interpreter while they work, so the server keeps answering.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import aiohttp
from PIL import Image, UnidentifiedImageError

from generations.sandbox import clips, engines
from generations.sandbox.directives import strip
from generations.sandbox.failures import Failure, failure
from generations.sandbox.options import Options
from generations.sandbox.store import Row, Store

FETCH_TIMEOUT_SECONDS = 20
MAX_PICTURE_BYTES = 30 * 1024 * 1024
DRAWERS, EAGER = 2, 4
CDN_PATH = "/cdn/files/"


class UnreachableError(Exception):
    """The picture's address gave nothing we can use."""


@dataclass
class Studio:
    """Where pictures and clips lie on disk, and who is drawing which."""

    options: Options
    store: Store
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(DRAWERS, "sandbox-clip"))
    _drawing: dict[str, asyncio.Future[Path]] = field(default_factory=dict)
    _eager: set[asyncio.Task[None]] = field(default_factory=set)
    _is_closing: threading.Event = field(default_factory=threading.Event)
    _session: aiohttp.ClientSession | None = None

    async def fetch(self, address: str, *, min_side_px: int = 0) -> tuple[str, Failure | None]:
        """Bring a picture to disk; returns its path ('' when none was given) or what a runner would answer."""
        if not address:
            return "", None
        try:
            path = self._keep(await self._read(address))
        except UnreachableError:
            return "", failure(422, "file_download_error", loc=["body", "image_url"])
        loop = asyncio.get_running_loop()
        kind = await loop.run_in_executor(self._pool, _picture_problem, path, min_side_px)
        if not kind:
            return str(path), None
        context = {"min_width": min_side_px, "min_height": min_side_px} if kind == "image_too_small" else None
        return str(path), failure(422, kind, loc=["body", "image_url"], context=context)

    def begin(self, request_id: str) -> None:
        """Draw a running job's clip ahead of time, unless others are waiting already."""
        if len(self._drawing) < EAGER:
            task = asyncio.create_task(self._quietly(request_id))
            self._eager.add(task)
            task.add_done_callback(self._eager.discard)

    def reserve(self, job: Row) -> None:
        """Enter a finished job's clip among the files; it expires when the submit's lifecycle header says so."""
        seconds = job["lifecycle_seconds"]
        self.store.execute("DELETE FROM files WHERE name = ?", f"{job['request_id']}/output.mp4")
        self.store.insert(
            "files",
            name=f"{job['request_id']}/output.mp4",
            content_type="video/mp4",
            created_at=time.time(),
            expires_at=time.time() + seconds if seconds else None,
            path=str(self._clip_path(job)),
            is_ready=1,
        )

    async def clip(self, request_id: str) -> Path:
        """Return the path of a job's clip, drawing it first where needed."""
        job = self.store.job(request_id)
        if job is None:
            raise LookupError(request_id)
        path = self._clip_path(job)
        if path.exists():
            return path
        if str(path) not in self._drawing:
            drawing = asyncio.ensure_future(self._draw(job, path))
            self._drawing[str(path)] = drawing
            drawing.add_done_callback(lambda _: self._drawing.pop(str(path), None))
        return await asyncio.shield(self._drawing[str(path)])

    def clip_bytes(self, job: Row) -> int | None:
        """The clip's size, where it has been drawn already."""
        path = self._clip_path(job)
        return path.stat().st_size if path.exists() else None

    async def close(self) -> None:
        self._is_closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._session:
            await self._session.close()

    async def _quietly(self, request_id: str) -> None:
        try:
            await self.clip(request_id)
        except (clips.StoppedError, asyncio.CancelledError, LookupError, OSError):
            return

    async def _draw(self, job: Row, path: Path) -> Path:
        picture = Path(job["picture"]) if job["picture"] else None
        plan, is_fast = self._plan(job), self.options.fast_clips
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._pool,
            lambda: clips.render(
                plan, path, picture=picture, is_fast=is_fast, should_stop=self._is_closing.is_set
            ),
        )
        return path

    def _plan(self, job: Row) -> clips.Plan:
        spec = engines.find(job["endpoint_id"])
        if spec is None:
            raise LookupError(job["endpoint_id"])
        return spec.plan(self.store.input(job["request_id"]), prompt=strip(job["prompt"]))

    def _clip_path(self, job: Row) -> Path:
        """One file per job; in fast mode one per length, shape and picture."""
        if not self.options.fast_clips:
            return self.options.data_dir / "outputs" / f"{job['request_id']}.mp4"
        plan = self._plan(job)
        key = f"{plan.seconds}/{plan.ratio}/{plan.has_audio}/{Path(job['picture']).name}"
        return self.options.data_dir / "clips" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.mp4"

    def _keep(self, raw: bytes) -> Path:
        path = self.options.data_dir / "pictures" / hashlib.sha256(raw).hexdigest()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(raw)
            part.replace(path)
        return path

    async def _read(self, address: str) -> bytes:
        if address.startswith("data:"):
            return _data_uri(address)
        own = self._own_file(address)
        return own.read_bytes() if own else await self._download(address)

    def _own_file(self, address: str) -> Path | None:
        _, found, name = urlsplit(address).path.partition(CDN_PATH)
        row = self.store.row("SELECT * FROM files WHERE name = ? AND is_ready", name) if found else None
        path = Path(row["path"]) if row else None
        return path if path and path.exists() else None

    async def _download(self, address: str) -> bytes:
        try:
            async with self._http().get(address) as reply:
                if reply.status != 200:
                    raise UnreachableError(f"HTTP {reply.status}")
                raw = await reply.content.read(MAX_PICTURE_BYTES + 1)
                while len(raw) <= MAX_PICTURE_BYTES and (more := await reply.content.read(MAX_PICTURE_BYTES)):
                    raw += more
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnreachableError(str(error)) from error
        if len(raw) > MAX_PICTURE_BYTES:
            raise UnreachableError("too large")
        return raw

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False), timeout=timeout)
        return self._session


def _data_uri(address: str) -> bytes:
    head, _, payload = address.partition(",")
    try:
        return (
            base64.b64decode(payload, validate=True)
            if head.endswith(";base64")
            else unquote_to_bytes(payload)
        )
    except binascii.Error as error:
        raise UnreachableError("not base64") from error


def _picture_problem(path: Path, min_side_px: int) -> str:
    """The type of fal's error for a picture that will not do, found by decoding it; '' when it is good."""
    try:
        with Image.open(path) as image:
            image.load()
            return "image_too_small" if min(image.size) < min_side_px else ""
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "image_load_error"
