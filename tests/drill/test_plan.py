"""The plan of a drill comes from its seed alone, and asks for nothing that could not end."""

from __future__ import annotations

import uuid

import pytest

from generations import catalogue
from generations.drill import plan
from generations.sandbox import directives


def test_the_same_seed_draws_the_same_plan() -> None:
    assert plan.draw(seed=7, count=60) == plan.draw(seed=7, count=60)
    assert plan.draw(seed=7, count=60).digest == plan.draw(seed=7, count=60).digest


def test_another_seed_draws_another() -> None:
    assert plan.draw(seed=7, count=60).digest != plan.draw(seed=8, count=60).digest


def test_even_a_short_drill_takes_every_kind_of_strike() -> None:
    assert {strike.kind for strike in plan.draw(seed=1, count=10).strikes} == set(plan.ROUND)


@pytest.mark.parametrize("fault", plan.FAULTS)
def test_the_sandbox_knows_every_fault(fault: str) -> None:
    assert directives.parse(f"[[sandbox: {fault}]]")


@pytest.mark.parametrize("engine", plan.ENGINES)
def test_every_engine_is_offered(engine: str) -> None:
    assert catalogue.get(engine).is_orderable


def test_whatever_would_never_end_is_cancelled_and_its_cancel_is_heard() -> None:
    stuck = [order for order in plan.draw(seed=3, count=3000).orders if "stuck" in " ".join(order.faults)]
    assert stuck
    assert all(order.cancel_after_seconds is not None for order in stuck)
    assert not any("cancel=ignored" in order.faults for order in stuck)


def test_every_order_has_a_form_of_its_own() -> None:
    tokens = {uuid.UUID(order.form_token) for order in plan.draw(seed=3, count=3000).orders}
    assert len(tokens) == 3000
