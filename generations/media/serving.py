"""Handing out a stored file. Whoever calls has already found it by a look-up that is the permission check.

S3: a redirect to a link signed for minutes. Local: served by us, with the ranges without which browsers cannot seek.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Protocol

from django.conf import settings
from django.core.files.storage import default_storage
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from whitenoise.responders import MissingFileError, Response, SlicedFile, StaticFile

from generations.media.storing import is_local, storage_errors

BLOCK_BYTES = 64 * 1024


def serve(
    request: HttpRequest, name: str, *, content_type: str, download_name: str | None = None
) -> HttpResponseBase:
    """The file `name` of the media storage, shown in the page or, with `download_name`, saved under that name.

    Raises `Http404` where there is no such file (S3 says so itself, at the end of the link).
    """
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET", "HEAD"])
    if not name:
        raise Http404("There is no file.")
    disposition = content_disposition_header(download_name is not None, download_name or "") or "inline"
    if is_local():
        return _local(request, name, content_type, disposition)
    return _redirect(request, name, content_type, disposition)


class _Signing(Protocol):
    """What django-storages' S3 storage can do beyond Django's."""

    def url(self, name: str, *, parameters: dict[str, str], expire: int, http_method: str | None) -> str: ...


def _redirect(request: HttpRequest, name: str, content_type: str, disposition: str) -> HttpResponseBase:
    storage: _Signing = default_storage  # type: ignore[assignment]
    with storage_errors():
        link = storage.url(
            name,
            parameters={"ResponseContentType": content_type, "ResponseContentDisposition": disposition},
            expire=settings.MEDIA_LINK_SECONDS,
            http_method=request.method,
        )
    response = HttpResponseRedirect(link)
    response["Cache-Control"] = "private, no-store"
    return response


def _local(request: HttpRequest, name: str, content_type: str, disposition: str) -> HttpResponseBase:
    headers = [
        ("Content-Type", content_type),
        ("Content-Disposition", disposition),
        ("Cache-Control", "private"),
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
    ]
    try:
        file = _File(default_storage.path(name), headers)
    except MissingFileError:
        raise Http404("This file is not there any more.") from None
    answer = file.get_response(request.method, _conditions(request, file.etag))
    response: HttpResponseBase
    if answer.file is None:
        response = HttpResponse(status=answer.status)
    else:
        response = _FileResponse(answer.file, status=answer.status)
    for key, value in answer.headers:
        response[key] = value
    return response


def _conditions(request: HttpRequest, etag: str) -> dict[str, Any]:
    """The headers WhiteNoise reads. A range of a file that has since changed is the whole file (If-Range)."""
    conditions = dict(request.META)
    if conditions.get("HTTP_IF_RANGE", etag) != etag:
        conditions.pop("HTTP_RANGE", None)
    return conditions


class _File(StaticFile):
    """WhiteNoise answers 416 to a range of one byte; here 416 is only for ranges outside the file."""

    def get_range_response(self, range_header: str, base_headers: Any, file_handle: Any) -> Response:
        size = int(dict(base_headers)["Content-Length"])
        start, end = self.get_byte_range(range_header, size)
        if start != end:
            return super().get_range_response(range_header, base_headers, file_handle)
        body = None if file_handle is None else SlicedFile(file_handle, start, end)
        headers = [item for item in base_headers if item[0] != "Content-Length"]
        headers += [("Content-Range", f"bytes {start}-{end}/{size}"), ("Content-Length", "1")]
        return Response(HTTPStatus.PARTIAL_CONTENT, headers, body)


class _FileResponse(FileResponse):
    """Every header is set by hand above; Django would look at the whole file again and get ranges wrong."""

    block_size = BLOCK_BYTES

    def set_headers(self, filelike: Any) -> None:
        """Leave them."""
