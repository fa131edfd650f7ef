"""One question on the wire, once: httpx without retries, redirects or a second thought.

What matters is telling "nothing was sent" from "it may have arrived": the first is NotSent, everything else that does
not end in an answer is NoAnswer.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping

import fal_client
import httpx

from generations.fal.errors import NoAnswer, NotSent
from generations.fal.types import FalConfig
from generations.fal.wire import Answer

USER_AGENT = f"clipledger (fal-client/{fal_client.__version__} wire form)"

# All of these are raised before the first byte of the request is written. LocalProtocolError is not among them: it
# can come up half way through a body.
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


class Transport:
    """`is_keep_alive=False` gives every request a connection of its own.

    A kept connection that the far side has just closed looks exactly like a dropped answer; for a POST that must not
    be repeated, that would be a request given up for lost without need.
    """

    def __init__(self, config: FalConfig, *, tls: ssl.SSLContext, is_keep_alive: bool = True) -> None:
        self._config = config
        self._client = httpx.Client(
            verify=tls,
            timeout=httpx.Timeout(config.read_timeout_seconds, connect=config.connect_timeout_seconds),
            limits=httpx.Limits(max_connections=20, max_keepalive_connections=20 if is_keep_alive else 0),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            follow_redirects=False,
        )

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """One request. Raises NotSent or NoAnswer."""
        try:
            with self._client.stream(method, url, headers=headers, content=content) as response:
                return self._read(response)
        except _NEVER_SENT as error:
            raise NotSent(f"could not connect: {type(error).__name__}") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise NoAnswer(f"no answer: {type(error).__name__}") from error

    def _read(self, response: httpx.Response) -> Answer:
        """The body up to the limit, within the time: a peer that drips a byte a minute must not hold us for ever."""
        deadline = time.monotonic() + self._config.total_timeout_seconds
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self._config.max_answer_bytes:
                break
            if time.monotonic() > deadline:
                raise NoAnswer("no answer: the whole took too long")
        limit = self._config.max_answer_bytes
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, bytes(body[:limit]), is_whole=len(body) <= limit)

    def close(self) -> None:
        self._client.close()
