from collections.abc import Iterator

import pytest

from generations.fal import FalClient
from tests.generations.fal.wire_server import WireServer, running_server


@pytest.fixture
def fal() -> Iterator[WireServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def client(fal: WireServer) -> Iterator[FalClient]:
    with FalClient(fal.config()) as made:
        yield made
