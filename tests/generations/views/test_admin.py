"""The admin shows generations and lets nobody write them."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, User
from generations.models import Attempt, DispatchPause, Generation, LogLine, PriceVersion
from tests.generations.views.conftest import from_picture, ready

MODELS = [model for model in admin.site._registry if model._meta.app_label == "generations"]


@pytest.fixture
def overseer(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root@example.com", "correct horse battery"))
    return client


@pytest.fixture
def generation(member: Membership) -> Generation:
    made = ready(from_picture(member))
    attempt = Attempt.objects.create(generation=made, number=1, state="done", request_id="r-1")
    LogLine.objects.create(attempt=attempt, position=0, message="done")
    return made


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.model_name)
def test_every_list_opens_can_be_searched_and_offers_no_adding(
    model: type, overseer: Client, generation: Generation
) -> None:
    base = f"admin:generations_{model._meta.model_name}"  # type: ignore[attr-defined]
    assert overseer.get(reverse(f"{base}_changelist"), {"q": "boat"}).status_code == 200
    # Price versions are added, never changed: tests/generations/prices/test_admin.py.
    expected = 200 if model is PriceVersion else 403
    assert overseer.get(reverse(f"{base}_add")).status_code == expected


def test_a_generation_opens_with_links_into_the_book_and_cannot_be_saved(
    overseer: Client, generation: Generation
) -> None:
    url = reverse("admin:generations_generation_change", args=[generation.pk])
    html = overseer.get(url).content.decode()
    assert reverse("admin:accounts_hold_change", args=[generation.hold_id]) in html
    assert 'name="_save"' not in html
    assert overseer.post(url, {"state": "failed"}).status_code == 403
    assert (
        overseer.post(reverse("admin:generations_generation_delete", args=[generation.pk])).status_code == 403
    )


def test_the_token_of_an_attempt_is_not_shown(overseer: Client, generation: Generation) -> None:
    attempt = generation.attempts.get()
    html = overseer.get(reverse("admin:generations_attempt_change", args=[attempt.pk])).content.decode()
    assert attempt.token not in html


def test_a_pause_can_be_lifted(overseer: Client) -> None:
    DispatchPause.objects.create(pk=1, reason="locked", code="locked", probe_at=timezone.now())
    url = reverse("admin:generations_dispatchpause_changelist")
    overseer.post(url, {"action": "lift", "_selected_action": ["1"]})
    assert not DispatchPause.objects.exists()


@pytest.mark.parametrize("where", ["generations_attempt", "generations_generation", "accounts_entry"])
def test_times_in_lists_have_their_seconds(where: str, overseer: Client, generation: Generation) -> None:
    html = overseer.get(reverse(f"admin:{where}_changelist")).content.decode()
    assert re.search(r">\d\d? [A-Z][a-z]{2} 20\d\d \d\d:\d\d:\d\d<", html)
