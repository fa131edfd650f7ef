"""fal's webhooks are told from forged, stale and borrowed ones."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from generations.fal import FalClient
from generations.fal.signatures import (
    BadSignature,
    JwksCache,
    KeysUnavailable,
    MissingHeader,
    StaleTimestamp,
    WrongAccount,
    parse_jwks,
    verify,
)
from tests.generations.fal.wire_server import WireServer, http

NOW = 1_780_000_000
BODY = b'{"request_id": "req-1", "status": "OK"}'
FALS = Ed25519PrivateKey.generate()
OLDER = Ed25519PrivateKey.generate()
FORGER = Ed25519PrivateKey.generate()


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def jwks(*keys: Ed25519PrivateKey) -> bytes:
    entries = [
        {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw(key)).rstrip(b"=").decode()}
        for key in keys
    ]
    return json.dumps({"keys": entries}).encode()


def signed(
    key: Ed25519PrivateKey = FALS, *, body: bytes = BODY, at: int | str = NOW, user: str = "us"
) -> dict[str, str]:
    message = "\n".join(["req-1", user, str(at), hashlib.sha256(body).hexdigest()]).encode()
    return {
        "X-Fal-Webhook-Request-Id": "req-1",
        "X-Fal-Webhook-User-Id": user,
        "X-Fal-Webhook-Timestamp": str(at),
        "X-Fal-Webhook-Signature": key.sign(message).hex(),
    }


class Source:
    """Where the keys come from, counting how often."""

    def __init__(self, *documents: bytes | Exception) -> None:
        self.documents = list(documents)
        self.fetches = 0

    def __call__(self) -> bytes:
        self.fetches += 1
        document = self.documents.pop(0) if len(self.documents) > 1 else self.documents[0]
        if isinstance(document, Exception):
            raise document
        return document


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_genuine_webhook_says_who_and_when() -> None:
    seen = verify(signed(), BODY, [raw(FALS)], now=NOW, expected_user_id="us")
    assert (seen.request_id, seen.user_id, seen.signed_at_seconds) == ("req-1", "us", NOW)


def test_any_of_fals_keys_will_do_and_header_names_have_no_case() -> None:
    headers = {
        name.lower(): value.upper() if "sig" in name.lower() else value for name, value in signed().items()
    }
    verify(headers, BODY, [raw(OLDER), raw(FALS)], now=NOW)


@pytest.mark.parametrize("name", list(signed()))
@pytest.mark.parametrize("is_empty", [True, False])
def test_a_webhook_without_one_of_the_four_headers_is_refused(name: str, is_empty: bool) -> None:
    headers = signed()
    if is_empty:
        headers[name] = ""
    else:
        del headers[name]
    with pytest.raises(MissingHeader):
        verify(headers, BODY, [raw(FALS)], now=NOW)


@pytest.mark.parametrize("skew", [-300, 300])
def test_300_seconds_off_is_still_believed(skew: int) -> None:
    verify(signed(at=NOW + skew), BODY, [raw(FALS)], now=NOW)


@pytest.mark.parametrize("at", [NOW - 301, NOW + 301, "now", "", "-1", "1e9", "٣", "9" * 40, f" {NOW}"])
def test_a_time_too_far_off_or_none_at_all_is_stale(at: int | str) -> None:
    with pytest.raises((StaleTimestamp, MissingHeader)):
        verify(signed(at=at), BODY, [raw(FALS)], now=NOW)


def test_a_forged_signature_is_refused() -> None:
    with pytest.raises(BadSignature):
        verify(signed(FORGER), BODY, [raw(FALS), raw(OLDER)], now=NOW)


@pytest.mark.parametrize("body", [BODY + b" ", b"", BODY.replace(b"OK", b"NO")])
def test_another_body_is_refused(body: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(signed(), body, [raw(FALS)], now=NOW)


@pytest.mark.parametrize("name", ["X-Fal-Webhook-Request-Id", "X-Fal-Webhook-User-Id"])
def test_another_id_under_the_same_signature_is_refused(name: str) -> None:
    with pytest.raises(BadSignature):
        verify(signed() | {name: "other"}, BODY, [raw(FALS)], now=NOW)


def test_a_fresher_time_under_an_old_signature_is_refused() -> None:
    replayed = signed(at=NOW - 1000) | {"X-Fal-Webhook-Timestamp": str(NOW)}
    with pytest.raises(BadSignature):
        verify(replayed, BODY, [raw(FALS)], now=NOW)


@pytest.mark.parametrize("signature", ["x", "00", "zz" * 64, "00" * 64, " ".join(["00"] * 64), "00" * 65])
def test_a_signature_that_is_none_is_refused(signature: str) -> None:
    with pytest.raises(BadSignature):
        verify(signed() | {"X-Fal-Webhook-Signature": signature}, BODY, [raw(FALS)], now=NOW)


def test_a_line_moved_from_one_header_to_the_next_is_refused() -> None:
    moved = signed(user="a\nb") | {"X-Fal-Webhook-Request-Id": "req-1\na", "X-Fal-Webhook-User-Id": "b"}
    with pytest.raises(BadSignature):
        verify(moved, BODY, [raw(FALS)], now=NOW)


def test_without_keys_nothing_is_believed() -> None:
    with pytest.raises(BadSignature):
        verify(signed(), BODY, [], now=NOW)


def test_another_customers_genuine_webhook_is_refused() -> None:
    with pytest.raises(WrongAccount):
        verify(signed(user="them"), BODY, [raw(FALS)], now=NOW, expected_user_id="us")


def test_keys_are_read_with_and_without_padding_and_others_passed_over() -> None:
    padded = {"x": base64.urlsafe_b64encode(raw(OLDER)).decode()}
    others = [
        {"kty": "RSA", "n": "x"},
        {"crv": "X25519", "x": padded["x"]},
        {"x": "short"},
        {"x": "!" * 43},
        None,
    ]
    document = json.dumps({"keys": [*json.loads(jwks(FALS))["keys"], padded, *others]}).encode()
    assert parse_jwks(document) == (raw(FALS), raw(OLDER))


@pytest.mark.parametrize(
    "document", [b"", b"{}", b"[]", b'{"keys": []}', b'{"keys": 7}', b'{"keys": [{"x": 7}]}']
)
def test_a_jwks_without_a_usable_key_is_none(document: bytes) -> None:
    with pytest.raises(KeysUnavailable):
        parse_jwks(document)


def test_keys_are_fetched_once_and_again_when_a_day_old() -> None:
    source, clock = Source(jwks(FALS)), Clock()
    cache = JwksCache(source, clock=clock)
    for clock.seconds in (0.0, 10.0, 86_399.0):
        cache.verify(signed(), BODY, now=NOW)
    assert source.fetches == 1
    clock.seconds = 86_400.0
    cache.verify(signed(), BODY, now=NOW)
    assert source.fetches == 2


def test_a_new_key_of_fals_is_found_when_a_signature_fits_none() -> None:
    source, clock = Source(jwks(OLDER), jwks(OLDER, FALS)), Clock()
    cache = JwksCache(source, clock=clock)
    cache.verify(signed(OLDER), BODY, now=NOW)
    clock.seconds = 61.0
    cache.verify(signed(FALS), BODY, now=NOW)
    assert source.fetches == 2


def test_however_many_forged_ones_come_fal_is_asked_once_a_minute() -> None:
    source, clock = Source(jwks(FALS)), Clock()
    cache = JwksCache(source, clock=clock)
    for second in range(120):
        clock.seconds = float(second)
        with pytest.raises(BadSignature):
            cache.verify(signed(FORGER), BODY, now=NOW)
    assert source.fetches == 2


def test_a_stale_or_incomplete_webhook_costs_no_fetch() -> None:
    source = Source(jwks(FALS))
    with pytest.raises(StaleTimestamp):
        JwksCache(source).verify(signed(at=1), BODY, now=NOW)
    with pytest.raises(MissingHeader):
        JwksCache(source).verify({}, BODY, now=NOW)
    assert source.fetches == 0


@pytest.mark.parametrize("failure", [OSError("down"), b"<html>"])
def test_keys_that_cannot_be_renewed_serve_until_they_are_too_old(failure: bytes | Exception) -> None:
    source, clock = Source(jwks(FALS), failure), Clock()
    cache = JwksCache(source, clock=clock, max_age_seconds=1000)
    cache.verify(signed(), BODY, now=NOW)
    clock.seconds = 999.0
    with pytest.raises(BadSignature):
        cache.verify(signed(FORGER), BODY, now=NOW)
    cache.verify(signed(), BODY, now=NOW)
    clock.seconds = 1060.0
    with pytest.raises(KeysUnavailable):
        cache.verify(signed(), BODY, now=NOW)


def test_fal_is_not_asked_again_at_once_after_a_failed_fetch() -> None:
    source, clock = Source(OSError("down"), jwks(FALS)), Clock()
    cache = JwksCache(source, clock=clock)
    for clock.seconds in (0.0, 1.0, 59.0):
        with pytest.raises(KeysUnavailable):
            cache.verify(signed(), BODY, now=NOW)
    assert source.fetches == 1
    clock.seconds = 60.0
    cache.verify(signed(), BODY, now=NOW)


def test_keys_may_not_be_kept_longer_than_fal_allows() -> None:
    with pytest.raises(ValueError, match="24 hours"):
        JwksCache(Source(b""), max_age_seconds=86_401)


def test_the_client_fetches_the_keys_without_its_own(fal: WireServer, client: FalClient) -> None:
    fal.says(http(200, jwks(FALS)))
    JwksCache(client.fetch_jwks).verify(signed(), BODY, now=NOW)
    assert fal.seen[0].path == "/.well-known/jwks.json"
    assert "authorization" not in fal.seen[0].headers
    fal.says(http(503, b""))
    with pytest.raises(KeysUnavailable):
        JwksCache(client.fetch_jwks).verify(signed(), BODY, now=NOW)
