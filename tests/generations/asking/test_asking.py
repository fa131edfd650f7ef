"""Asking for more: the draft is kept as it was, decided once, and runs by itself at the price that was quoted."""

from __future__ import annotations

import uuid
from datetime import timedelta
from unittest import mock

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.db import DatabaseError, transaction
from django.utils import timezone

from accounts import ledger
from accounts.errors import BudgetExceeded, SelfDealing
from accounts.ledger import check
from accounts.models import Budget, Entry, Hold, Membership
from accounts.models.people import Role
from generations import asking, catalogue, lifecycle, tasks
from generations.models import CreditRequest, CreditRequestStep, Generation, PriceVersion
from generations.views.picker import DEFAULT
from tests.factories import fill
from tests.generations.asking.conftest import LIMIT, PRICE, admin_of, asked, asker
from tests.generations.views.conftest import picture

pytestmark = pytest.mark.django_db


def kinds(row: CreditRequest) -> list[str]:
    return list(row.steps.order_by("pk").values_list("kind", flat=True))


def test_a_refused_draft_is_kept_with_its_pictures_its_words_and_its_price(member: Membership) -> None:
    row = asked(member)
    assert (row.prompt, row.tag, row.note) == ("The boat drifts", "Harbour", "For the client")
    assert (row.quote_credits, row.refusal) == (PRICE, "budget")
    assert "25 left of your budget of 25 per day" in row.refusal_text
    assert row.price_version == PriceVersion.objects.current(DEFAULT)
    [link] = row.picture_links.all()
    assert link.field == "image_url"
    assert kinds(row) == ["asked"]
    assert not Hold.objects.exists()


def test_the_same_form_asks_once(member: Membership) -> None:
    token = uuid.uuid4()
    shots = {"image_url": [picture(member)]}
    first = asked(member, form_token=token, pictures=shots)
    assert asked(member, form_token=token, pictures=shots) == first
    with pytest.raises(asking.AskedBefore):
        asked(member, form_token=token, pictures=shots, params={"prompt": "Something else"})
    assert CreditRequest.objects.count() == 1


def test_what_nothing_refuses_cannot_be_asked_for() -> None:
    with pytest.raises(asking.NothingRefused, match="press Generate"):
        asked(asker(limit=None))


def test_a_frozen_wallet_is_no_matter_of_more_credits(member: Membership, admin: Membership) -> None:
    ledger.freeze(member.team.wallet, actor=admin.user, reason="Audit")
    member.team.wallet.refresh_from_db()
    with pytest.raises(asking.NothingRefused, match="frozen"):
        asked(member)


def test_approved_once_it_runs_over_the_budget_which_stays_and_counts_it(
    member: Membership, admin: Membership
) -> None:
    row = asked(member)
    made = asking.approve(row.pk, actor=admin.user, note="Go on")
    assert (made.user, made.form_token, made.tag, made.quote_credits) == (
        member.user, row.form_token, "Harbour", PRICE,
    )  # fmt: skip
    assert list(made.pictures.all()) == list(row.pictures.all())
    assert Budget.objects.get().limit_credits == LIMIT
    [status] = ledger.budget_status(member.team.wallet, member.user)
    assert (status.held, status.left) == (PRICE, 0)
    row.refresh_from_db()
    assert (row.state, row.generation) == ("approved", made)
    assert check.breaches() == []


def test_the_book_names_who_approved_which_request_over_what(member: Membership, admin: Membership) -> None:
    row = asked(member)
    asking.approve(row.pk, actor=admin.user)
    entry = Entry.objects.get(kind="hold")
    assert (entry.user, entry.actor) == (member.user, admin.user)
    assert entry.note == f"approved: request {row.pk}; over 25 per day"


def test_the_next_clip_is_refused_as_before(member: Membership, admin: Membership) -> None:
    asking.approve(asked(member).pk, actor=admin.user)
    with pytest.raises(BudgetExceeded):
        lifecycle.request(
            user=member.user,
            team=member.team,
            engine=DEFAULT,
            params={"prompt": "Another"},
            pictures={"image_url": [picture(member)]},
            form_token=uuid.uuid4(),
        )


def test_approved_with_a_raised_budget_both_are_done_and_booked(
    member: Membership, admin: Membership
) -> None:
    row = asked(member)
    asking.approve(row.pk, actor=admin.user, note="Busy week", new_limit=asking.NewLimit("day", 100))
    [status] = ledger.budget_status(member.team.wallet, member.user)
    assert (status.limit, status.held, status.left) == (100, PRICE, 51)
    entry = Entry.objects.filter(kind="budget").latest("seq")
    assert entry.note == "25 per day, hard → 100 per day, hard"
    assert entry.reason == f"Raised for request {row.pk}: Busy week"
    assert kinds(row) == ["asked", "raised"]


