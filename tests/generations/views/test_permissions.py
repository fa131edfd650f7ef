"""Another team's ids do not exist, in every address."""

from __future__ import annotations

import re
import uuid

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Membership
from generations.models import Generation, Picture
from generations.urls import urlpatterns
from generations.views import picker
from generations.views.picker import DEFAULT
from tests.factories import MembershipFactory
from tests.generations.views.conftest import form, from_picture, ordered, picture, ready, signed_in

# These hold nothing of anybody's; the stream and the webhooks have checks of their own.
OPEN = {"theme", "stream", "fal_webhook"}
# For the machine and its staff; test_metrics.py and test_operations.py try every one of them.
HOUSE = {it.name for it in urlpatterns if it.name == "metrics" or str(it.pattern).startswith("operations/")}
PRIVATE = [it for it in urlpatterns if it.name not in OPEN | HOUSE]
WITH_ID = ["show", "cancel", "keep", "reorder", "clip", "poster", "picture", "receipt", "receipt_file"]
# Their ids are a request's; test_requests.py tries them.
OF_REQUESTS = {"request", "request_withdraw"}
POSTED = {"cancel", "keep", "reorder"}


def answer(client: Client, name: str, pk: uuid.UUID) -> int:
    url = reverse(f"generations:{name}", args=[pk])
    response = client.post(url, {"move": "first"}) if name in POSTED else client.get(url)
    response.getvalue()
    return response.status_code


def test_every_address_with_an_id_is_among_those_tried_here() -> None:
    named = {it.name for it in urlpatterns if "<uuid" in str(it.pattern)}
    assert sorted(named - HOUSE - OF_REQUESTS) == sorted(WITH_ID)


@pytest.mark.parametrize("name", WITH_ID)
def test_another_teams_id_is_not_found_and_ones_own_is(
    name: str, member: Membership, stranger: Membership
) -> None:
    generation = ready(from_picture(member))
    pk = Picture.objects.get().pk if name == "picture" else generation.pk
    assert answer(signed_in(stranger.user), name, pk) == 404
    assert answer(signed_in(member.user), name, pk) in {200, 302}


@pytest.mark.parametrize("name", WITH_ID)
def test_an_id_that_is_nobodys_is_not_found(name: str, site: Client) -> None:
    assert answer(site, name, uuid.uuid4()) == 404


def test_another_teams_generation_cannot_be_run_again_or_watched(
    member: Membership, stranger: Membership
) -> None:
    pk = ordered(member).pk
    theirs = signed_in(stranger.user)
    assert theirs.get(f"/?again={pk}").status_code == 404
    assert theirs.get(f"/updates/?page=show&id={pk}").status_code == 404
    assert str(pk) not in theirs.get(f"/updates/?page=library&ids={pk}").content.decode()
    assert str(pk) not in theirs.get("/library/").content.decode()
    assert str(pk) not in theirs.get("/").content.decode()


def test_another_teams_picture_cannot_be_ordered_with(member: Membership, stranger: Membership) -> None:
    foreign = picture(stranger)
    response = signed_in(member.user).post("/generate/", form(member, image_url=str(foreign.pk)))
    assert response.status_code == 422
    assert "is gone" in response.content.decode()
    assert not Generation.objects.exists()


def test_whoever_left_the_team_sees_nothing_more(member: Membership) -> None:
    generation = ready(ordered(member))
    Membership.objects.filter(pk=member.pk).update(is_active=False)
    left = signed_in(member.user)
    assert left.get(reverse("generations:clip", args=[generation.pk])).status_code == 403
    assert left.get("/").status_code == 403


@pytest.mark.parametrize("it", PRIVATE, ids=lambda it: it.name)
def test_nothing_is_shown_to_whoever_is_not_signed_in(it: object, db: None) -> None:
    name = it.name  # type: ignore[attr-defined]
    pattern = str(it.pattern)  # type: ignore[attr-defined]
    kinds = {"<uuid": [uuid.uuid4()], "<slug": ["entries", "csv"], "<str:token": ["a-token"]}
    args = next((values for kind, values in kinds.items() if kind in pattern), [])
    url = reverse(f"generations:{name}", args=args)
    for response in (Client().get(url), Client().post(url)):
        assert response.status_code in {302, 405}
        assert response.status_code == 405 or "/accounts/login/" in response["Location"]


def test_a_fragment_asked_for_after_the_session_ended_sends_the_page_to_sign_in(db: None) -> None:
    response = Client().get("/updates/?page=studio", headers={"HX-Request": "true"})
    assert response["HX-Redirect"] == "/accounts/login/"


def test_only_the_owner_and_the_teams_admins_may_cancel(member: Membership) -> None:
    generation = ordered(member)
    colleague = MembershipFactory(team=member.team)
    url = reverse("generations:cancel", args=[generation.pk])
    response = signed_in(colleague.user).post(url, follow=True)
    assert "Only the member who asked for it" in response.content.decode()
    assert not Generation.objects.get().is_settled
    admin = MembershipFactory(team=member.team, role="admin")
    signed_in(admin.user).post(url)
    assert Generation.objects.get().state == "canceled"


def test_pages_hold_no_inline_script_or_style(site: Client, member: Membership) -> None:
    generation = ready(ordered(member))
    for url in ("/", "/library/", f"/generations/{generation.pk}/"):
        response = site.get(url)
        html = response.content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|js:", html)
        assert "script-src 'self'" in response["Content-Security-Policy"]


def test_the_default_engine_can_be_ordered() -> None:
    assert picker.orderable(DEFAULT) is not None
