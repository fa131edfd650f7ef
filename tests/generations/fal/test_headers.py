"""What fal would drop, misread or refuse is refused here, before a byte is sent."""

import pytest

from generations.fal import FalClient
from tests.generations.fal.wire_server import WireServer, http

ENGINE = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"


@pytest.mark.parametrize(
    "tags",
    [
        {"fal.team": "1"},
        {"Team": "1"},
        {"": "1"},
        {"t" * 65: "1"},
        {"team": ""},
        {"team": "a,b"},
        {"team": "é"},
        {"team": "a\r\nX-Evil: 1"},
        {"team": "v" * 257},
        {f"t{n}": "1" for n in range(11)},
        {f"t{n}": "v" * 250 for n in range(5)},
    ],
)
def test_a_tag_fal_would_drop_in_silence_is_refused_before_sending(
    fal: WireServer, client: FalClient, tags: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="fal"):
        client.submit(ENGINE, {}, tags=tags)
    assert fal.seen == []


@pytest.mark.parametrize("value", ["a=b", "v" * 256, "~ !", "-"])
def test_a_tag_within_fals_grammar_is_sent(fal: WireServer, client: FalClient, value: str) -> None:
    fal.says(http(200, fal.receipt()))
    client.submit(ENGINE, {}, tags={"team": value})
    assert fal.seen[0].headers["x-fal-tags"] == f"team={value}".strip()


@pytest.mark.parametrize(
    "endpoint_id",
    ["", "minimax", "/fal-ai/x", "fal-ai/../x", "fal-ai/x?y=1", "fal-ai/x#y", "fal-ai//x", "a/b\n"],
)
def test_what_is_not_an_endpoint_id_is_not_sent(fal: WireServer, client: FalClient, endpoint_id: str) -> None:
    with pytest.raises(ValueError, match="endpoint id"):
        client.submit(endpoint_id, {})
    assert fal.seen == []


@pytest.mark.parametrize("inputs", [{"x": float("nan")}, {"prompt": "\ud800"}])
def test_inputs_json_cannot_carry_are_not_sent(
    fal: WireServer, client: FalClient, inputs: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        client.submit(ENGINE, inputs)
    assert fal.seen == []


@pytest.mark.parametrize(
    "options",
    [{"start_timeout_seconds": 1}, {"start_timeout_seconds": float("nan")}, {"output_expiration_seconds": 0}],
)
def test_a_limit_fal_would_not_honour_is_refused(
    fal: WireServer, client: FalClient, options: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match=r"second"):
        client.submit(ENGINE, {}, **options)  # type: ignore[arg-type]
    assert fal.seen == []