@pytest.mark.parametrize(("limit", "said"), [(20, "more than that"), (48, "at least that")])
def test_a_limit_that_would_not_let_it_through_changes_nothing(
    member: Membership, admin: Membership, limit: int, said: str
) -> None:
    row = asked(member)
    with pytest.raises(asking.NotRaised, match=said):
        asking.approve(row.pk, actor=admin.user, new_limit=asking.NewLimit("day", limit))
    row.refresh_from_db()
    assert row.is_open
    assert Budget.objects.get().limit_credits == LIMIT
    assert not Hold.objects.exists()


def test_a_wallet_that_is_short_stays_short_and_the_request_open() -> None:
    poor = asker(available=10)
    boss = admin_of(poor)
    row = asked(poor)
    assert row.refusal == "credits"
    with pytest.raises(asking.StaysOpen, match="39 are missing"):
        asking.approve(row.pk, actor=boss.user)
    row.refresh_from_db()
    assert row.is_open
    assert kinds(row) == ["asked"]
    fill(poor.team.wallet, 39)
    assert asking.approve(row.pk, actor=boss.user).quote_credits == PRICE
    poor.team.wallet.refresh_from_db()
    assert poor.team.wallet.available == 0


@pytest.mark.parametrize(("price", "held"), [(60, PRICE), (40, 40)])
def test_a_price_that_rises_does_not_raise_it_and_one_that_falls_is_welcome(
    member: Membership, admin: Membership, price: int, held: int
) -> None:
    row = asked(member)
    now = PriceVersion.objects.create(
        engine=DEFAULT, rule=row.price_version.rule, reason="New list", valid_from=timezone.now()
    )
    with mock.patch.object(catalogue, "quote_credits", return_value=price):
        made = asking.approve(row.pk, actor=admin.user)
    assert made.quote_credits == made.hold.amount == held
    assert made.price_version == (row.price_version if held == PRICE else now)


def test_a_withdrawn_engine_is_named_and_the_request_stays(member: Membership, admin: Membership) -> None:
    row = asked(member)
    gone = catalogue.UnknownEngine(DEFAULT)
    with (
        mock.patch.object(catalogue, "get", side_effect=gone),
        pytest.raises(asking.StaysOpen, match="withdrawn"),
    ):
        asking.approve(row.pk, actor=admin.user)
    row.refresh_from_db()
    assert row.is_open


def test_an_engine_that_is_hidden_from_the_member_runs_once_when_approved() -> None:
    member = asker(limit=None)
    boss = admin_of(member)
    ledger.set_engine_rule(
        member.team.wallet, endpoint_id=DEFAULT, role="member", is_allowed=False, actor=boss.user, reason="x"
    )
    row = asked(member)
    assert row.refusal == "engine"
    asking.approve(row.pk, actor=boss.user)
    assert Entry.objects.get(kind="hold").note.endswith("; over no budget")


def test_a_declined_request_holds_nothing_and_needs_a_word(member: Membership, admin: Membership) -> None:
    row = asked(member)
    with pytest.raises(asking.NoteRequired):
        asking.decline(row.pk, actor=admin.user, note=" ")
    asking.decline(row.pk, actor=admin.user, note="Next month")
    with pytest.raises(asking.AlreadyDecided, match="declined already"):
        asking.approve(row.pk, actor=admin.user)
    assert not Hold.objects.exists()
    assert asked(member, form_token=row.form_token) != row, "the same form may ask again"


def test_only_admins_of_the_team_decide(member: Membership) -> None:
    row, stranger = asked(member), admin_of(asker())
    left = admin_of(member)
    Membership.objects.filter(pk=left.pk).update(is_active=False)
    for who in (member, stranger, left):
        with pytest.raises(asking.NotAnAdmin):
            asking.approve(row.pk, actor=who.user)
        with pytest.raises(asking.NotAnAdmin):
            asking.decline(row.pk, actor=who.user, note="No")


def test_nobody_approves_their_own_unless_they_are_the_only_admin_which_is_marked(
    member: Membership,
) -> None:
    Membership.objects.filter(pk=member.pk).update(role=Role.ADMIN)
    row, other = asked(member), admin_of(member)
    with pytest.raises(SelfDealing, match="approves their own request"):
        asking.approve(row.pk, actor=member.user)
    Membership.objects.filter(pk=other.pk).update(is_active=False)
    asking.approve(row.pk, actor=member.user)
    assert Entry.objects.get(kind="hold").note.endswith(f"; {ledger.SOLE_ADMIN}")


def test_who_left_the_team_gets_nothing(member: Membership, admin: Membership) -> None:
    row = asked(member)
    Membership.objects.filter(pk=member.pk).update(is_active=False)
    with pytest.raises(asking.StaysOpen, match="no longer a member"):
        asking.approve(row.pk, actor=admin.user)


