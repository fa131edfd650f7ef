"""fal's storage and CDN: the three ways of uploading its clients use, and public files with ranges and bad days."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from generations.sandbox import desk as front
from generations.sandbox.desk import DESK, Desk, answer
from generations.sandbox.directives import Fault, parse
from generations.sandbox.queue_routes import lifecycle_seconds
from generations.sandbox.store import Row

TOKEN_SECONDS = 3600
CHUNK_BYTES = 64 * 1024
HUGE_BYTES = 8 * 1024**3
SLOW_SECONDS = 10.0
SLOW_PARTS = 20
HTML = "<!doctype html><title>Not here</title><p>This is not a video."
JUNK = b"This is text that calls itself a video.\n" * 200


async def initiate(request: web.Request) -> web.Response:
    """Hand out an address to PUT one file to, and the address it will have."""
    front.need_key(request)
    front.need_unlocked(request)
    request.app[DESK].counts["upload"] += 1
    wanted = await request.json()
    name = _enter_file(request, wanted.get("file_name") or "file", wanted.get("content_type") or "")
    return answer({"upload_url": _url(request, "upload", name), "file_url": _url(request, "files", name)})


async def initiate_multipart(request: web.Request) -> web.Response:
    """As `initiate`, for a file that comes in parts: they go to `{upload_url}/{n}`, then `{upload_url}/complete`."""
    return await initiate(request)


async def token(request: web.Request) -> web.Response:
    """A short-lived token for the CDN, which does not take API keys."""
    front.need_key(request)
    front.need_unlocked(request)
    expires_at = datetime.now(UTC) + timedelta(seconds=TOKEN_SECONDS)
    return answer(
        {
            "token": f"cdn-{uuid.uuid4()}",
            "token_type": "Bearer",
            "base_url": f"{front.base_url(request)}/cdn",
            "expires_at": expires_at.isoformat(),
        }
    )


async def upload(request: web.Request) -> web.Response:
    """The Python client's upload: one POST with the bytes."""
    _need_token(request)
    request.app[DESK].counts["upload"] += 1
    name = _enter_file(request, request.headers.get("X-Fal-File-Name", "file"), request.content_type)
    await _receive(request, name)
    return answer({"access_url": _url(request, "files", name)})


async def upload_multipart(request: web.Request) -> web.Response:
    """Begin an upload in parts."""
    _need_token(request)
    request.app[DESK].counts["upload"] += 1
    name = _enter_file(request, request.headers.get("X-Fal-File-Name", "file"), request.content_type)
    return answer({"access_url": _url(request, "files", name), "uploadId": uuid.uuid4().hex})


async def put_file(request: web.Request) -> web.Response:
    """The bytes of a file whose address `initiate` handed out; no key is asked for."""
    name = _known_name(request)
    await _receive(request, name)
    return web.Response()


async def put_part(request: web.Request) -> web.Response:
    """One numbered part of a file; the answer's ETag goes into the completing call."""
    path = _part_path(request, int(request.match_info["part"]))
    digest = await _save(request, path)
    return web.Response(headers={"ETag": digest})


async def complete(request: web.Request) -> web.Response:
    """Join the parts in order."""
    desk, name = request.app[DESK], _known_name(request)
    parts = (await request.json()).get("parts") or []
    numbers = sorted(int(part.get("partNumber") or part.get("part_number")) for part in parts)
    target = _file_path(desk, name)
    with target.open("wb") as whole:
        for number in numbers:
            path = _part_path(request, number)
            whole.write(path.read_bytes())
            path.unlink()
    desk.store.execute("UPDATE files SET is_ready = 1 WHERE name = ?", name)
    return answer({"url": _url(request, "files", name)})


async def get_file(request: web.Request) -> web.StreamResponse:
    """A file to whoever has its address, as on fal's CDN; a job's clip is drawn now if it was not yet."""
    desk = request.app[DESK]
    row = desk.store.row("SELECT * FROM files WHERE name = ?", request.match_info["name"])
    if row is None or not row["is_ready"] or (row["expires_at"] and row["expires_at"] <= time.time()):
        return answer({"detail": "Not Found"}, status=404)
    desk.counts["download"] += 1
    job = desk.store.job(row["name"].partition("/")[0])
    if job is None:
        return web.FileResponse(row["path"], headers={"Content-Type": row["content_type"]})
    return await _get_clip(request, desk, job)


