"""An auditor finds every request for more with what happened to it, and can change none of it."""

from __future__ import annotations

from django.test import Client
from django.urls import reverse

from accounts.models import Membership
from generations import asking
from tests.factories import UserFactory
from tests.generations.asking.conftest import asked


def test_a_decided_request_shows_who_said_what_and_leads_to_its_generation(
    member: Membership, admin: Membership
) -> None:
    request = asked(member)
    generation = asking.approve(request.pk, actor=admin.user, note="For the harbour film")
    auditor = Client()
    auditor.force_login(UserFactory(is_staff=True, is_superuser=True))
    listed = auditor.get(reverse("admin:generations_creditrequest_changelist"), {"q": member.user.email})
    assert str(request.pk) in listed.content.decode()
    page = reverse("admin:generations_creditrequest_change", args=[request.pk])
    html = auditor.get(page).content.decode()
    assert "For the harbour film" in html
    assert "For the client" in html
    assert reverse("admin:generations_generation_change", args=[generation.pk]) in html
    assert 'name="_save"' not in html
    assert auditor.post(page, {"state": "declined"}).status_code == 403
    log = auditor.get(
        reverse("admin:accounts_auditrecord_changelist"), {"subject_id__exact": str(request.pk)}
    )
    assert "request.approved" in log.content.decode()