def test_a_request_is_withdrawn_by_its_member_alone(member: Membership, admin: Membership) -> None:
    row = asked(member)
    with pytest.raises(CreditRequest.DoesNotExist):
        asking.withdraw(row.pk, actor=admin.user)
    asking.withdraw(row.pk, actor=member.user)
    with pytest.raises(asking.AlreadyDecided, match="withdrawn"):
        asking.approve(row.pk, actor=admin.user)
    assert kinds(row) == ["asked", "withdrawn"]


def test_after_its_time_it_cannot_be_approved_swept_or_not(member: Membership, admin: Membership) -> None:
    row = asked(member)
    CreditRequest.objects.update(expires_at=timezone.now())
    with pytest.raises(asking.AlreadyDecided, match="expired"):
        asking.approve(row.pk, actor=admin.user)
    tasks.sweep()
    row.refresh_from_db()
    assert (row.state, kinds(row)) == ("expired", ["asked", "expired"])


def test_what_was_ordered_meanwhile_is_not_run_a_second_time(member: Membership, admin: Membership) -> None:
    row = asked(member)
    ledger.remove_budget(
        member.team.wallet, user=member.user, period="day", actor=admin.user, reason="No limit"
    )
    lifecycle.request(
        user=member.user,
        team=member.team,
        engine=DEFAULT,
        params={"prompt": row.prompt},
        pictures={"image_url": list(row.pictures.all())},
        form_token=row.form_token,
    )
    with pytest.raises(asking.OrderedMeanwhile):
        asking.approve(row.pk, actor=admin.user)
    assert Generation.objects.count() == 1
    asking.sweep()
    row.refresh_from_db()
    assert row.state == "withdrawn"


def test_history_is_never_rewritten(member: Membership) -> None:
    step = asked(member).steps.get()
    step.note = "Other"
    with pytest.raises(ValidationError):
        step.save()
    for change in (
        lambda: CreditRequestStep.objects.update(note="Other"),
        CreditRequestStep.objects.all().delete,
    ):
        with pytest.raises(DatabaseError, match="append_only"), transaction.atomic():
            change()


def mails(row: CreditRequest) -> list[EmailMessage]:
    mail.outbox.clear()
    tasks.request_mail(str(row.pk))
    return list(mail.outbox)


def test_each_admin_is_mailed_a_link_of_their_own_once(member: Membership, admin: Membership) -> None:
    second = admin_of(member)
    row = asked(member)
    sent = mails(row)
    assert [each.to for each in sent] == [[admin.user.email], [second.user.email]]
    assert "https://video.example.com/requests/by-mail/" in sent[0].body
    link = sent[0].body.split("/by-mail/")[1].split("/")[0]
    assert asking.follow(link, user=admin.user) == row.pk
    with pytest.raises(asking.LinkNotGood):
        asking.follow(link, user=second.user)
    with pytest.raises(asking.LinkNotGood):
        asking.follow(link[:-2] + "xx", user=admin.user)
    assert mails(row) == []


def test_an_old_link_opens_nothing(member: Membership, admin: Membership) -> None:
    row = asked(member)
    with mock.patch("time.time", return_value=(timezone.now() - timedelta(days=15)).timestamp()):
        old = asking.token(row, admin.user)
    with pytest.raises(asking.LinkNotGood):
        asking.follow(old, user=admin.user)


def test_the_member_is_mailed_what_was_decided(member: Membership, admin: Membership) -> None:
    row = asked(member)
    mails(row)
    asking.decline(row.pk, actor=admin.user, note="Next month")
    [told] = mails(row)
    assert told.to == [member.user.email]
    assert "Ann has declined" in told.body
    assert "They say: Next month" in told.body


def test_a_mail_that_did_not_go_is_tried_again_and_not_for_ever(
    member: Membership, admin: Membership
) -> None:
    row = asked(member)
    for _ in range(6):
        CreditRequest.objects.update(mail_due_at=timezone.now() - timedelta(seconds=1))
        with mock.patch("generations.asking.mails.get_connection", side_effect=ConnectionRefusedError):
            assert mails(row) == []
    row.refresh_from_db()
    assert row.mail_due_at is None
    CreditRequest.objects.update(mail_due_at=timezone.now() - timedelta(seconds=1), mail_tries=1)
    assert len(mails(row)) == 1


def test_a_decision_between_two_mails_is_mailed_too(member: Membership, admin: Membership) -> None:
    row = asked(member)
    with mock.patch(
        "generations.asking.mails.get_connection",
        side_effect=lambda: asking.decline(row.pk, actor=admin.user, note="No") or mock.Mock(),
    ):
        tasks.request_mail(str(row.pk))
    [told] = mails(row)
    assert told.to == [member.user.email]
