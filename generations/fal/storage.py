"""Files to fal: ask for a place, put the bytes there, streamed and with an expiry.

Source: fal's pages "fal CDN" and "File access controls" (initiate, then PUT without the key).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import urlsplit

from generations.fal.answers import question_error
from generations.fal.errors import NoAnswer, ProtocolError
from generations.fal.headers import authorization, checked_media_type, lifecycle
from generations.fal.transport import Transport
from generations.fal.types import FalConfig

_CHUNK_BYTES = 256 * 1024


def upload(
    transport: Transport,
    config: FalConfig,
    data: BinaryIO,
    *,
    content_type: str,
    file_name: str,
    expiration_seconds: int,
) -> str:
    """The public address of the file at fal, good for `expiration_seconds`. Nothing is billed, so it may be repeated.

    Raises FalError, and ValueError for a content type or expiry that cannot be sent.
    """
    media_type = checked_media_type(content_type)
    answer = transport.send(
        "POST",
        f"{config.rest_url}/storage/upload/initiate?storage_type=fal-cdn-v3",
        headers=authorization(config.key)
        | {"Content-Type": "application/json"}
        | lifecycle(expiration_seconds),
        content=json.dumps({"file_name": file_name, "content_type": media_type}).encode(),
    )
    if not answer.is_ok:
        raise question_error(answer)
    place = answer.json_object()
    upload_url = _public_url(place.get("upload_url"), rest_url=config.rest_url)
    file_url = _public_url(place.get("file_url"), rest_url=config.rest_url)
    _put(transport, upload_url, data, content_type=media_type)
    return file_url


def _put(transport: Transport, url: str, data: BinaryIO, *, content_type: str) -> None:
    """The place is somebody else's host (a bucket): it gets the bytes and never the key."""
    size = data.seek(0, os.SEEK_END)
    data.seek(0)
    headers = {"Content-Type": content_type, "Content-Length": str(size)}
    answer = transport.send("PUT", url, headers=headers, content=_chunks(data))
    if not answer.is_ok:
        raise NoAnswer(f"fal's storage answered {answer.http_status}", http_status=answer.http_status)


def _chunks(data: BinaryIO) -> Iterator[bytes]:
    while chunk := data.read(_CHUNK_BYTES):
        yield chunk


def _public_url(url: object, *, rest_url: str) -> str:
    """An http(s) address, and never plain http where fal itself is spoken to in TLS. Raises ProtocolError."""
    schemes = ("https", urlsplit(rest_url).scheme)
    if not isinstance(url, str) or urlsplit(url).scheme not in schemes or not urlsplit(url).hostname:
        raise ProtocolError("fal's storage named no usable address")
    return url