async def _get_clip(request: web.Request, desk: Desk, job: Row) -> web.StreamResponse:
    number = desk.store.count(job["request_id"], "download")
    fault = parse(job["prompt"]).get("download")
    if fault and (fault.times is None or number <= fault.times):
        return await _bad_download(request, desk, job, fault)
    path = await desk.studio.clip(job["request_id"])
    return web.FileResponse(path, headers={"Content-Type": "video/mp4"})


async def _bad_download(request: web.Request, desk: Desk, job: Row, fault: Fault) -> web.StreamResponse:
    if fault.head.isdigit():
        return answer({"detail": "Not Found"}, status=fault.status_code)
    if fault.head == "html":
        return web.Response(text=HTML, content_type="text/html")
    if fault.head == "notvideo":
        return web.Response(body=JUNK, content_type="video/mp4")
    if fault.head == "drop":
        return front.drop(request)
    whole = (await desk.studio.clip(job["request_id"])).read_bytes()
    if fault.head == "short":
        return web.Response(body=whole[: len(whole) // 2], content_type="video/mp4")
    return await _odd_stream(request, whole, fault)


async def _odd_stream(request: web.Request, whole: bytes, fault: Fault) -> web.StreamResponse:
    """Bytes that stop early, never stop, or crawl."""
    lengths = {"truncated": len(whole), "slow": len(whole), "toolarge": HUGE_BYTES}
    reply = web.StreamResponse(headers={"Content-Type": "video/mp4"})
    reply.content_length = lengths.get(fault.head)
    await reply.prepare(request)
    if fault.head == "truncated":
        await reply.write(whole[: len(whole) // 2])
        front.drop(request)
        return reply
    chunks = _crawl(whole, float(fault.tail or SLOW_SECONDS)) if fault.head == "slow" else _flood(whole)
    async for chunk in chunks:
        await reply.write(chunk)
    return reply


async def _crawl(whole: bytes, seconds: float) -> AsyncIterator[bytes]:
    size = max(len(whole) // SLOW_PARTS, 1)
    for start in range(0, len(whole), size):
        await asyncio.sleep(seconds / SLOW_PARTS)
        yield whole[start : start + size]


async def _flood(whole: bytes) -> AsyncIterator[bytes]:
    yield whole
    for _ in range(HUGE_BYTES // CHUNK_BYTES):
        yield bytes(CHUNK_BYTES)


def _enter_file(request: web.Request, file_name: str, content_type: str) -> str:
    """Note a file that is about to arrive; returns its name below `/cdn/files/`."""
    desk = request.app[DESK]
    safe = Path(file_name).name.replace("%", "_") or "file"
    name = f"{uuid.uuid4().hex}/{safe}"
    seconds = lifecycle_seconds(request)
    desk.store.insert(
        "files",
        name=name,
        content_type=content_type or mimetypes.guess_type(safe)[0] or "application/octet-stream",
        created_at=time.time(),
        expires_at=time.time() + seconds if seconds else None,
        path=str(_file_path(desk, name)),
        is_ready=0,
    )
    return name


def _file_path(desk: Desk, name: str) -> Path:
    return desk.options.data_dir / "uploads" / name.partition("/")[0]


def _part_path(request: web.Request, number: int) -> Path:
    path = _file_path(request.app[DESK], _known_name(request))
    return path.with_suffix(f".{number}")


def _known_name(request: web.Request) -> str:
    name = request.match_info["name"]
    if request.app[DESK].store.row("SELECT name FROM files WHERE name = ?", name) is None:
        raise web.HTTPNotFound
    return name


async def _receive(request: web.Request, name: str) -> None:
    desk = request.app[DESK]
    await _save(request, _file_path(desk, name))
    desk.store.execute("UPDATE files SET is_ready = 1 WHERE name = ?", name)


async def _save(request: web.Request, path: Path) -> str:
    """Write the request's body to disk as it comes; returns its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("wb") as target:
        async for chunk in request.content.iter_chunked(CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


def _need_token(request: web.Request) -> None:
    if not front.key_of(request):
        raise front.unauthorized("Authentication is required")


def _url(request: web.Request, kind: str, name: str) -> str:
    return f"{front.base_url(request)}/cdn/{kind}/{quote(name)}"


def erase(desk: Desk, job: Row) -> list[dict[str, Any]]:
    """Delete a job's clip for good; returns fal's list of what became of each link."""
    name = f"{job['request_id']}/output.mp4"
    row = desk.store.row("SELECT * FROM files WHERE name = ?", name)
    if row is None:
        return []
    desk.store.execute("DELETE FROM files WHERE name = ?", name)
    if not desk.options.fast_clips:
        Path(row["path"]).unlink(missing_ok=True)
    return [{"link": f"{job['base_url']}/cdn/files/{name}", "exception": None}]
