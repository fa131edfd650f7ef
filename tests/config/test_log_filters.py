"""Tokens stay out of the log, other words stay in it."""

from __future__ import annotations

import logging

import pytest

from config.log_filters import NoTokens


def written(message: str, *args: object) -> str:
    record = logging.LogRecord("django.request", logging.WARNING, __file__, 1, message, args, None)
    assert NoTokens().filter(record)
    return record.getMessage()


@pytest.mark.parametrize(
    "path",
    [
        "/invitation/s3cret-T0ken_x/",
        "/fal/webhook/s3cret-T0ken_x/",
        "/accounts/password/reset/key/2-s3cret-T0ken_x/",
    ],
)
def test_the_token_in_an_address_is_left_out(path: str) -> None:
    text = written("%s: %s", "Unprocessable Entity", path)
    assert "T0ken" not in text
    assert text.startswith("Unprocessable Entity: /")


def test_everything_else_is_written_as_it_is() -> None:
    assert written("%s: %s", "Not Found", "/generations/7/") == "Not Found: /generations/7/"
