"""The admin reads money and writes people: every page opens, and nobody can touch the book."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts import ledger
from accounts.models import Budget, BudgetPeriod, Draw, Entry, Grant, Hold, Team, User, Wallet
from tests.factories import MembershipFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db
BOOK = [Wallet, Grant, Hold, Entry, Draw, Budget, BudgetPeriod]
PEOPLE = ["user", "team", "membership", "invitation"]


@pytest.fixture
def auditor(client: Client) -> Client:
    """Signed in as a superuser: even they may only read."""
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def wallet() -> Wallet:
    member = MembershipFactory(team=TeamFactory(credits=100))
    wallet = member.team.wallet
    ledger.set_budget(
        wallet, user=member.user, limit_credits=90, period="day", actor=member.user, reason="Cap"
    )
    hold = ledger.hold(wallet, amount=40, user=member.user, reference="generation:1", reason="Generate")
    ledger.capture(hold, amount=30, reason="Stored")
    return wallet


def page(model: Any, view: str, *args: Any) -> str:
    return reverse(f"admin:accounts_{model._meta.model_name}_{view}", args=args)


@pytest.mark.parametrize("model", BOOK)
def test_the_book_can_be_read_but_not_written_by_a_superuser(
    auditor: Client, wallet: Wallet, model: Any
) -> None:
    row = model.objects.first()
    before = list(model.objects.values())
    assert auditor.get(page(model, "add")).status_code == 403
    assert auditor.get(page(model, "change", row.pk)).status_code == 200
    assert auditor.post(page(model, "change", row.pk), {"amount": 1, "_save": "Save"}).status_code == 403
    assert auditor.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
    answer = auditor.post(page(model, "changelist"), action)
    assert b"Are you sure" not in answer.content
    assert list(model.objects.values()) == before


@pytest.mark.parametrize("model", BOOK)
def test_no_permission_of_the_book_is_given_to_anybody(wallet: Wallet, rf: Any, model: Any) -> None:
    request = rf.get("/")
    request.user = UserFactory(is_staff=True, is_superuser=True)
    room = admin.site._registry[model]
    assert not room.has_add_permission(request)
    assert not room.has_change_permission(request)
    assert not room.has_delete_permission(request)
    assert room.has_view_permission(request)
    assert room.get_actions(request) == {}
    for inline in room.get_inline_instances(request, model.objects.first()):
        assert not inline.has_add_permission(request, None)
        assert not inline.has_change_permission(request)
        assert not inline.has_delete_permission(request)


@pytest.mark.parametrize("model", BOOK)
def test_lists_can_be_searched_and_ask_the_same_few_questions_however_long(
    auditor: Client, wallet: Wallet, model: Any, django_assert_max_num_queries: Any
) -> None:
    for number in range(6):
        hold = ledger.hold(
            wallet, amount=1, user=UserFactory(), reference=f"many:{number}", reason="Generate"
        )
        ledger.release(hold, reason="Failed")
    with django_assert_max_num_queries(16):
        answer = auditor.get(page(model, "changelist"), {"q": wallet.team.name})
    assert answer.status_code == 200
    assert answer.context["cl"].result_list


def test_every_related_thing_is_one_click_away(auditor: Client, wallet: Wallet) -> None:
    shown = auditor.get(page(Wallet, "change", wallet.pk)).content.decode()
    for model in [Entry, Grant, Hold, Budget]:
        assert f"{page(model, 'changelist')}?wallet__id__exact={wallet.pk}" in shown
        assert auditor.get(page(model, "changelist"), {"wallet__id__exact": wallet.pk}).status_code == 200
    grant, budget, hold = wallet.grants.get(), wallet.budgets.get(), wallet.holds.get()
    draws = f"{page(Draw, 'changelist')}?grant__id__exact={grant.pk}"
    assert draws in auditor.get(page(Grant, "change", grant.pk)).content.decode()
    assert auditor.get(draws).status_code == 200
    windows = f"{page(BudgetPeriod, 'changelist')}?budget__id__exact={budget.pk}"
    assert windows in auditor.get(page(Budget, "change", budget.pk)).content.decode()
    assert auditor.get(windows).status_code == 200
    capture = hold.entries.get(kind="capture")
    assert page(Entry, "change", capture.pk) in auditor.get(page(Hold, "change", hold.pk)).content.decode()
    shown = auditor.get(page(Entry, "change", capture.pk)).content.decode()
    assert page(Hold, "change", hold.pk) in shown
    assert page(Grant, "change", grant.pk) in shown


@pytest.mark.parametrize("name", PEOPLE)
def test_pages_of_people_open_and_nobody_is_deleted(
    auditor: Client, wallet: Wallet, rf: Any, name: str
) -> None:
    assert auditor.get(reverse(f"admin:accounts_{name}_changelist"), {"q": "a"}).status_code == 200
    request = rf.get("/")
    request.user = UserFactory(is_staff=True, is_superuser=True)
    [room] = [room for model, room in admin.site._registry.items() if model._meta.model_name == name]
    assert not room.has_delete_permission(request)


def test_a_team_made_in_the_admin_has_a_wallet(auditor: Client) -> None:
    inline = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    new = {"name": "Film unit", "slug": "film", "time_zone": "Europe/Berlin"}
    assert auditor.post(page(Team, "add"), new | inline).status_code == 302
    assert ledger.balance(Team.objects.get(slug="film").wallet).available == 0
    answer = auditor.post(page(Team, "add"), new | inline | {"slug": "other", "time_zone": "Mars/Olympus"})
    assert "no time zone" in answer.content.decode()


def test_a_person_made_in_the_admin_signs_in_with_their_e_mail(auditor: Client) -> None:
    secret = "an unusual pass phrase"
    new = {"email": "new@example.com", "name": "New", "password1": secret, "password2": secret}
    inline = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    answer = auditor.post(page(User, "add"), new | inline | {"usable_password": "true"})
    assert answer.status_code == 302
    person = User.objects.get(email="new@example.com")
    assert person.check_password(secret)
    shown = auditor.get(page(User, "change", person.pk)).content.decode()
    assert person.password not in shown
    assert Client().login(email="new@example.com", password=secret)
