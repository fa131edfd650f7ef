"""The audit log: every way in which a person changes something leaves one row, which nobody changes again."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import ProgrammingError, connection, transaction
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import audit, ledger, people
from accounts.models import AuditRecord, Entry, Membership
from accounts.models.people import Role
from accounts.urls import entrance, urlpatterns
from tests.factories import MembershipFactory, TeamFactory, UserFactory, fill, ip_address

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
NEW_PASSWORD = "seven blue kites fly"


@dataclass
class Scene:
    """A team with one admin, signed in, and one member."""

    client: Client
    admin: Membership
    member: Membership
    address: str

    def post(self, name: str, data: dict[str, Any] | None = None, *args: Any) -> Any:
        return self.client.post(reverse(name, args=args), data or {})


@pytest.fixture
def scene() -> Scene:
    admin = MembershipFactory(team=TeamFactory(credits=500), role=Role.ADMIN)
    member, address = MembershipFactory(team=admin.team), ip_address()
    client = Client(REMOTE_ADDR=address, HTTP_USER_AGENT="Test/1.0")
    client.force_login(admin.user)
    return Scene(client, admin, member, address)


def lot(scene: Scene) -> Any:
    """A grant that ends, so that it may be extended."""
    wallet = scene.admin.team.wallet
    entry = ledger.add_credits(
        wallet, amount=50, source="purchase", days=30, reference="INV-1", reason="Bought", note="",
        actor=UserFactory(), idempotency_key="lot",
    )  # fmt: skip
    return entry.draws.get().grant


def invited(scene: Scene) -> str:
    _, token = people.invite(
        scene.admin.team, email="new@example.com", role="member", invited_by=scene.admin.user
    )
    return token


def reset_link(scene: Scene) -> str:
    scene.client.logout()
    scene.post("account_reset_password", {"email": scene.member.user.email})
    found = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", mail.outbox[-1].body)
    assert found
    return scene.client.get(found[1]).headers["Location"]


def set_first_password(scene: Scene) -> Any:
    scene.admin.user.set_unusable_password()
    scene.admin.user.save()
    scene.client.force_login(scene.admin.user)
    return scene.post("account_set_password", {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})


BUDGET = {"limit_credits": "40", "period": "day", "strength": "hard", "reason": "Trial"}
GRANT = {
    "amount": "10",
    "source": "purchase",
    "days": "30",
    "reference": "INV-2",
    "reason": "Bought",
    "key": "k",
}
TWICE = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
# Every address that takes a POST: what is sent to it, and the action that is then in the log.
CHANGES: dict[str, tuple[str, Callable[[Scene], Any]]] = {
    "accounts:grant_add": ("grant.added", lambda s: s.post("accounts:grant_add", GRANT)),
    "accounts:grant_extend": (
        "grant.extended",
        lambda s: s.post(
            "accounts:grant_extend", {"last_day": "2099-01-01", "reason": "Late", "key": "k"}, lot(s).pk
        ),
    ),
    "accounts:grant_void": (
        "grant.voided",
        lambda s: s.post("accounts:grant_void", {"reason": "Fraud", "key": "k"}, lot(s).pk),
    ),
    "accounts:default_budget": ("team.rule_changed", lambda s: s.post("accounts:default_budget", BUDGET)),
    "accounts:invite": (
        "invitation.sent",
        lambda s: s.post(
            "accounts:invite", {"email": "new@example.com", "role": "member", "budget_period": "month"}
        ),
    ),
    "accounts:revoke_invitation": (
        "invitation.revoked",
        lambda s: (invited(s), s.post("accounts:revoke_invitation", {}, s.admin.team.invitations.get().pk)),
    ),
    "accounts:member_role": (
        "membership.role_changed",
        lambda s: s.post("accounts:member_role", {"role": "admin"}, s.member.pk),
    ),
    "accounts:member_remove": (
        "membership.ended",
        lambda s: s.post("accounts:member_remove", {}, s.member.pk),
    ),
    "accounts:budget": ("budget.changed", lambda s: s.post("accounts:budget", BUDGET, s.member.pk)),
    "accounts:budget_remove": (
        "budget.changed",
        lambda s: (
            s.post("accounts:budget", BUDGET, s.member.pk),
            s.post("accounts:budget_remove", {"period": "day", "reason": "Over"}, s.member.pk),
        ),
    ),
    "accounts:invitation": (
        "invitation.accepted",
        lambda s: Client().post(f"/invitation/{invited(s)}/", {"name": "Nia", "password": NEW_PASSWORD}),
    ),
    "account_login": (
        "sign_in.succeeded",
        lambda s: (
            s.client.logout(),
            s.post("account_login", {"login": s.member.user.email, "password": PASSWORD}),
        ),
    ),
    "account_logout": ("sign_in.ended", lambda s: s.post("account_logout")),
    "account_change_password": (
        "password.changed",
        lambda s: s.post("account_change_password", {"oldpassword": PASSWORD} | TWICE),
    ),
    "account_set_password": ("password.changed", set_first_password),
    "account_reset_password": (
        "password.reset_asked",
        lambda s: s.post("account_reset_password", {"email": s.member.user.email}),
    ),
    "account_reset_password_from_key": (
        "password.reset",
        lambda s: s.client.post(reset_link(s), TWICE),
    ),
    "accounts:alert_settings": (
        "alerts.changed",
        lambda s: s.post(
            "accounts:alert_settings",
            {"wallet_percents": "40, 90", "budget_percents": "90", "is_mailed": "on"},
        ),
    ),
    "accounts:alert_hook": (
        "webhook.set",
        lambda s: s.post("accounts:alert_hook", {"url": "https://93.184.216.34/services/T0/B0"}),
    ),
    "accounts:alert_hook_remove": (
        "webhook.removed",
        lambda s: (
            s.post("accounts:alert_hook", {"url": "https://93.184.216.34/services/T0/B0"}),
            s.post("accounts:alert_hook_remove"),
        ),
    ),
    "accounts:audit_file": ("export.made", lambda s: s.client.get("/team/audit.csv")),
}
# They only show, or change nothing but the session of whoever asks.
READ = {
    *("accounts:wallet", "accounts:grant", "accounts:team", "accounts:audit_log", "accounts:switch_team"),
    *("accounts:alerts", "accounts:alert_dismiss", "accounts:alerts_dismiss", "accounts:alert_test"),
    *("account_signup", "account_inactive"),
    *("account_reset_password_done", "account_reset_password_from_key_done"),
}


def test_every_address_of_people_and_money_has_its_place_here() -> None:
    names = {f"accounts:{each.name}" for each in urlpatterns} | {str(each.name) for each in entrance}
    assert names == CHANGES.keys() | READ
    assert not CHANGES.keys() & READ


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_leaves_a_row(scene: Scene, name: str) -> None:
    action, act = CHANGES[name]
    act(scene)
    found = AuditRecord.objects.filter(action=action).last()
    assert found, list(AuditRecord.objects.values_list("action", flat=True))
    assert found.subject_id or action == "export.made"
    assert found.address
    assert found.request_id
    text = json.dumps(list(AuditRecord.objects.values("before", "after", "reason", "subject")))
    assert PASSWORD not in text
    assert NEW_PASSWORD not in text


@pytest.mark.parametrize("name", ["accounts:wallet", "accounts:team", "accounts:audit_log"])
def test_looking_leaves_none(scene: Scene, name: str) -> None:
    before = AuditRecord.objects.count()
    assert scene.client.get(reverse(name)).status_code == 200
    assert AuditRecord.objects.count() == before


def test_a_row_says_who_did_what_from_where_and_what_it_was_before(scene: Scene) -> None:
    scene.post("accounts:budget", BUDGET, scene.member.pk)
    scene.post("accounts:budget", BUDGET | {"limit_credits": "90"}, scene.member.pk)
    found = AuditRecord.objects.filter(action="budget.changed").last()
    assert found and found.entry
    assert (found.actor, found.team, found.reason) == (scene.admin.user, scene.admin.team, "Trial")
    assert (found.subject_type, found.subject_id) == ("accounts.user", str(scene.member.user_id))
    assert found.before == {"day": {"limit_credits": 40, "is_hard": True}}
    assert found.after["day"] == {"limit_credits": 90, "is_hard": True}
    assert (found.address, found.user_agent) == (scene.address, "Test/1.0")
    assert found.entry == scene.admin.team.wallet.entries.filter(kind="budget").last()


def test_what_changes_nothing_leaves_no_row(scene: Scene) -> None:
    for _ in range(2):
        scene.post("accounts:member_role", {"role": "admin"}, scene.member.pk)
        scene.post("accounts:budget", BUDGET, scene.member.pk)
    counted = AuditRecord.objects.filter(action__in=["membership.role_changed", "budget.changed"])
    # The second time there are two admins, and the budget is as it was.
    assert sorted(counted.values_list("action", flat=True)) == ["budget.changed", "membership.role_changed"]


def test_a_refused_change_leaves_no_row(scene: Scene) -> None:
    before = AuditRecord.objects.count()
    scene.post("accounts:member_role", {"role": "member"}, scene.admin.pk)
    scene.post("accounts:member_remove", {}, scene.admin.pk)
    scene.post("accounts:grant_add", GRANT | {"reason": " "})
    assert AuditRecord.objects.count() == before


def test_a_change_that_is_rolled_back_takes_its_row_with_it(scene: Scene) -> None:
    before = AuditRecord.objects.count()
    with transaction.atomic():
        people.set_role(scene.member, role="admin")
        assert AuditRecord.objects.count() == before + 1
        transaction.set_rollback(True)
    assert AuditRecord.objects.count() == before


def test_every_entry_that_a_person_caused_has_its_row(scene: Scene) -> None:
    wallet, actor = scene.admin.team.wallet, UserFactory()
    ledger.adjust(wallet, amount=-5, actor=actor, reason="Error", idempotency_key="a")
    hold = ledger.hold(wallet, amount=9, user=scene.member.user, reference="w:1", reason="Clip")
    ledger.capture(hold, amount=9, reason="Stored")
    ledger.refund(hold, amount=4, actor=actor, reason="Black", idempotency_key="r")
    ledger.freeze(wallet, actor=actor, reason="Stolen")
    ledger.unfreeze(wallet, actor=actor, reason="Found")
    ledger.set_engine_rule(wallet, endpoint_id="fal/x", role="", is_allowed=False, actor=actor, reason="Dear")
    rows = list(AuditRecord.objects.filter(actor=actor).order_by("pk"))
    assert [row.entry_id for row in rows] == list(
        Entry.objects.filter(wallet=wallet, actor=actor).order_by("pk").values_list("pk", flat=True)
    )
    assert [(row.action, row.before, row.after) for row in rows] == [
        ("wallet.adjusted", {"available": 500}, {"available": 495}),
        ("hold.refunded", {"available": 486, "captured": 9}, {"available": 490, "captured": 5}),
        ("wallet.frozen", {"status": "active"}, {"status": "frozen"}),
        ("wallet.unfrozen", {"status": "frozen"}, {"status": "active"}),
        (
            "team.rule_changed",
            {"fal/x for everyone": "nothing said"},
            {"fal/x for everyone": "hidden", "note": "fal/x for everyone: nothing said → hidden"},
        ),
    ]


def test_rows_are_never_changed_or_taken_out(scene: Scene) -> None:
    row = audit.record("team.tested", subject=scene.admin.team)
    row.action = "something.else"
    for refused in (row.save, row.delete):
        with pytest.raises(ValidationError):
            refused()
    for sql in ("UPDATE accounts_auditrecord SET action = 'x'", "DELETE FROM accounts_auditrecord"):
        with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
            connection.cursor().execute(sql)


def test_a_failed_sign_in_names_the_person_but_never_what_was_typed(scene: Scene) -> None:
    client = Client(REMOTE_ADDR=ip_address())
    for login in (scene.member.user.email, "my-secret-phrase@example.com"):
        client.post("/accounts/login/", {"login": login, "password": "quite wrong"})
    known, unknown = AuditRecord.objects.filter(action="sign_in.failed").order_by("pk")
    assert (known.actor, known.subject_id) == (None, str(scene.member.user_id))
    assert (unknown.subject, unknown.after) == ("", {})


@pytest.mark.parametrize(("count", "seen"), [(0, "10.0.0.9"), (1, "203.0.113.7")])
def test_the_address_is_the_one_the_proxy_saw_if_there_is_one(settings: Any, count: int, seen: str) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = count
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.9", HTTP_X_FORWARDED_FOR="1.2.3.4, 203.0.113.7")
    assert audit.record("team.tested", request=request).address == seen


def test_secrets_and_prompts_are_never_kept() -> None:
    row = audit.record(
        "team.tested",
        before={"password": "old", "prompt": "A boat"},
        after={"password": "new", "prompt": "A car", "token_sha256": "abc", "nul": "a\0b"},
    )
    assert row.before == {"password": "changed", "prompt": "changed"}
    assert row.after == {"password": "changed", "prompt": "changed", "token_sha256": "changed", "nul": "ab"}


# --- The page -------------------------------------------------------------------------------------------------------


def rows_of(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))


def test_the_page_shows_the_own_team_and_no_other(scene: Scene) -> None:
    other = MembershipFactory(role=Role.ADMIN)
    fill(ledger.open_wallet(other.team), 77)
    Client().force_login(other.user)
    Client().force_login(scene.member.user)
    html = scene.client.get("/team/audit/").content.decode()
    shown = scene.client.get("/team/audit/").context["lines"]
    assert {line.record.team_id for line in shown} <= {scene.admin.team_id, None}
    assert str(scene.member.user_id) in {line.record.subject_id for line in shown}
    assert str(other.user_id) not in {line.record.subject_id for line in shown if line.record.team_id is None}
    assert "Grant added" in html
    assert "available:" in html


def test_the_page_is_for_the_teams_admins_alone(scene: Scene) -> None:
    theirs = Client()
    theirs.force_login(scene.member.user)
    for url in ("/team/audit/", "/team/audit.csv"):
        assert theirs.get(url).status_code == 404


def test_the_page_is_narrowed_and_taken_away_as_a_file(scene: Scene) -> None:
    scene.post("accounts:budget", BUDGET | {"reason": "=1+1"}, scene.member.pk)
    narrow = {"kind": "budget", "actor": str(scene.admin.user_id), "first": "2000-01-01"}
    lines = scene.client.get("/team/audit/", narrow).context["lines"]
    assert [line.record.action for line in lines] == ["budget.changed"]
    assert not scene.client.get("/team/audit/", {"kind": "budget", "last": "2000-01-01"}).context["lines"]
    [row] = rows_of(scene.client.get("/team/audit.csv", narrow))
    assert (row["actor"], row["reason"]) == (scene.admin.user.email, "'=1+1")
    assert json.loads(row["after"])["day"] == {"is_hard": True, "limit_credits": 40}
    assert (
        scene.client.get("/team/audit/", {"actor": "x", "first": "9999-99-99", "before": "²"}).status_code
        == 200
    )
    assert scene.client.get("/team/audit/", {"last": "9999-12-31", "before": "9" * 40}).status_code == 200


def test_the_page_goes_back_in_time_and_asks_the_same_few_questions_however_long(scene: Scene) -> None:
    def ask(query: str = "") -> tuple[Any, int]:
        with CaptureQueriesContext(connection) as seen:
            answer = scene.client.get(f"/team/audit/{query}")
        return answer, len(seen)

    _, few = ask()
    for number in range(60):
        audit.record(
            f"team.tested_{number}", team=scene.admin.team, actor=UserFactory(), subject=scene.admin.team
        )
    first, many = ask()
    assert many == few
    assert len(first.context["lines"]) == 50
    second, _ = ask(f"?{first.context['next_query']}")
    seen = [line.record.pk for page in (first, second) for line in page.context["lines"]]
    assert seen == sorted(set(seen), reverse=True)
    assert "← Newest" in second.content.decode()
