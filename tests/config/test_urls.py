"""Addresses that belong to no application."""

from __future__ import annotations

from django.contrib.staticfiles import finders
from django.test import Client


def test_a_browser_that_asks_for_an_icon_by_itself_gets_ours(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer["Location"]) == (302, "/static/favicon.svg")
    assert finders.find("favicon.svg")
