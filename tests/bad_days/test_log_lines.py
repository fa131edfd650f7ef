"""One id leads from the order to fal's request and to the end, and what the member wrote is in no line."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from config.logs import Traced
from generations import trace
from tests.bad_days.story import Story

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_life_of_a_generation_can_be_read_from_the_log(
    story: Callable[..., Story], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(Traced())
    with caplog.at_level(logging.INFO), trace.bound(request="from-the-browser"):
        tale = story("run=500*1")
        tale.drive()
    generation = tale.generation
    mine = [line for line in caplog.records if line.trace.get("generation") == str(generation.pk)]  # type: ignore[attr-defined]
    said = [line.getMessage() for line in mine if line.name == "generations.lifecycle.moves"]
    assert said.count("requested -> submitted") == 2
    assert said[-1] == "storing -> succeeded"
    sent = {line.trace["fal_request"] for line in mine if "fal_request" in line.trace}  # type: ignore[attr-defined]
    assert sent == set(generation.attempts.values_list("request_id", flat=True))
    assert {line.trace["request"] for line in mine} == {"from-the-browser"}  # type: ignore[attr-defined]
    assert generation.prompt.split()[0] not in caplog.text
