"""The stock Python client against the address in the environment; prints what it saw as one JSON object.

fal-client has settings for its queue host only; upload hosts are constants of its module.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import fal_client
from fal_client import client

# Long enough to be seen in the queue by a machine that is busy.
SLOWLY = "A fox [[sandbox: seconds=4]]"
TEXT, PICTURE = "fal-ai/minimax/hailuo-2.3/pro/text-to-video", "fal-ai/minimax/hailuo-2.3/pro/image-to-video"


def main(base_url: str, picture: str) -> dict[str, Any]:
    client.REST_URL, client.CDN_URL = f"{base_url}/rest", f"{base_url}/cdn"
    seen: dict[str, Any] = {"queue_updates": []}
    seen["upload"] = fal_client.upload_file(picture)
    seen["subscribed"] = fal_client.subscribe(
        PICTURE,
        {"prompt": SLOWLY, "image_url": seen["upload"]},
        with_logs=True,
        on_queue_update=lambda update: seen["queue_updates"].append(type(update).__name__),
    )
    handle = fal_client.submit(TEXT, {"prompt": SLOWLY})
    seen["first_status"] = type(handle.status(with_logs=True)).__name__
    seen["got"] = handle.get()
    seen["by_id"] = fal_client.result(TEXT, handle.request_id) == seen["got"]
    seen["last_status"] = type(fal_client.status(TEXT, handle.request_id)).__name__
    stuck = fal_client.submit(TEXT, {"prompt": "[[sandbox: stuck=queue]]"})
    stuck.cancel()
    seen["cancelled"] = refused(stuck.get)
    seen["refused"] = refused(
        lambda: fal_client.subscribe(TEXT, {"prompt": "[[sandbox: run=422:image_too_small]]"})
    )
    client.MULTIPART_THRESHOLD = 1000
    client.MULTIPART_CHUNK_SIZE = 1000
    seen["in_parts"] = fal_client.upload(b"part" * 1000, "application/octet-stream", "big.bin")
    seen["async"] = asyncio.run(fal_client.subscribe_async(TEXT, {"prompt": "A fox"}))
    return seen


def refused(call: Any) -> dict[str, Any]:
    try:
        call()
    except fal_client.FalClientHTTPError as error:
        return {"status": error.status_code, "error_type": error.error_type, "message": str(error)}
    return {}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
