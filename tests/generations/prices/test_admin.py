"""Prices in the admin: seen worked out before they are written, decided with a reason, and never edited."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction
from django.test import Client
from django.urls import reverse

from accounts.models import User
from generations import lifecycle, prices
from generations.models import PriceProposal, PriceVersion
from tests.factories import MembershipFactory, TeamFactory, UserFactory
from tests.generations.prices.conftest import PRO, STANDARD
from tests.generations.views.conftest import ordered

pytestmark = pytest.mark.django_db
ADD = "/admin/generations/priceversion/add/"
DEARER = {"quantity": {"kind": "seconds", "param": "duration"}, "rate": {"usd": "0.10"}}


@pytest.fixture
def desk(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


def shape(engine: str) -> str:
    return f"{ADD}?engine={engine}&shape=new"


def sent(rule: Any = DEARER, **more: Any) -> dict[str, Any]:
    return {"rule": json.dumps(rule), "reason": "fal raised it", "valid_from": ""} | more


def test_the_form_begins_with_the_rule_in_force(desk: Client) -> None:
    assert STANDARD in desk.get(ADD).content.decode()
    page = desk.get(shape(STANDARD))
    form = page.context["form"]
    assert form.initial["rule"] == PriceVersion.objects.current(STANDARD).rule
    assert "Show what it does" in page.content.decode()


def amounts(version: PriceVersion, **more: Any) -> dict[str, Any]:
    six, ten = more.pop("six", "0.28"), more.pop("ten", "0.56")
    known = {"rate.rows.0.usd": six, "rate.rows.1.usd": ten}
    return {"after": version.pk, "reason": "fal raised it", "valid_from": ""} | known | more


def test_a_price_is_raised_by_changing_its_number_and_the_rule_keeps_its_shape(
    desk: Client, operator: User
) -> None:
    seen, page = PriceVersion.objects.newest(STANDARD), f"{ADD}?engine={STANDARD}"
    form = desk.get(page).content.decode()
    assert "US dollars per clip: duration 10" in form
    assert 'name="rate.rows.1.usd" value="0.56"' in form
    preview = desk.post(page, amounts(seen, ten="0.60")).content.decode()
    assert "60 credits ($0.6)" in preview
    assert 'name="rate.rows.1.usd" value="0.60"' in preview
    assert PriceVersion.objects.newest(STANDARD) == seen
    back = desk.post(page, amounts(seen, ten="0.60", edit="yes")).content.decode()
    assert 'name="rate.rows.1.usd" value="0.60"' in back
    assert desk.post(page, amounts(seen, ten="0.60", confirm="yes")).status_code == 302
    made = PriceVersion.objects.newest(STANDARD)
    assert made.rule["rate"]["rows"] == [
        seen.rule["rate"]["rows"][0],
        {"when": {"duration": "10"}, "usd": "0.60"},
    ]
    assert made.rule["quantity"] == seen.rule["quantity"]
    assert made.actor == operator


@pytest.mark.parametrize(
    ("six", "words"),
    [
        ("", "required"),
        ("a dime", "Enter a number"),
        ("-1", "greater than or equal to 0"),
        ("NaN", "Enter a number"),
        ("1e99", "digits"),
        ("0", "no credits at all"),
    ],
)
def test_a_number_that_is_no_price_is_refused_and_the_others_stay(desk: Client, six: str, words: str) -> None:
    sheet = amounts(PriceVersion.objects.newest(STANDARD), six=six, ten="0.61", confirm="yes")
    page = desk.post(f"{ADD}?engine={STANDARD}", sheet).content.decode()
    assert words in page
    assert 'value="0.61"' in page
    assert PriceVersion.objects.filter(engine=STANDARD).count() == 1


def test_numbers_of_a_version_that_is_no_longer_the_newest_are_not_written_over_it(
    desk: Client, operator: User
) -> None:
    seen = PriceVersion.objects.newest(STANDARD)
    prices.publish(STANDARD, DEARER, actor=operator, reason="Meanwhile, and of another shape")
    page = desk.post(f"{ADD}?engine={STANDARD}", amounts(seen, ten="0.60", confirm="yes")).content.decode()
    assert "was changed meanwhile" in page
    assert 'value="0.60"' in page
    assert PriceVersion.objects.newest(STANDARD).rule == DEARER


def test_what_is_about_to_be_written_can_be_tried_on_the_last_90_days_first(desk: Client) -> None:
    seen = PriceVersion.objects.newest(STANDARD)
    shown = desk.post(f"{ADD}?engine={STANDARD}", amounts(seen, ten="0.60"))
    simulate = reverse("admin:generations_priceversion_simulate")
    assert f'action="{simulate}" target="_blank"' in shown.content.decode()
    tried = desk.post(simulate, {"rules": shown.context["draft"], "days": 90})
    assert tried.context["form"].cleaned_data["rules"][STANDARD]["rate"]["rows"][1]["usd"] == "0.60"
    assert "orders, " in tried.content.decode()


def test_worked_examples_come_before_the_price_is_written(desk: Client, operator: User) -> None:
    seen = PriceVersion.objects.newest(STANDARD)
    preview = desk.post(shape(STANDARD), sent(after=seen.pk)).content.decode()
    for words in ("duration 10", "56 credits ($0.56)", "100 credits ($1)", "+78.6 %", "+114.3 %"):
        assert words in preview
    assert lifecycle.quote(STANDARD, {}).credits == 28
    answer = desk.post(shape(STANDARD), sent(after=seen.pk, confirm="yes"))
    assert answer.status_code == 302
    version = PriceVersion.objects.newest(STANDARD)
    assert (version.rule, version.actor, version.reason) == (DEARER, operator, "fal raised it")
    assert lifecycle.quote(STANDARD, {}).credits == 60


def test_whatever_was_written_since_the_examples_were_seen_stops_it(desk: Client, operator: User) -> None:
    seen = PriceVersion.objects.newest(STANDARD)
    prices.publish(STANDARD, DEARER, actor=operator, reason="Meanwhile")
    page = desk.post(shape(STANDARD), sent(after=seen.pk, confirm="yes"))
    assert "was changed meanwhile" in page.content.decode()
    assert PriceVersion.objects.filter(engine=STANDARD).count() == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rule": "{"}, "valid JSON"),
        ({"rule": "[1]"}, "is an object"),
        ({"rule": '{"quantity": {"kind": "one"}, "rate": {"usd": "0"}}'}, "no credits at all"),
        ({"valid_from": "2020-01-01T00:00"}, "in the past"),
        ({"reason": " "}, "required"),
    ],
)
def test_a_price_that_cannot_be_is_refused_in_words(
    desk: Client, changed: dict[str, Any], words: str
) -> None:
    for step in ({}, {"confirm": "yes"}):
        page = desk.post(shape(STANDARD), sent() | changed | step)
        assert words in page.content.decode()
    assert PriceVersion.objects.filter(engine=STANDARD).count() == 1


def test_a_version_is_never_changed_or_deleted_by_anybody(desk: Client) -> None:
    version = PriceVersion.objects.current(PRO)
    base = "admin:generations_priceversion"
    page = reverse(f"{base}_change", args=[version.pk])
    assert desk.get(page).status_code == 200
    assert desk.post(page, {"reason": "Another"}).status_code == 403
    assert desk.post(reverse(f"{base}_delete", args=[version.pk]), {"post": "yes"}).status_code == 403


@pytest.fixture
def proposal(db: None) -> PriceProposal:
    rule = {"quantity": {"kind": "one"}, "rate": {"usd": "0.55"}}
    with transaction.atomic():
        made = prices.propose(PRO, rule, source=PriceProposal.Source.FAL, why="fal lists $0.55 per unit")
    assert made is not None
    return made


def decide(proposal: PriceProposal) -> str:
    return reverse("admin:generations_priceproposal_decide", args=[proposal.pk])


def test_a_proposal_shows_its_examples_and_is_confirmed_with_one_click(
    desk: Client, proposal: PriceProposal
) -> None:
    shown = desk.get(reverse("admin:generations_priceproposal_change", args=[proposal.pk])).content.decode()
    assert "49 credits ($0.49)" in shown
    assert "55 credits ($0.55)" in shown
    assert "Confirm: make it the price" in shown
    answer = desk.post(decide(proposal), {"reason": "", "valid_from": "", "confirm": "yes"}, follow=True)
    assert "required" in answer.content.decode()
    for _ in range(2):
        answer = desk.post(
            decide(proposal), {"reason": "So it is", "valid_from": "", "confirm": "yes"}, follow=True
        )
    assert "confirmed already" in answer.content.decode()
    assert lifecycle.quote(PRO, {}).credits == 55
    assert PriceVersion.objects.filter(engine=PRO).count() == 2
    shown = desk.get(reverse("admin:generations_priceproposal_change", args=[proposal.pk])).content.decode()
    assert "Confirm: make it the price" not in shown


def test_a_declined_proposal_leaves_the_price(desk: Client, proposal: PriceProposal) -> None:
    desk.post(decide(proposal), {"reason": "We bear it", "valid_from": "", "decline": "yes"})
    proposal.refresh_from_db()
    assert (proposal.state, proposal.decision_reason) == ("declined", "We bear it")
    assert lifecycle.quote(PRO, {}).credits == 49


def test_whoever_may_only_look_writes_no_price(client: Client, proposal: PriceProposal) -> None:
    reader = UserFactory(is_staff=True)
    codes = ["view_priceversion", "view_priceproposal"]
    reader.user_permissions.set(Permission.objects.filter(codename__in=codes))
    client.force_login(reader)
    page = reverse("admin:generations_priceproposal_change", args=[proposal.pk])
    assert client.get(page).status_code == 200
    assert "make it the price" not in client.get(page).content.decode()
    assert client.post(decide(proposal), {"reason": "Mine", "valid_from": ""}).status_code == 403
    assert client.get(ADD).status_code == client.post(f"{ADD}?engine={PRO}", sent()).status_code == 403
    form = client.get(reverse("admin:generations_priceversion_simulate"))
    assert form.status_code == 200
    assert ">\n{}</textarea>" in form.content.decode()
    client.force_login(UserFactory(is_staff=True))
    assert client.get(reverse("admin:generations_priceversion_simulate")).status_code == 403


def test_the_simulator_page_says_before_after_and_who_was_stopped(desk: Client) -> None:
    member = MembershipFactory(team=TeamFactory(credits=1000))
    for _ in range(3):
        ordered(member)
    page = reverse("admin:generations_priceversion_simulate")
    rules = json.dumps({PRO: {"quantity": {"kind": "one"}, "rate": {"usd": "1"}}})
    data = {"rules": rules, "cap_credits": 200, "cap_period": "never", "days": 90}
    shown = desk.post(page, data).content.decode()
    assert "147 credits before, 200 after; 1 order stopped" in shown
    assert str(member.user) in shown
    assert "budget in all" in shown
    for wrong in (
        {"rules": "[1]"},
        {"rules": '{"x": {}}'},
        {"cap_member": "nobody@example.com"},
        {"days": 91},
    ):
        assert desk.post(page, data | wrong).context.get("outcome") is None
