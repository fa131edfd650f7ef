"""fal's bills on one page for staff: the number, the classes, the rows, the file; and what Prometheus reads of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse

from accounts import clock
from accounts.models import Membership, User
from generations import fal, metrics, queue, reconciliation, tasks
from generations.models import Attempt, Bill, BillCursor, BillMatch
from generations.reconciliation import bills, classes
from tests.concurrency.together import together
from tests.generations.views.conftest import ordered, ready, signed_in

URL = "/operations/bills/"


def event(request_id: str, cost: str = "0.49", *, age: timedelta = timedelta(hours=1)) -> fal.BillingEvent:
    at = clock.now().replace(microsecond=0) - age
    return fal.BillingEvent(request_id, "fal-ai/a/b", at, Decimal(1), Decimal(cost), Decimal(cost))


@pytest.fixture
def overseer(db: None) -> Client:
    return signed_in(User.objects.create_superuser("root@example.com", "correct horse battery"))


@pytest.fixture
def attempt(member: Membership) -> Attempt:
    made = ready(ordered(member))
    now = clock.now()
    return Attempt.objects.create(generation=made, number=1, state="done", request_id="ours", ended_at=now)


@pytest.fixture
def rows(attempt: Attempt) -> None:
    page = [event("ours", "0.60"), event("theirs", "1.25"), event("old", "7", age=timedelta(days=60))]
    classes.classify(bills.keep(page))


def test_the_page_has_one_number_and_each_row_is_a_click_from_its_generation(
    overseer: Client, rows: None, attempt: Attempt
) -> None:
    page = overseer.get(URL).content.decode()
    over = Decimal("0.60") - classes.price_of(attempt.generation) + Decimal("1.25")
    assert f"<strong>${over:.2f}</strong>" in page
    assert reverse("admin:generations_generation_change", args=[attempt.generation_id]) in page
    assert reverse("admin:generations_attempt_change", args=[attempt.pk]) in page
    assert "theirs" in page
    assert "old" not in [row.request_id for row in overseer.get(URL).context["page"].object_list]
    [unknown] = overseer.get(URL, {"kind": "unknown"}).context["page"].object_list
    assert unknown.request_id == "theirs"


def test_the_file_has_the_rows_of_the_filter(overseer: Client, rows: None) -> None:
    answer = overseer.get(reverse("generations:bills_file"), {"kind": "unknown", "period": "all"})
    text = b"".join(answer.streaming_content).decode()  # type: ignore[arg-type]
    assert len(text.splitlines()) == 3
    assert "unknown,1.25,0.0,1.25" in text


def test_for_a_member_there_is_no_such_page(member: Membership, rows: None) -> None:
    site = signed_in(member.user)
    assert site.get(URL).status_code == site.get(reverse("generations:bills_file")).status_code == 404


def test_the_admin_shows_bills_and_rewrites_none(overseer: Client, rows: None) -> None:
    for model in ("bill", "billmatch"):
        assert overseer.get(reverse(f"admin:generations_{model}_changelist")).status_code == 200
        assert overseer.get(reverse(f"admin:generations_{model}_add")).status_code == 403


def test_a_duplicate_adds_nothing_and_a_correction_is_the_last_word(rows: None) -> None:
    at = Bill.objects.get(request_id="theirs").billed_at
    same = fal.BillingEvent("theirs", "fal-ai/a/b", at, Decimal(1), Decimal("1.25"), Decimal("1.250"))
    bills.keep([same, same])
    assert Bill.objects.filter(request_id="theirs").count() == 1
    for cost in ("0.25", "1.25", "0.5"):
        words = fal.BillingEvent("theirs", "fal-ai/a/b", at, Decimal(1), Decimal(cost), Decimal(cost))
        classes.classify(bills.keep([words]))
        assert BillMatch.objects.get(request_id="theirs").fal_usd == Decimal(cost)


@pytest.mark.django_db(transaction=True)
@pytest.mark.concurrency
def test_two_runs_at_once_write_each_bill_and_each_row_once() -> None:
    page = [event(f"request-{number}") for number in range(20)]
    together([lambda: classes.classify(bills.keep(page))] * 4)
    assert Bill.objects.count() == BillMatch.objects.count() == 20


def test_a_page_with_a_row_that_cannot_be_read_is_not_written_in_part(db: None) -> None:
    timeless = fal.BillingEvent("x", "a/b", None, None, None, Decimal(1))
    with pytest.raises(fal.ProtocolError):
        bills.keep([event("whole"), timeless])
    assert not Bill.objects.exists()


def test_a_bill_is_written_once(rows: None) -> None:
    bill = Bill.objects.earliest("pk")
    with pytest.raises(ValidationError):
        bill.save()
    with pytest.raises(DatabaseError, match="Cannot update"), transaction.atomic():
        Bill.objects.filter(pk=bill.pk).update(cost_usd=0)


def test_prometheus_reads_the_number_the_age_and_the_classes(rows: None, attempt: Attempt) -> None:
    assert "fal_unexplained_usd" not in metrics.exposition().decode()
    BillCursor.objects.update(finished_at=clock.now() - timedelta(hours=2))
    text = metrics.exposition().decode()
    over = Decimal("0.60") - classes.price_of(attempt.generation) + Decimal("1.25")
    assert f"clipledger_fal_unexplained_usd {float(over)}" in text
    assert 'clipledger_fal_bills{class="unknown"} 1.0' in text
    assert "clipledger_reconciliation_age_seconds 7" in text


def test_the_bell_does_nothing_where_there_is_no_admin_key(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "reconcile", lambda: pytest.fail("it was run"))
    tasks.reconcile()
    assert tasks.reconcile.name == queue.RECONCILE
