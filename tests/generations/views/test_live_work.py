"""The live part of the studio: each generation once, as it is now."""

from __future__ import annotations

from typing import Any

from django.db import connection

from accounts.models import Membership
from generations import lifecycle
from generations.states import State
from generations.views import live_work
from tests.generations.views.conftest import ordered


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
