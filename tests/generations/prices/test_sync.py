"""fal's list against ours: drift is proposed and never applied, and a fal that cannot be asked changes nothing."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts import clock
from accounts.models import User
from config.celery import app
from generations import catalogue, fal, lifecycle, prices, queue, tasks
from generations.models import ListPrice, PriceProposal, PriceVersion
from generations.prices import Drift
from tests.generations.prices.conftest import PRO, STANDARD, PriceList
from tests.sandbox_server import running_sandbox

pytestmark = pytest.mark.django_db


def found(engine: str = PRO) -> Drift:
    return next(each for each in prices.sync() if each.engine.endpoint_id == engine)


def opened() -> list[tuple[str, str]]:
    rows = PriceProposal.objects.filter(state="open")
    return sorted(rows.values_list("engine", "source"))


def test_a_price_that_is_as_it_was_proposes_nothing(listed: PriceList) -> None:
    listed.dollars = {PRO: "0.49"}
    assert found().verdict == "same"
    assert found(STANDARD).verdict == "unlisted"
    assert opened() == []
    assert ListPrice.objects.count() == 1


def test_drift_is_reported_with_credits_before_and_after_and_changes_no_price(listed: PriceList) -> None:
    listed.dollars = {PRO: "0.55"}
    drift = found()
    assert (drift.verdict, drift.reference) == ("drifted", Decimal("0.49"))
    assert [(each.credits_before, each.credits_after) for each in drift.examples] == [(49, 55)]
    assert lifecycle.quote(PRO, {}).credits == 49
    [proposal] = PriceProposal.objects.all()
    assert proposal.rule["rate"] == {"usd": "0.55"}
    assert proposal.list_price is not None
    assert proposal.list_price.unit_price == Decimal("0.55")


def test_a_table_follows_by_the_ratio_of_what_fal_listed(listed: PriceList, operator: User) -> None:
    listed.dollars = {STANDARD: "0.28"}
    assert found(STANDARD).verdict == "same"
    listed.dollars = {STANDARD: "0.35"}
    drift = found(STANDARD)
    assert [(each.words, each.credits_after) for each in drift.examples] == [
        ("duration 6", 35),
        ("duration 10", 70),
    ]
    prices.confirm(drift.proposals[0], actor=operator, reason="So it is")
    assert found(STANDARD).verdict == "same"  # against what fal listed when the new version was written
    listed.dollars = {STANDARD: "0.28"}
    assert [each.credits_after for each in found(STANDARD).examples] == [28, 56]


def test_a_unit_that_is_not_ours_is_left_to_a_person(listed: PriceList) -> None:
    listed.dollars = {STANDARD: "0.046", PRO: "0.0004"}
    assert found(STANDARD).verdict == found(PRO).verdict == "unclear"
    listed.currency = "EUR"
    assert found(PRO).verdict == "unclear"
    assert opened() == []


def test_the_same_drift_is_proposed_once_and_another_takes_its_place(
    listed: PriceList, operator: User
) -> None:
    listed.dollars = {PRO: "0.55"}
    assert len(found().proposals) == 1
    assert found().proposals == []
    listed.dollars = {PRO: "0.60"}
    [second] = found().proposals
    assert opened() == [(PRO, "fal")]
    prices.decline(second, actor=operator, reason="We bear it")
    assert found().proposals == []  # declined is declined, until fal moves again
    listed.dollars = {PRO: "0.61"}
    assert len(found().proposals) == 1
    listed.dollars = {PRO: "0.49"}
    assert found().verdict == "same"
    assert opened() == []


@pytest.mark.parametrize(
    "fault", [fal.NoAnswer("timed out"), fal.AccountMisconfigured("no key"), fal.ProtocolError("nonsense")]
)
def test_an_error_of_that_api_changes_nothing(listed: PriceList, fault: fal.FalError) -> None:
    listed.dollars, listed.fault = {PRO: "9.99"}, fault
    with pytest.raises(CommandError, match="could not be read"):
        call_command("sync_prices")
    assert prices.sync_if_due() == []
    assert not ListPrice.objects.exists()
    assert not PriceProposal.objects.exists()
    assert not PriceVersion.objects.exists()


def test_a_changed_catalogue_is_proposed_and_never_applied_by_itself(
    listed: PriceList, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lifecycle.quote(PRO, {}).credits == 49
    before, real = catalogue.get(PRO), catalogue.orderable()
    edited = changed(before, usd="0.52")
    monkeypatch.setattr(
        catalogue, "orderable", lambda: tuple(edited if each is before else each for each in real)
    )
    [proposal] = found().proposals
    assert (proposal.source, proposal.rule["rate"]) == ("catalogue", {"usd": "0.52"})
    assert lifecycle.quote(PRO, {}).credits == 49
    assert found().proposals == []
    prices.decline(proposal, actor=operator, reason="Not yet")
    assert found().proposals == []


def changed(engine: catalogue.Engine, *, usd: str) -> catalogue.Engine:
    rule = {"quantity": {"kind": "one"}, "rate": {"usd": usd}}
    return replace(engine, price=replace(engine.price, rule_json=json.dumps(rule)))


def test_the_task_asks_once_a_week_however_often_it_is_rung(
    listed: PriceList, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed.dollars = {PRO: "0.49"}
    for _ in range(3):
        tasks.sync_prices()
    assert listed.asked == 1
    later = clock.now() + timedelta(days=7, minutes=1)
    monkeypatch.setattr("accounts.clock.now", lambda: later)
    tasks.sync_prices()
    assert listed.asked == 2


def test_beat_rings_for_it() -> None:
    assert queue.SYNC_PRICES in {each["task"] for each in app.conf.beat_schedule.values()}


def test_the_command_talks_to_fal_as_the_sandbox_is(settings: Any, tmp_path: Path) -> None:
    with running_sandbox(tmp_path, key="id:secret") as sandbox:
        settings.FAL_KEY, settings.FAL_PLATFORM_URL = "id:secret", sandbox.platform_url
        out = io.StringIO()
        call_command("sync_prices", "--json", stdout=out)
    rows = json.loads(out.getvalue())
    assert {row["verdict"] for row in rows} == {"same"}
    assert len(rows) == len(catalogue.orderable()) == ListPrice.objects.count()
