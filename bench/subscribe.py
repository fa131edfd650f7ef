"""The bare client, as its readme shows it: `python -m bench.subscribe ENDPOINT COUNT`, in a process of its own.

Prints one JSON object a line: request id and the moment the clip was on disk, in seconds since the epoch.
"""

from __future__ import annotations

import json
import ssl
import sys
import tempfile
import threading
import time
import urllib.request

import fal_client


def main(endpoint: str, count: int) -> None:
    threads = [threading.Thread(target=_one, args=(endpoint, number)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _one(endpoint: str, number: int) -> None:
    ids: list[str] = []
    result = fal_client.subscribe(
        endpoint, arguments={"prompt": f"A boat drifts, number {number}"}, on_enqueue=ids.append
    )
    context = ssl.create_default_context()
    with (
        urllib.request.urlopen(result["video"]["url"], context=context) as body,  # noqa: S310
        tempfile.TemporaryFile() as file,
    ):
        file.write(body.read())
    # One write per line: print() writes its newline apart, and threads would mix.
    sys.stdout.write(json.dumps({"request_id": ids[0], "ended_at": time.time()}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
