"""One id leads through the log: from the browser's request to the task, to fal, and back to the browser."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

import pytest
from django.test import Client

from config import celery, logs
from generations import tasks, trace


def record(message: str = "sent", *, exc_info: Any = None) -> logging.LogRecord:
    made = logging.LogRecord("generations.lifecycle", logging.WARNING, __file__, 1, message, (), exc_info)
    logs.Traced().filter(made)
    return made


def test_a_line_carries_what_is_bound_and_nothing_once_it_is_over() -> None:
    with trace.bound(request="r-12345678"), trace.bound(generation="g", attempt=7, fal_request=""):
        inside = record()
    line = json.loads(logs.JsonLines().format(inside))
    assert (line["request"], line["generation"], line["attempt"]) == ("r-12345678", "g", "7")
    assert "fal_request" not in line
    assert "request" not in json.loads(logs.JsonLines().format(record()))


def test_text_ends_with_the_ids() -> None:
    with trace.bound(generation="g", attempt=7):
        assert logs.Text().format(record()).endswith("sent [generation=g attempt=7]")
    assert logs.Text().format(record()).endswith("sent")


def test_an_exception_stays_on_its_line() -> None:
    try:
        int("two\nlines")
    except ValueError:
        text = logs.JsonLines().format(record(exc_info=sys.exc_info()))
    assert "\n" not in text
    assert "ValueError: invalid literal" in json.loads(text)["exception"]


def test_an_id_of_no_kind_of_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="prompt"), trace.bound(prompt="a boat"):
        pass


@pytest.mark.parametrize("sent", ["abcdefgh-1234", "4bf92f3577b34da6a3ce929d0e0e4736"])
def test_the_browsers_request_id_comes_back(client: Client, sent: str) -> None:
    assert client.get("/healthz", headers={"x-request-id": sent})["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", ["", "short", "with space in it", "x" * 65, 'quote"quote"', "line\nbreak"])
def test_what_could_break_a_line_gets_an_id_of_ours(client: Client, sent: str) -> None:
    given = client.get("/healthz", headers={"x-request-id": sent})["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{32}", given)


def test_a_request_is_logged_with_its_id_and_without_its_query(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(logs.Traced())
    with caplog.at_level(logging.INFO, "clipledger.requests"):
        client.get("/healthz?prompt=secret", headers={"x-request-id": "from-the-browser"})
    (line,) = [it for it in caplog.records if it.name == "clipledger.requests"]
    assert line.getMessage().startswith("GET /healthz 200 ")
    assert "secret" not in line.getMessage()
    assert line.trace == {"request": "from-the-browser"}  # type: ignore[attr-defined]


def test_a_bell_carries_the_request_to_its_task() -> None:
    headers: dict[str, Any] = {}
    with trace.bound(request="from-the-browser"):
        celery.carry_request(headers=headers)
    tasks.sweep.push_request(**headers)
    try:
        celery.take_request(task_id="t-1", task=tasks.sweep)
        assert trace.current() == {"task": "t-1", "request": "from-the-browser"}
    finally:
        tasks.sweep.pop_request()
        celery.forget_request()
    assert trace.current() == {}
