"""The admin reads money and writes people: every page opens, and nobody can touch the book."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
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
        wallet, user=member.user, limit_credits=90, period="day", actor=UserFactory(), reason="Cap"
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
    new = {"name": "Film unit", "slug": "film", "time_zone": "Europe/Berlin", "share_weight": 2}
    assert auditor.post(page(Team, "add"), new | inline).status_code == 302
    team = Team.objects.get(slug="film")
    assert ledger.balance(team.wallet).available == 0
    assert team.share_weight == 2
    assert "would favour themselves" in auditor.get(page(Team, "change", team.pk)).content.decode()
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


def operator_of(permission: str) -> User:
    staff = UserFactory(is_staff=True)
    staff.user_permissions.set(
        Permission.objects.filter(codename__in=[permission, "view_wallet", "view_hold"])
    )
    return staff


def correct(client: Client, row: Any, name: str, **data: Any) -> Any:
    """Open the correction page, fill it in as shown and send it."""
    address = page(type(row), name, row.pk)
    key = client.get(address).context["form"].initial["key"]
    return client.post(address, {"key": key} | data)


def test_an_operator_corrects_a_wallet_and_the_book_names_them(client: Client, wallet: Wallet) -> None:
    operator = operator_of("change_wallet")
    client.force_login(operator)
    assert page(Wallet, "adjust", wallet.pk) in client.get(page(Wallet, "change", wallet.pk)).content.decode()
    assert correct(client, wallet, "adjust", amount=-7, reason="Charge-back").status_code == 302
    entry = wallet.entries.get(kind="adjustment")
    assert (entry.actor, entry.reason, entry.adjusted_out_delta) == (operator, "Charge-back", 7)
    assert correct(client, wallet, "freeze", reason="Stolen card").status_code == 302
    wallet.refresh_from_db()
    assert wallet.status == "frozen"
    assert correct(client, wallet, "unfreeze", reason="New card").status_code == 302
    wallet.refresh_from_db()
    assert wallet.status == "active"


def test_a_doubled_refund_from_the_admin_is_one_and_too_much_is_refused_in_words(
    client: Client, wallet: Wallet
) -> None:
    client.force_login(operator_of("change_wallet"))
    hold = wallet.holds.get()
    for _ in range(2):
        answer = client.post(
            page(Hold, "refund", hold.pk), {"key": "same", "amount": 10, "reason": "Black clip"}
        )
        assert answer.status_code == 302
    assert wallet.entries.filter(kind="refund").count() == 1
    refusal = correct(client, hold, "refund", amount=21, reason="All of it").content.decode()
    assert "21 credits cannot be refunded: 20 of this captured hold could be." in refusal
    assert "This field is required." in correct(client, hold, "refund", amount=1, reason=" ").content.decode()
    assert wallet.entries.filter(kind="refund").count() == 1


def test_whoever_may_only_look_corrects_nothing(client: Client, wallet: Wallet) -> None:
    client.force_login(operator_of("view_entry"))
    shown = client.get(page(Wallet, "change", wallet.pk))
    assert shown.status_code == 200
    assert page(Wallet, "adjust", wallet.pk) not in shown.content.decode()
    for row, name in [(wallet, "adjust"), (wallet, "freeze"), (wallet.holds.get(), "refund")]:
        data = {"key": "k", "amount": 1, "reason": "Mine"}
        assert client.post(page(type(row), name, row.pk), data).status_code == 403
    assert not wallet.entries.filter(kind__in=["adjustment", "refund", "freeze"]).exists()
