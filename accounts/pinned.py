"""Connections that go to addresses which were checked, and nowhere else.

A host is resolved once and all of its addresses are looked at; a second look-up, which could answer differently, never
happens. TLS is still verified against the host's name.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from accounts.addresses import Address


class PinnedBackend(httpcore.SyncBackend):
    """Connects to checked addresses only, and lets no single wait go past the end of the whole."""

    def __init__(self, checked: Sequence[Address], ends_at: float) -> None:
        self._checked = checked
        self._ends_at = ends_at

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002  the name is for TLS; the checked addresses are where we go
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        *others, last = self._checked
        for address in others:
            try:
                return self._connect(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(last, port, timeout, local_address, socket_options)

    def _connect(
        self,
        address: Address,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[Any] | None,
    ) -> httpcore.NetworkStream:
        wait = _left(self._ends_at, timeout)
        stream = super().connect_tcp(str(address), port, wait, local_address, socket_options)
        return _TimedStream(stream, self._ends_at)


class _TimedStream(httpcore.NetworkStream):
    """A connection whose waits all end when the whole has to: a server that drips bytes cannot hold us."""

    def __init__(self, stream: httpcore.NetworkStream, ends_at: float) -> None:
        self._stream = stream
        self._ends_at = ends_at

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._ends_at, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._ends_at, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        wait = _left(self._ends_at, timeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, wait), self._ends_at)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(ends_at: float, timeout: float | None) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time for the whole is over")
    return left if timeout is None else min(left, timeout)
