"""Every model of the admin: nobody writes in books and work, lists cost the same however long, and leave as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import ledger
from accounts.models import AuditRecord, Entry, Hold, Invitation, Membership, Team, User
from generations.models import Attempt, Generation, PriceVersion
from tests.factories import MembershipFactory, TeamFactory, UserFactory
from tests.generations.views.conftest import ordered

pytestmark = pytest.mark.django_db
# People and their places; each change of theirs is in the audit log.
EDITABLE = {"accounts.user", "accounts.team", "accounts.membership", "accounts.invitation", "auth.group"}
READ_ONLY = [model for model in admin.site._registry if model._meta.label_lower not in EDITABLE]
SHOULD_BE = {
    *("wallet", "grant", "hold", "entry", "draw", "budget", "budgetperiod", "signedhead", "auditrecord"),
    *("priceversion", "generation", "attempt", "delivery", "output", "breaker"),
}


@pytest.fixture
def auditor(client: Client) -> Client:
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


def page(model: Any, view: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_{view}", args=args)


def test_the_whole_book_is_there() -> None:
    assert {model._meta.model_name for model in READ_ONLY} >= SHOULD_BE
    assert {
        *(model._meta.label_lower for model in (User, Team, Membership, Invitation)),
        "auth.group",
    } == EDITABLE


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model._meta.label_lower)
def test_not_even_a_superuser_adds_changes_or_deletes(auditor: Client, rf: Any, model: Any) -> None:
    room, request = admin.site._registry[model], rf.get("/")
    request.user = UserFactory(is_staff=True, is_superuser=True)
    pk = model.objects.values_list("pk", flat=True).first() or "1"
    for url in (page(model, "change", pk), page(model, "delete", pk)):
        assert auditor.post(url, {"post": "yes"}).status_code in {302, 403}, url
    # A price is a new row with a reason, by a form of its own: prices/test_admin.py.
    if model is not PriceVersion:
        assert auditor.post(page(model, "add"), {"post": "yes"}).status_code == 403
        assert not room.has_add_permission(request)
    for each in (room, *room.get_inline_instances(request)):
        assert not each.has_add_permission(request, None) if each is not room else True
        assert not each.has_change_permission(request)
        assert not each.has_delete_permission(request)
    assert "delete_selected" not in room.get_actions(request)
    assert room.search_fields or model._meta.model_name == "dispatchpause"
    assert auditor.get(page(model, "changelist")).status_code == 200
    taken = auditor.get(page(model, "export"))
    assert b"".join(taken.streaming_content)
    assert AuditRecord.objects.filter(action="export.made", after__list=model._meta.label_lower).exists()


def rows_of(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))


def test_the_file_has_the_filtered_rows_with_draws_and_digest_and_no_formula(auditor: Client) -> None:
    wallet = TeamFactory(credits=100).wallet
    ledger.hold(wallet, amount=7, user=UserFactory(), reference="w:1", reason="=1+1")
    found = rows_of(auditor.get(page(Entry, "export"), {"kind__exact": "hold", "q": wallet.team.name}))
    entry = wallet.entries.get(kind="hold")
    assert [row["sha256"] for row in found] == [entry.sha256]
    assert found[0]["reason"] == "'=1+1"
    assert found[0]["draws_in_words"] == f"grant {wallet.grants.get().pk}: remaining to held 7"
    assert found[0]["wallet"] == wallet.team.slug


def test_no_token_leaves_in_a_file(auditor: Client, member: Membership) -> None:
    attempt = Attempt.objects.create(generation=ordered(member), number=1, state="done")
    [row] = rows_of(auditor.get(page(Attempt, "export")))
    assert attempt.token not in row.values()


def test_a_way_leads_from_an_entry_to_the_work_and_back(auditor: Client, member: Membership) -> None:
    generation = ordered(member)
    entry = generation.hold.entries.get()
    assert (
        page(Hold, "change", generation.hold_id)
        in auditor.get(page(Entry, "change", entry.pk)).content.decode()
    )
    assert (
        page(Generation, "change", generation.pk)
        in auditor.get(page(Hold, "change", generation.hold_id)).content.decode()
    )
    html = auditor.get(page(Generation, "change", generation.pk)).content.decode()
    for model, key in ((Attempt, "generation__id__exact"), (Entry, "hold__id__exact")):
        assert f"{page(model, 'changelist')}?{key}=" in html
    for model, pk in ((User, member.user_id), (Team, member.team_id), (Hold, generation.hold_id)):
        assert page(model, "change", pk) in html


def test_lists_ask_as_little_of_a_hundred_rows_as_of_ten(auditor: Client) -> None:
    def grow(count: int) -> None:
        for number in range(count):
            member = MembershipFactory(team=TeamFactory(credits=9))
            wallet, actor = member.team.wallet, UserFactory()
            ledger.set_budget(
                wallet, user=member.user, limit_credits=9, period="day", actor=actor, reason="Cap"
            )
            ledger.hold(
                wallet, amount=1, user=member.user, reference=f"w:{member.pk}:{number}", reason="Clip"
            )

    def asked() -> dict[str, int]:
        found = {}
        for model in READ_ONLY:
            with CaptureQueriesContext(connection) as seen:
                assert auditor.get(page(model, "changelist")).status_code == 200
            found[model._meta.label_lower] = len(seen)
        return found

    grow(10)
    few = asked()
    grow(90)  # a hundred in all
    assert asked() == few
