"""The drill's rules notice what they are there for: each is shown a breach, and keeps quiet where there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from accounts.models import Membership
from generations.drill import plan
from generations.drill.checks import Evidence, findings
from generations.drill.fal_books import FalBooks
from generations.models import Attempt, Generation
from generations.states import AttemptState
from tests.factories import MembershipFactory, TeamFactory
from tests.generations.views.conftest import advanced, failed, ordered, ready

REQUEST = "3f0e8c52-0000-4000-8000-000000000000"


@dataclass
class Books:
    """What a sandbox would answer, as a test wants it."""

    made: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    billed: dict[str, Decimal] = field(default_factory=dict)

    def jobs(self) -> list[dict[str, Any]]:
        return self.made

    def posts(self) -> list[dict[str, Any]]:
        return self.sent

    def bills_usd(self) -> dict[str, Decimal]:
        return self.billed

    def spent_usd(self) -> Decimal:
        return sum(self.billed.values(), Decimal(0))


@pytest.fixture(autouse=True)
def media_root(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def member(db: None) -> Membership:
    return MembershipFactory.create(team=TeamFactory(credits=1000))


def broken(books: Books | None = None, *, wishes: set[str] | None = None) -> set[str]:
    nothing = plan.Plan(seed=0, orders=(), strikes=())
    evidence = Evidence(nothing, wishes or set(), cast(FalBooks, books or Books()))
    # The generations of these tests were in nobody's plan.
    return {name for name, said in findings(evidence).items() if said} - {"one_generation_per_form"}


def attempt_of(generation: Generation, **fields: Any) -> Attempt:
    return Attempt.objects.create(generation=generation, number=1, **fields)


def at_fal(attempt: Attempt, *, status_code: int = 200) -> Books:
    tagged = {"tags": {"attempt": str(attempt.pk)}}
    job = {"request_id": REQUEST, "status_code": status_code, **tagged}
    return Books(made=[job], sent=[tagged], billed={REQUEST: Decimal("0.49")})


def test_a_settled_failure_breaks_nothing(member: Membership) -> None:
    failed(ordered(member))
    assert broken() == set()


def test_what_is_still_under_way_is_noticed(member: Membership) -> None:
    ordered(member)
    assert broken() == {"everything_is_settled", "nothing_is_held"}


def test_an_order_without_its_generation_is_noticed(member: Membership) -> None:
    evidence = Evidence(plan.draw(seed=1, count=3), set(), cast(FalBooks, Books()))
    assert len(findings(evidence)["one_generation_per_form"]) == 3


def test_a_clip_that_is_not_what_was_stored_is_noticed(member: Membership) -> None:
    ready(ordered(member))
    assert broken() == {"captured_is_clips_that_play"}


def test_a_second_post_of_an_attempt_is_noticed(member: Membership) -> None:
    attempt = attempt_of(failed(ordered(member)), state=AttemptState.FAILED, is_maybe_billed=True)
    books = at_fal(attempt, status_code=422)
    assert broken(books) == set()
    books.sent *= 2
    assert broken(books) == {"one_post_per_attempt"}


def test_a_bill_that_nobody_lists_is_noticed(member: Membership) -> None:
    attempt = attempt_of(failed(ordered(member)), state=AttemptState.FAILED)
    assert broken(at_fal(attempt)) == {"bill_is_explained"}


def test_a_request_taken_for_another_attempts_is_noticed(member: Membership) -> None:
    owner = attempt_of(failed(ordered(member)), state=AttemptState.FAILED, is_maybe_billed=True)
    attempt_of(failed(ordered(member)), state=AttemptState.FAILED, request_id=REQUEST)
    assert broken(at_fal(owner)) == {"requests_are_their_own"}


def test_a_cancel_that_nobody_wished_is_noticed(member: Membership) -> None:
    generation = advanced(ordered(member), "canceled")
    assert broken() == {"canceled_was_wished"}
    assert broken(wishes={str(generation.form_token)}) == set()
