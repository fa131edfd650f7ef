"""The ids that tie log lines together: the browser's request, our generation and attempt, fal's request.

Bound for the length of a block, they stand on every line logged inside it, here and in what it calls. The generation's
id is also in the address of its page and in the tags fal keeps, so one id leads from a browser to fal's books and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")

# In the order in which they are written.
IDS = ("request", "task", "generation", "attempt", "fal_request", "delivery")

_bound: ContextVar[Mapping[str, str]] = ContextVar("clipledger_trace", default={})  # noqa: B039 - never written to


@contextmanager
def bound(**ids: object) -> Iterator[None]:
    """These ids, besides those that are bound already, for every line inside. Empty ones are left out."""
    token = _bound.set(_joined(ids))
    try:
        yield
    finally:
        _bound.reset(token)


def of(name: str) -> Callable[[Callable[Concatenate[A, P], T]], Callable[Concatenate[A, P], T]]:
    """Bind the first argument of a function, an id, under this name for as long as the function runs."""

    def decorated(function: Callable[Concatenate[A, P], T]) -> Callable[Concatenate[A, P], T]:
        @wraps(function)
        def traced(first: A, /, *args: P.args, **kwargs: P.kwargs) -> T:
            with bound(**{name: first}):
                return function(first, *args, **kwargs)

        return traced

    return decorated


def start(**ids: object) -> None:
    """These ids and no others, until the next `start`: for a worker, whose tasks share a thread one after another."""
    _bound.set({})
    _bound.set(_joined(ids))


def current() -> Mapping[str, str]:
    """What is bound here and now."""
    return _bound.get()


def _joined(ids: Mapping[str, object]) -> dict[str, str]:
    unknown = set(ids) - set(IDS)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: no id of ours; give it a place in IDS")
    return {**_bound.get(), **{name: str(value) for name, value in ids.items() if value}}
