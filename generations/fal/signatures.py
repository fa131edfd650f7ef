"""Telling fal's webhooks from forged ones. Pure but for the fetch that is handed in.

Source: fal's page "Webhooks". fal signs four lines (request id, user id, timestamp, lower-case hex SHA-256 of the raw
body) with Ed25519; any key of its JWKS may be the one; a timestamp more than 300 s off is refused; the JWKS may be kept
for 24 hours at most. The JWKS is shared by all customers of fal, so a genuine signature on somebody else's webhook
verifies too: pass `expected_user_id` once it is known.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from generations.fal.errors import FalError

MAX_SKEW_SECONDS = 300
MAX_JWKS_AGE_SECONDS = 24 * 3600
KEY_BYTES = 32

_REQUEST_ID = "x-fal-webhook-request-id"
_USER_ID = "x-fal-webhook-user-id"
_TIMESTAMP = "x-fal-webhook-timestamp"
_SIGNATURE = "x-fal-webhook-signature"
_HEX_SIGNATURE = re.compile(r"[0-9a-fA-F]{128}")


class SignatureError(FalError):
    """The webhook is not to be believed."""


class MissingHeader(SignatureError):
    """One of the four headers is not there."""


class StaleTimestamp(SignatureError):
    """Signed too long ago (a replay), in the future, or at no time at all."""


class BadSignature(SignatureError):
    """No key of fal's made this signature over this body."""


class WrongAccount(SignatureError):
    """Genuine, and another customer's."""


class KeysUnavailable(FalError):
    """There is no usable JWKS just now: answer 503 and let fal deliver again."""


@dataclass(frozen=True)
class VerifiedWebhook:
    request_id: str
    user_id: str
    signed_at_seconds: int


def verify(
    headers: Mapping[str, str],
    body: bytes,
    keys: Sequence[bytes],
    *,
    now: float,
    expected_user_id: str | None = None,
) -> VerifiedWebhook:
    """Who signed what, and when. `now` is in Unix seconds, `keys` are raw Ed25519 public keys, `body` the raw bytes.

    Raises MissingHeader, StaleTimestamp, BadSignature, WrongAccount, in that order.
    """
    values = _four_headers(headers)
    signed_at = _fresh_timestamp(values[_TIMESTAMP], now=now)
    digest = hashlib.sha256(body).hexdigest()
    lines = (values[_REQUEST_ID], values[_USER_ID], values[_TIMESTAMP], digest)
    if not _is_signed(lines, values[_SIGNATURE], keys):
        raise BadSignature("no key of fal's made this signature")
    if expected_user_id is not None and values[_USER_ID] != expected_user_id:
        raise WrongAccount("the webhook belongs to another account at fal")
    return VerifiedWebhook(values[_REQUEST_ID], values[_USER_ID], signed_at)


def parse_jwks(document: bytes) -> tuple[bytes, ...]:
    """The Ed25519 keys of a JWKS; other kinds of key are passed over. Raises KeysUnavailable where none is left."""
    try:
        entries = json.loads(document)["keys"]
        keys = tuple(key for entry in entries if (key := _key_bytes(entry)))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeysUnavailable("fal's JWKS cannot be read") from error
    if not keys:
        raise KeysUnavailable("fal's JWKS holds no key we can use")
    return keys


class JwksCache:
    """fal's keys, fetched when first needed, when too old, and when a signature fits none of them (a new key).

    However many forged webhooks come in, fal is asked at most once per `min_refetch_seconds`. A fetch that fails leaves
    the keys we have in use until they are too old. Safe between threads: one fetches, the others use what there is.
    """

    def __init__(
        self,
        fetch: Callable[[], bytes],
        *,
        max_age_seconds: float = MAX_JWKS_AGE_SECONDS,
        min_refetch_seconds: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < max_age_seconds <= MAX_JWKS_AGE_SECONDS:
            raise ValueError("fal's keys may be kept for 24 hours at most")
        self._fetch = fetch
        self._max_age_seconds = max_age_seconds
        self._min_refetch_seconds = min_refetch_seconds
        self._clock = clock
        self._fetching = threading.Lock()
        self._keys: tuple[bytes, ...] = ()
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")

    def keys(self) -> tuple[bytes, ...]:
        """Keys that are not too old. Raises KeysUnavailable."""
        if not self._is_fresh():
            with self._fetching:
                if not self._is_fresh():
                    self._refetch()
        if not self._is_fresh():
            raise KeysUnavailable("fal's JWKS could not be fetched")
        return self._keys

    def verify(
        self, headers: Mapping[str, str], body: bytes, *, now: float, expected_user_id: str | None = None
    ) -> VerifiedWebhook:
        """As the function `verify`, with fal's keys of today. Raises KeysUnavailable besides."""
        # The cheap refusals come before any key is asked for.
        _fresh_timestamp(_four_headers(headers)[_TIMESTAMP], now=now)
        keys = self.keys()
        try:
            return verify(headers, body, keys, now=now, expected_user_id=expected_user_id)
        except BadSignature:
            newer = self._newer_keys()
            if newer == keys:
                raise
            return verify(headers, body, newer, now=now, expected_user_id=expected_user_id)

    def _newer_keys(self) -> tuple[bytes, ...]:
        if self._fetching.acquire(blocking=False):
            try:
                self._refetch()
            finally:
                self._fetching.release()
        return self._keys

    def _is_fresh(self) -> bool:
        return self._clock() - self._fetched_at < self._max_age_seconds

    def _refetch(self) -> None:
        started_at = self._clock()
        if started_at - self._tried_at < self._min_refetch_seconds:
            return
        self._tried_at = started_at
        try:
            self._keys = parse_jwks(self._fetch())
            self._fetched_at = started_at
        except (FalError, OSError):
            return


def _four_headers(headers: Mapping[str, str]) -> dict[str, str]:
    by_name = {name.lower(): value for name, value in headers.items()}
    for name in (_REQUEST_ID, _USER_ID, _TIMESTAMP, _SIGNATURE):
        if not by_name.get(name):
            raise MissingHeader(f"the webhook has no {name}")
    return by_name


def _fresh_timestamp(text: str, *, now: float) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) < 16
    if not is_number or abs(now - int(text)) > MAX_SKEW_SECONDS:
        raise StaleTimestamp(f"the webhook was not signed within {MAX_SKEW_SECONDS} s of now")
    return int(text)


def _is_signed(lines: Sequence[str], signature: str, keys: Sequence[bytes]) -> bool:
    # A line break inside a value could pass one line for two; fal's own values have none.
    if not _HEX_SIGNATURE.fullmatch(signature) or any("\n" in line for line in lines):
        return False
    message, raw = "\n".join(lines).encode(), bytes.fromhex(signature)
    return any(_fits(key, raw, message) for key in keys)


def _fits(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _key_bytes(entry: object) -> bytes:
    """The raw key of a JWK; `x` comes without the padding that Python's decoder wants."""
    if not isinstance(entry, dict) or entry.get("crv", "Ed25519") != "Ed25519":
        return b""
    text = entry.get("x")
    if not isinstance(text, str):
        return b""
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return key if len(key) == KEY_BYTES else b""
