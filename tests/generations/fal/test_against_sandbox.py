"""The whole exchange with a server that was not written for these tests: the sandbox, as a process of its own."""

import io
import json
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from generations.fal import CancelAnswer, Completed, FalClient, FalConfig, RequestUnknown
from generations.fal.watch import AsyncFal
from tests.sandbox_server import RunningSandbox, running_sandbox

ENGINE = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    options = {"key": "id:secret", "admin_key": "admin:secret"}
    with running_sandbox(tmp_path_factory.mktemp("fal"), **options) as running:
        yield running


@pytest.fixture
def config(sandbox: RunningSandbox) -> FalConfig:
    return FalConfig(
        key="id:secret",
        admin_key="admin:secret",
        queue_url=sandbox.queue_url,
        rest_url=sandbox.rest_url,
        cdn_url=sandbox.cdn_url,
        platform_url=sandbox.platform_url,
        jwks_url=sandbox.jwks_url,
    )


@pytest.fixture
def client(config: FalConfig) -> Iterator[FalClient]:
    with FalClient(config) as made:
        yield made


def picture() -> io.BytesIO:
    data = io.BytesIO()
    Image.new("RGB", (640, 360), "teal").save(data, "PNG")
    return data


async def test_a_picture_becomes_a_clip_and_fals_books_say_so(client: FalClient, config: FalConfig) -> None:
    began_at = datetime.now(UTC) - timedelta(minutes=1)
    url = client.upload(picture(), content_type="image/png", file_name="a.png", expiration_seconds=3600)
    inputs = {"prompt": "a wave, slowly", "image_url": url}
    receipt = client.submit(ENGINE, inputs, tags={"generation": "7"}, output_expiration_seconds=3600)

    async with AsyncFal(config, max_connections=2) as watch:
        async with aclosing(watch.stream(receipt.status_url)) as stream:
            statuses = [status async for status in stream]
        polled = await watch.status(receipt.status_url, with_logs=True)
    assert isinstance(statuses[-1], Completed)
    assert isinstance(polled, Completed)
    assert polled.error == ""

    result = client.result(receipt.response_url)
    assert result.data["video"]["url"].startswith("http")
    assert result.billable_units is not None
    assert client.cancel(receipt.cancel_url) is CancelAnswer.ALREADY_COMPLETED
    assert client.locate(ENGINE, receipt.request_id).response_url == receipt.response_url

    (event,) = client.billing_events([receipt.request_id])
    assert (event.request_id, event.output_units) == (receipt.request_id, result.billable_units)
    found = client.find_requests(ENGINE, start=began_at, end=datetime.now(UTC) + timedelta(minutes=1))
    assert [row.inputs for row in found if row.request_id == receipt.request_id] == [inputs]
    (price,) = client.pricing([ENGINE])
    assert price.unit_price > 0
    assert client.account_balance().currency == "USD"


def test_a_request_fal_never_had_is_unknown(client: FalClient) -> None:
    nowhere = client.locate(ENGINE, "00000000-0000-0000-0000-000000000000")
    for ask in (client.status, client.result):
        with pytest.raises(RequestUnknown):
            ask(nowhere.status_url if ask == client.status else nowhere.response_url)
    assert client.cancel(nowhere.cancel_url) is CancelAnswer.NOT_FOUND


def test_the_keys_for_webhooks_can_be_fetched(client: FalClient) -> None:
    assert json.loads(client.fetch_jwks())["keys"]
