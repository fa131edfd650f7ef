"""The price book is written forward only, by people with a reason, and running work keeps its version."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from accounts import clock
from accounts.models import User
from generations import catalogue, lifecycle, prices
from generations.models import PriceProposal, PriceVersion
from tests.concurrency.together import of_type, together
from tests.factories import MembershipFactory, TeamFactory, UserFactory
from tests.generations.prices.conftest import PRO, STANDARD
from tests.generations.views.conftest import advanced, ordered

pytestmark = pytest.mark.django_db


def flat(usd: str) -> dict[str, Any]:
    return {"quantity": {"kind": "one"}, "rate": {"usd": usd}}


def proposed(usd: str = "0.55", engine: str = PRO) -> PriceProposal:
    with transaction.atomic():
        made = prices.propose(engine, flat(usd), source=PriceProposal.Source.FAL, why="fal raised it")
    assert made is not None
    return made


def test_a_published_price_is_quoted_at_once_and_says_who_and_why(operator: User) -> None:
    version = prices.publish(PRO, flat("0.60"), actor=operator, reason="fal raised it")
    assert lifecycle.quote(PRO, {}).credits == 60
    assert (version.actor, version.reason) == (operator, "fal raised it")


def test_an_announced_price_waits_for_its_day(operator: User) -> None:
    soon = clock.now() + timedelta(days=3)
    prices.publish(PRO, flat("0.60"), actor=operator, reason="Announced", valid_from=soon)
    assert lifecycle.quote(PRO, {}).credits == 49
    assert PriceVersion.objects.current(PRO, now=soon).rule == flat("0.60")


def test_peers_e15_a_price_edited_while_a_job_runs_is_captured_at_the_quoted_version(operator: User) -> None:
    member = MembershipFactory(team=TeamFactory(credits=1000))
    generation = advanced(ordered(member), "submitted", "running")
    prices.publish(PRO, flat("9.99"), actor=operator, reason="Doubled twice")
    prices.publish(PRO, flat("0.01"), actor=operator, reason="And almost free")
    done = advanced(generation, "storing", "succeeded")
    assert (done.hold.captured, done.price_version.rule) == (49, flat("0.49"))
    assert member.team.wallet.entries.get(kind="capture").captured_delta == 49


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (flat("free"), "amount in quotes"),
        ({"rate": {"usd": "1"}}, "quantity"),
        (flat("0"), "no credits at all"),
        (
            {**flat("1"), "rate": {"by": ["duration"], "rows": [{"when": {"duration": "6"}, "usd": "1"}]}},
            "There is no price for duration 10",
        ),
        ({"quantity": {"kind": "compute_seconds"}, "rate": {"usd": "0.1"}}, "There is no price"),
    ],
)  # fmt: skip
def test_a_rule_that_would_refuse_orders_is_not_taken(
    operator: User, rule: dict[str, Any], words: str
) -> None:
    with pytest.raises(prices.PriceError, match=words):
        prices.publish(STANDARD, rule, actor=operator, reason="Oops")
    assert lifecycle.quote(STANDARD, {}).credits == 28


def test_no_price_begins_in_the_past_or_without_a_reason_or_before_one_announced(operator: User) -> None:
    now = clock.now()
    with pytest.raises(prices.PriceError, match="in the past"):
        prices.publish(PRO, flat("1"), actor=operator, reason="x", valid_from=now - timedelta(seconds=1))
    with pytest.raises(prices.PriceError, match="Say why"):
        prices.publish(PRO, flat("1"), actor=operator, reason="  ")
    prices.publish(PRO, flat("1"), actor=operator, reason="x", valid_from=now + timedelta(days=9))
    with pytest.raises(prices.PriceError, match="is announced"):
        prices.publish(PRO, flat("2"), actor=operator, reason="x")


def test_a_version_and_a_decided_proposal_stay_as_they_are_even_for_the_database(operator: User) -> None:
    version = prices.publish(PRO, flat("0.60"), actor=operator, reason="fal raised it")
    proposal = prices.decline(proposed("0.70"), actor=operator, reason="A mistake of theirs")
    changes: list[tuple[Any, dict[str, Any]]] = [
        (PriceVersion.objects.filter(pk=version.pk), {"reason": "Another"}),
        (PriceProposal.objects.filter(pk=proposal.pk), {"state": "open", "decided_at": None}),
        (PriceProposal.objects.filter(pk=proposal.pk), {"rule": {}}),
    ]
    for rows, change in changes:
        with pytest.raises(DatabaseError), transaction.atomic():
            rows.update(**change)


def test_a_confirmed_proposal_is_a_version_and_is_decided_once(operator: User) -> None:
    proposal = proposed()
    version = prices.confirm(proposal, actor=operator, reason="Seen on their page")
    assert lifecycle.quote(PRO, {}).credits == 55
    proposal.refresh_from_db()
    assert (proposal.state, proposal.version, proposal.decided_by) == ("confirmed", version, operator)
    for verb in (prices.confirm, prices.decline):
        with pytest.raises(prices.ProposalDecided):
            verb(proposal, actor=operator, reason="Again")
    assert PriceVersion.objects.filter(engine=PRO).count() == 2


def test_a_price_written_by_hand_puts_what_was_proposed_out_of_date(operator: User) -> None:
    proposal = proposed()
    prices.publish(PRO, flat("0.60"), actor=operator, reason="By hand")
    with pytest.raises(prices.ProposalDecided, match="superseded"):
        prices.confirm(proposal, actor=operator, reason="Too late")
    assert lifecycle.quote(PRO, {}).credits == 60


def test_whoever_looked_at_an_older_price_looks_again(operator: User) -> None:
    seen = PriceVersion.objects.newest(PRO)
    prices.publish(PRO, flat("0.60"), actor=operator, reason="First", after=seen.pk)
    with pytest.raises(prices.ProposalStale):
        prices.publish(PRO, flat("0.70"), actor=operator, reason="Second", after=seen.pk)


def test_worked_examples_cover_every_choice_that_either_rule_reads() -> None:
    engine = catalogue.get(STANDARD)
    dearer = {"quantity": {"kind": "seconds", "param": "duration"}, "rate": {"usd": "0.10"}}
    found = {each.words: (each.credits_before, each.credits_after) for each in prices.worked(
        engine, engine.price.rule, dearer
    )}  # fmt: skip
    assert found == {"duration 6": (28, 60), "duration 10": (56, 100)}


def test_every_price_of_the_catalogue_passes_its_own_examination() -> None:
    for engine in catalogue.orderable():
        rule = engine.price.rule
        assert rule is not None
        assert prices.problem_of(engine, rule, before=rule) == "", engine.endpoint_id


@pytest.mark.django_db(transaction=True)
def test_a_proposal_confirmed_from_two_tabs_at_once_is_one_version() -> None:
    operators = [UserFactory(is_staff=True) for _ in range(4)]
    proposal = proposed()
    outcomes = together(
        [lambda who=who: prices.confirm(proposal, actor=who, reason="So it is") for who in operators]
    )
    assert len(of_type(outcomes, PriceVersion)) == 1
    assert len(of_type(outcomes, prices.ProposalDecided)) == 3
    assert PriceVersion.objects.filter(engine=PRO).count() == 2
