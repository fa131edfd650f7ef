"""The live part of the studio: each generation once, as it is now."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.models import Membership
from generations import lifecycle
from generations.states import State
from generations.views import live_work
from tests.factories import MembershipFactory
from tests.generations.views.conftest import ordered, ready, running


def test_what_settles_between_the_two_reads_is_shown_once_and_as_it_ended(member: Membership) -> None:
    generation = ordered(member)
    reads: list[str] = []

    def cancel_after_the_first(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if 'FROM "generations_generation"' in sql and not reads:
            reads.append(sql)
            assert lifecycle.cancel(generation, actor=member.user)
        return result

    with connection.execute_wrapper(cancel_after_the_first):
        shown = live_work.context(member)
    assert [(each.pk, each.state) for each in shown["live"]] == [(generation.pk, State.CANCELED)]
    assert shown["unsettled"] == 0


def prompts(shown: dict[str, Any]) -> list[str]:
    return [each.prompt for each in shown["live"]]


def test_what_runs_stands_first_then_one_s_own_line_then_the_others_then_what_has_come(
    member: Membership,
) -> None:
    other = MembershipFactory.create(team=member.team)
    ready(ordered(member, "come"))
    running(ordered(other, "runs"))
    ordered(other, "theirs")
    first, second = ordered(member, "first"), ordered(member, "second")
    assert prompts(live_work.context(member)) == ["runs", "first", "second", "theirs", "come"]
    assert lifecycle.reorder(second, move="first", actor=member.user)
    assert prompts(live_work.context(member)) == ["runs", "second", "first", "theirs", "come"]
    assert prompts(live_work.context(other)) == ["runs", "theirs", "second", "first", "come"]
    assert first.user != other.user


def test_a_long_line_is_counted_whole_and_hides_neither_what_runs_nor_what_has_come(
    member: Membership, site: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_work, "MOST_LIVE", 4)
    monkeypatch.setattr(live_work, "LEAST_ENDED", 1)
    running(ordered(member, "runs"))
    for number in range(2):
        ready(ordered(member, f"come {number}"))
    for number in range(6):
        ordered(member, f"waits {number}")
    shown = live_work.context(member)
    assert prompts(shown) == ["runs", "waits 0", "waits 1", "come 1"]
    assert (shown["unsettled"], shown["more"]) == (7, 4)
    page = site.get("/updates/?page=studio").content.decode()
    assert "7 in progress" in page and 'data-unsettled="7"' in page
    assert "and 4 more in progress" in page and "/library/?state=running" in page


def test_a_short_line_has_nothing_more(member: Membership, site: Client) -> None:
    ordered(member)
    assert live_work.context(member)["more"] == 0
    assert "more in progress" not in site.get("/updates/?page=studio").content.decode()
