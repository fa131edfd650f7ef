"""Uploads: the bytes go where fal says, with an expiry, and the key stays with fal."""

import io
import json

import pytest

from generations.fal import AccountLocked, FalClient, NoAnswer, ProtocolError
from tests.generations.fal.wire_server import WireServer, http, running_server


def upload(client: FalClient, data: bytes = b"picture") -> str:
    return client.upload(
        io.BytesIO(data), content_type="image/png", file_name="é.png", expiration_seconds=3600
    )


def test_the_bytes_go_to_the_place_fal_names_and_the_key_does_not(fal: WireServer, client: FalClient) -> None:
    picture = bytes(range(256)) * 4096
    with running_server() as bucket:
        bucket.says(http(200, b""))
        place = {"upload_url": f"{bucket.url}/put?sig=1", "file_url": "https://v3.fal.media/files/a.png"}
        fal.says(http(200, place))
        assert upload(client, picture) == place["file_url"]

        (asked,), (put,) = fal.seen, bucket.seen
        assert (asked.method, asked.path) == ("POST", "/storage/upload/initiate")
        assert asked.query == {"storage_type": ["fal-cdn-v3"]}
        assert asked.headers["authorization"] == "Key id:secret"
        assert json.loads(asked.headers["x-fal-object-lifecycle-preference"]) == {
            "expiration_duration_seconds": 3600
        }
        assert json.loads(asked.body) == {"file_name": "é.png", "content_type": "image/png"}
        assert (put.method, put.target, put.body) == ("PUT", "/put?sig=1", picture)
        assert put.headers["content-type"] == "image/png"
        assert "authorization" not in put.headers


def test_a_file_is_sent_from_its_start(fal: WireServer, client: FalClient) -> None:
    fal.says(http(200, {"upload_url": f"{fal.url}/put", "file_url": f"{fal.url}/files/a"}))
    data = io.BytesIO(b"picture")
    data.read(3)
    client.upload(data, content_type="image/png", file_name="a.png", expiration_seconds=60)
    assert fal.seen[1].body == b"picture"


@pytest.mark.parametrize(
    "place", [{}, {"upload_url": "file:///x", "file_url": "https://x.example/a"}, {"upload_url": 7}]
)
def test_a_place_that_is_none_is_refused(fal: WireServer, client: FalClient, place: object) -> None:
    fal.says(http(200, place))
    with pytest.raises(ProtocolError):
        upload(client)
    assert len(fal.seen) == 1


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_place_that_takes_nothing_is_asked_for_again_and_is_not_the_accounts_fault(
    fal: WireServer, client: FalClient, status: int
) -> None:
    fal.says(
        http(200, {"upload_url": f"{fal.url}/put", "file_url": f"{fal.url}/a"}), http(status, b"expired")
    )
    with pytest.raises(NoAnswer):
        upload(client)


def test_a_locked_account_shows_at_the_upload_too(fal: WireServer, client: FalClient) -> None:
    fal.says(http(403, {"detail": "User is locked. Reason: Exhausted balance."}))
    with pytest.raises(AccountLocked):
        upload(client)


@pytest.mark.parametrize("content_type", ["", "png", "image/png\r\nX-Evil: 1"])
def test_a_media_type_that_is_none_is_not_sent(fal: WireServer, client: FalClient, content_type: str) -> None:
    with pytest.raises(ValueError, match="media type"):
        client.upload(io.BytesIO(b""), content_type=content_type, file_name="a", expiration_seconds=60)
    assert fal.seen == []
