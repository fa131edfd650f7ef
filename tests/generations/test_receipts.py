"""Every clip has a receipt that proves itself away from here, and whatever is changed in one is found."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from accounts import ledger
from accounts.ledger import bundle, heads
from accounts.models import Membership
from generations import receipts
from generations.models import Attempt, Delivery, Generation, Output
from tests.factories import MembershipFactory, TeamFactory, UserFactory
from tests.generations.views.conftest import failed, from_picture, media_root, ready, signed_in

__all__ = ["media_root"]
pytestmark = pytest.mark.django_db
VERIFIER = bundle.VERIFIER


@pytest.fixture
def member() -> Membership:
    return MembershipFactory(team=TeamFactory(credits=1000))


@pytest.fixture
def clip(member: Membership) -> Generation:
    """Captured, then refunded in part; fal took 49 cents and called once."""
    made = ready(from_picture(member))
    attempt = Attempt.objects.create(
        generation=made, number=1, state="done", request_id="r-1", fal_cost_usd=Decimal("0.49")
    )
    Delivery.objects.create(
        attempt=attempt, request_id="r-1", body="{}", body_sha256="ab" * 32, signed_at=timezone.now()
    )
    ledger.refund(made.hold, amount=9, actor=UserFactory(), reason="Grainy", idempotency_key="r")
    return Generation.objects.get(pk=made.pk)


def verified(path: Path, *more: str) -> tuple[int, str]:
    """What the program of the bundles says, in a Python that has none of our packages."""
    program = [sys.executable, "-I", "-S", str(VERIFIER), str(path), *more]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def saved(document: dict[str, Any], folder: Path) -> Path:
    path = folder / "receipt.json"
    path.write_text(json.dumps(document, indent=1), "utf-8")
    return path


def test_a_receipt_has_all_that_the_clip_moved(clip: Generation) -> None:
    content = receipts.signed(clip)["receipt"]
    assert content["credits"] == {"quote": 49, "held": 49, "captured": 49, "refunded": 9}
    assert (content["price"]["version"], content["price"]["usd"]) == (clip.price_version_id, "0.49")
    assert content["pictures"][0]["sha256"] == clip.pictures.get().sha256
    assert content["output"]["sha256"] == "0" * 64
    [attempt] = content["attempts"]
    assert attempt["fal_took_usd"] == "0.49"
    assert attempt["webhooks"][0]["body_sha256"] == "ab" * 32
    book = list(
        clip.team.wallet.entries.filter(hold=clip.hold_id).order_by("seq").values_list("seq", "sha256")
    )
    assert [(each["entry"]["seq"], each["sha256"]) for each in content["entries"]] == book
    assert [each["entry"]["kind"] for each in content["entries"]] == ["hold", "capture", "refund"]


def test_plain_python_proves_a_receipt_and_finds_its_entries_in_a_bundle(
    clip: Generation, tmp_path: Path
) -> None:
    document = receipts.signed(clip)
    path, books = saved(document, tmp_path), tmp_path / "books.zip"
    now = timezone.now()
    with books.open("wb") as out:
        bundle.write(out, clip.team.wallet, start=now - timedelta(days=1), end=now + timedelta(days=1))
    code, said = verified(path, document["key"], str(books))
    assert (code, "3 entries, 3 of them in the books" in said, "NOT CHECKED" in said) == (0, True, False)
    assert "NOT CHECKED" in verified(path)[1]
    assert verified(path, "00" * 32)[0] == 1


TAMPERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "credits": lambda receipt: receipt["credits"].update(captured=1),
    "dollars": lambda receipt: receipt["attempts"][0].update(fal_took_usd="0.01"),
    "clip": lambda receipt: receipt["output"].update(sha256="1" * 64),
    "entry": lambda receipt: receipt["entries"][1]["entry"].update(reason="Another"),
    "who": lambda receipt: receipt["member"].update(name="Somebody else"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_tampered_receipt_is_found_by_us_and_without_us(
    clip: Generation, what: str, tmp_path: Path
) -> None:
    document = receipts.signed(clip)
    TAMPERED[what](document["receipt"])
    path = saved(document, tmp_path)
    assert verified(path, document["key"])[0] == 1
    with pytest.raises(CommandError, match="changed since"):
        call_command("check_receipt", str(path))


def test_even_a_receipt_that_is_signed_anew_does_not_fit_the_book(clip: Generation, tmp_path: Path) -> None:
    document = copy.deepcopy(receipts.signed(clip))
    document["receipt"]["entries"][1]["entry"]["reason"] = "Another"
    document["signature"] = heads.Signer.ours().sign(heads.compact(document["receipt"]))
    assert "digest" in verified(saved(document, tmp_path), document["key"])[1]
    document["receipt"]["entries"][1]["sha256"] = "0" * 64
    document["signature"] = heads.Signer.ours().sign(heads.compact(document["receipt"]))
    assert receipts.problems(document) == [
        f"Entry #{document['receipt']['entries'][1]['entry']['seq']} is not in the book as the receipt has it."
    ]


def test_a_receipt_of_ours_is_whole_until_the_stored_clip_is_another(
    clip: Generation, tmp_path: Path
) -> None:
    path, out = saved(receipts.signed(clip), tmp_path), io.StringIO()
    call_command("check_receipt", str(path), stdout=out)
    assert "49 credits captured" in out.getvalue()
    Output.objects.filter(generation=clip).update(sha256="2" * 64)
    with pytest.raises(CommandError, match="not the one the receipt names"):
        call_command("check_receipt", str(path))
    for nonsense in ({}, [], {"receipt": {"entries": []}, "signature": "xyz"}):
        assert receipts.problems(nonsense) == ["This is no receipt of ours."]


def test_the_page_and_the_file_are_for_whoever_may_see_the_clip(clip: Generation, member: Membership) -> None:
    site = signed_in(member.user)
    page = site.get(reverse("generations:receipt", args=[clip.pk]))
    for words in ("49 credits", "$0.49", "ab" * 32, "0" * 64, "verify.py"):
        assert words in page.content.decode()
    answer = site.get(reverse("generations:receipt_file", args=[clip.pk]))
    assert receipts.problems(json.loads(answer.content)) == []
    assert f"receipt-{clip.pk}.json" in answer["Content-Disposition"]
    shown = site.get(reverse("generations:show", args=[clip.pk])).content.decode()
    assert reverse("generations:receipt", args=[clip.pk]) in shown
    stranger = signed_in(MembershipFactory(team=TeamFactory(), role="admin").user)
    for name in ("receipt", "receipt_file"):
        assert stranger.get(reverse(f"generations:{name}", args=[clip.pk])).status_code == 404


def test_what_failed_has_a_receipt_that_says_nothing_was_charged(member: Membership) -> None:
    running = from_picture(member)
    site = signed_in(member.user)
    page = reverse("generations:receipt", args=[running.pk])
    assert site.get(page).status_code == 404
    assert page not in site.get(reverse("generations:show", args=[running.pk])).content.decode()
    failed(running)
    assert site.get(page).status_code == 200
    content = receipts.signed(Generation.objects.get(pk=running.pk))["receipt"]
    assert (content["credits"]["captured"], content["output"]) == (0, None)
