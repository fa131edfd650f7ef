"""A picture from an address somebody typed, fetched so that the server cannot be turned against its own network.

Every hop is resolved once, all of its addresses are checked, and the connection goes to exactly a checked address: a
second look-up, which could answer differently, never happens. TLS is still verified against the host's name.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin

import httpcore
import httpx
from django.conf import settings

from accounts import addresses
from accounts.addresses import Address
from accounts.models import Team, User
from accounts.pinned import PinnedBackend
from generations.media.errors import PictureRefused
from generations.media.pictures import keep_still, too_large
from generations.media.stills import TAKEN, normalise
from generations.models import Picture

REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = [
    ("User-Agent", "Clipledger (picture by link)"),
    ("Accept", "image/*"),
    ("Accept-Encoding", "identity"),
]
MAX_URL_LENGTH = 2_000


@dataclass(frozen=True, slots=True)
class FetchRules:
    """How links are followed. The defaults are the only rules production has; tests bring their own resolver."""

    resolve: Callable[[str, int], Sequence[Address]] = addresses.resolve
    is_allowed: Callable[[Address], bool] = addresses.is_public
    ports: frozenset[int] = frozenset({80, 443})
    tls: ssl.SSLContext | None = None
    max_redirects: int = 3
    total_seconds: float = 20
    idle_seconds: float = 6


def accept_picture_url(url: str, *, team: Team, user: User, rules: FetchRules | None = None) -> Picture:
    """Fetch a picture and accept it like an upload.

    Raises `PictureRefused` with a sentence for the member, `StorageUnavailable` when it cannot be stored.
    """
    content, final_url = fetch_picture(url, rules or FetchRules())
    name = unquote(PurePosixPath(httpx.URL(final_url).path).name)
    return keep_still(normalise(content), team=team, user=user, original_name=name)


def fetch_picture(url: str, rules: FetchRules) -> tuple[bytes, str]:
    """The bytes behind a link and the address they came from in the end. Raises `PictureRefused`."""
    ends_at = time.monotonic() + rules.total_seconds
    for _ in range(rules.max_redirects + 1):
        answer = _get(_checked(url, rules), rules, ends_at)
        if isinstance(answer, bytes):
            return answer, url
        url = urljoin(url, answer.url)
    raise PictureRefused(
        f"This link redirects more than {rules.max_redirects} times; copy the final address."
    )


@dataclass(frozen=True, slots=True)
class _Redirect:
    url: str


@dataclass(frozen=True, slots=True)
class _Target:
    """A hop that passed: where to connect, and what to ask for there."""

    url: httpx.URL
    port: int
    addresses: tuple[Address, ...]


def _checked(text: str, rules: FetchRules) -> _Target:
    url, port = _parsed(text, rules)
    try:
        found = tuple(rules.resolve(url.host, port))
    except (OSError, UnicodeError, ValueError) as error:
        raise PictureRefused(f"The server {url.host} cannot be found; check the address.") from error
    if not found or not all(rules.is_allowed(address) for address in found):
        raise PictureRefused("This link leads into a private network; only public addresses can be fetched.")
    return _Target(url, port, found)


def _parsed(text: str, rules: FetchRules) -> tuple[httpx.URL, int]:
    try:
        url = httpx.URL(text.strip()) if len(text) <= MAX_URL_LENGTH else None
    except (httpx.InvalidURL, UnicodeError, ValueError):
        url = None
    if url is None or url.scheme not in {"http", "https"} or not url.host:
        raise PictureRefused("This is not a link to a picture; it has to begin with https:// or http://.")
    if url.userinfo:
        raise PictureRefused("This link contains a name or password; use one without.")
    port = url.port or (443 if url.scheme == "https" else 80)
    if port not in rules.ports:
        raise PictureRefused(f"This link uses port {port}; only the usual ports 80 and 443 can be fetched.")
    return url, port


def _get(target: _Target, rules: FetchRules, ends_at: float) -> bytes | _Redirect:
    """One request to one checked hop."""
    waits = dict.fromkeys(("connect", "read", "write", "pool"), rules.idle_seconds)
    backend = PinnedBackend(target.addresses, ends_at)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=rules.tls, network_backend=backend) as pool,
            pool.stream(
                "GET", _wire_url(target.url), headers=HEADERS, extensions={"timeout": waits}
            ) as response,
        ):
            return _answer(response)
    except (httpcore.TimeoutException, TimeoutError) as error:
        raise PictureRefused(
            f"{target.url.host} takes too long to answer; try again or bring the file."
        ) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise PictureRefused(f"{target.url.host} cannot be reached or broke off; try again.") from error


def _wire_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _answer(response: httpcore.Response) -> bytes | _Redirect:
    headers = httpx.Headers(response.headers)
    if response.status in REDIRECTS and "location" in headers:
        return _Redirect(headers["location"])
    if response.status != 200:
        raise PictureRefused(f"The server answered {response.status} instead of a picture; check the link.")
    if headers.get("content-type", "").startswith("text/html"):
        raise PictureRefused(f"This link leads to a web page; use the address of the {TAKEN} picture itself.")
    return _capped(response.iter_stream())


def _capped(chunks: Iterable[bytes]) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > settings.MAX_PICTURE_BYTES:
            raise too_large()
    return bytes(content)
