"""Engines that a team hides: not offered, not ordered, and the admins' page that says so."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client

from accounts import ledger
from accounts.models import EngineRule, Hold, Membership
from accounts.models.people import Role
from generations import catalogue, lifecycle
from generations.views.picker import DEFAULT
from tests.factories import MembershipFactory
from tests.generations.views.conftest import TEXT_ENGINE, form, signed_in

pytestmark = pytest.mark.django_db


def hide(member: Membership, engine: str, *, role: str = "") -> None:
    ledger.set_engine_rule(
        member.team.wallet, endpoint_id=engine, role=role, is_allowed=False, actor=member.user, reason="Dear"
    )


@pytest.fixture
def boss(member: Membership) -> Membership:
    return MembershipFactory(team=member.team, role=Role.ADMIN)


def test_a_hidden_engine_is_not_in_the_picker_and_another_is_chosen(
    site: Client, member: Membership, boss: Membership
) -> None:
    assert f'value="{DEFAULT}"' in site.get("/").content.decode()
    hide(member, DEFAULT, role="member")
    for query in ("", f"?engine={DEFAULT}"):
        html = site.get(f"/{query}").content.decode()
        assert f'value="{DEFAULT}"' not in html
        assert f'value="{TEXT_ENGINE}"' in html
    assert f'value="{DEFAULT}"' in signed_in(boss.user).get("/").content.decode()


def test_a_hidden_engine_cannot_be_ordered_whatever_is_sent(site: Client, member: Membership) -> None:
    hide(member, "*")
    response = site.post("/generate/", form(member))
    assert response.status_code == 422
    assert "admins have not opened" in response.content.decode()
    with pytest.raises(lifecycle.EngineHidden, match="Choose another engine, or ask them"):
        lifecycle.request(
            user=member.user, team=member.team, engine=TEXT_ENGINE, params={"prompt": "x"}, form_token=uuid.uuid4()
        )  # fmt: skip
    assert not Hold.objects.exists()


def test_admins_save_the_rules_that_changed_with_one_reason(member: Membership, boss: Membership) -> None:
    site = signed_in(boss.user)
    assert site.get("/team/engines/").status_code == 200
    number = [engine.endpoint_id for engine in catalogue.orderable()].index(TEXT_ENGINE) + 1
    data = {"0-member": "hidden", f"{number}-member": "allowed", "1-everyone": "", "1-admin": "nonsense"}
    refused = site.post("/team/engines/", data)
    assert refused.status_code == 422
    assert not EngineRule.objects.exists()
    for _ in range(2):
        assert site.post("/team/engines/", data | {"reason": "Dear"}).status_code == 302
    rules = EngineRule.objects.filter(team=member.team).values_list("endpoint_id", "role", "is_allowed")
    assert set(rules) == {("*", "member", False), (TEXT_ENGINE, "member", True)}
    assert member.team.wallet.entries.filter(kind="rule", actor=boss.user, reason="Dear").count() == 2


def test_the_page_does_not_exist_for_members(site: Client) -> None:
    assert site.get("/team/engines/").status_code == 404
    assert site.post("/team/engines/", {"0-everyone": "hidden", "reason": "x"}).status_code == 404
