"""The headers we send with a request, checked before they leave.

Sources: fal's pages "Common parameters" (headers), "Request tags" (their grammar; fal drops a bad tag in silence, so we
refuse it aloud), "Media expiration" (the lifecycle header), "Queue API: submit" (the start timeout and its old name).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

MAX_TAGS = 10
MAX_TAG_BYTES = 1024
MIN_START_TIMEOUT_SECONDS = 1

_TAG_KEY = re.compile(r"[a-z0-9._-]{1,64}")
_TAG_VALUE = re.compile(r"[ -+\--~]{1,256}")
_HEADER_SAFE = re.compile(r"[ -~]{1,255}")


def authorization(key: str) -> dict[str, str]:
    return {"Authorization": f"Key {key}"}


def submit_headers(
    *,
    tags: Mapping[str, str] | None = None,
    start_timeout_seconds: float | None = None,
    output_expiration_seconds: int | None = None,
    is_server_retry_off: bool = False,
) -> dict[str, str]:
    """Everything but the key. Raises ValueError.

    The equivalent-endpoint fallback is always off: what another engine would cost is not documented.
    """
    headers = {"Content-Type": "application/json", "x-app-fal-disable-fallback": "true"}
    if start_timeout_seconds is not None:
        headers |= _start_timeout(start_timeout_seconds)
    if output_expiration_seconds is not None:
        headers |= lifecycle(output_expiration_seconds)
    if tags:
        headers["X-Fal-Tags"] = tags_value(tags)
    if is_server_retry_off:
        headers["X-Fal-No-Retry"] = "1"
    return headers


def lifecycle(expiration_seconds: int) -> dict[str, str]:
    """When fal deletes the file for good. Nought would mean never, so it is refused."""
    if isinstance(expiration_seconds, bool) or expiration_seconds < 1:
        raise ValueError("a file's life at fal has to be at least one second")
    return {
        "X-Fal-Object-Lifecycle-Preference": json.dumps({"expiration_duration_seconds": expiration_seconds})
    }


def tags_value(tags: Mapping[str, str]) -> str:
    """`k=v,k=v` within fal's limits. Raises ValueError naming the tag that is wrong."""
    for key, value in tags.items():
        if not _TAG_KEY.fullmatch(key) or key.startswith("fal."):
            raise ValueError(f"fal does not take the tag name {key!r}")
        if not _TAG_VALUE.fullmatch(value):
            raise ValueError(f"fal does not take the value of the tag {key!r}")
    text = ",".join(f"{key}={value}" for key, value in tags.items())
    if len(tags) > MAX_TAGS or len(text) > MAX_TAG_BYTES:
        raise ValueError(f"fal takes at most {MAX_TAGS} tags and {MAX_TAG_BYTES} bytes of them")
    return text


def checked_media_type(content_type: str) -> str:
    if not _HEADER_SAFE.fullmatch(content_type) or "/" not in content_type:
        raise ValueError("that is not a media type")
    return content_type


def _start_timeout(seconds: float) -> dict[str, str]:
    """Both names: the old one is deprecated and the vendor's own clients still send only that."""
    if not seconds > MIN_START_TIMEOUT_SECONDS or seconds == float("inf"):
        raise ValueError(f"the start timeout has to be more than {MIN_START_TIMEOUT_SECONDS} second")
    return {"X-Fal-Request-Start-Timeout": str(float(seconds)), "X-Fal-Request-Timeout": str(float(seconds))}
