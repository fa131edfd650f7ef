"""The project tag of the composer: written on the clip, offered again, kept through everything, never sent to fal."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from accounts.models import Membership
from generations import lifecycle
from generations.models import Generation
from tests.generations.views.conftest import TEXT_ENGINE, form, ordered


def tagged(member: Membership, tag: str) -> Generation:
    return lifecycle.request(
        user=member.user, team=member.team, engine=TEXT_ENGINE, params={"prompt": "A boat"},
        form_token=uuid.uuid4(), tag=tag,
    )  # fmt: skip


def test_it_stands_on_the_generation_and_not_in_what_fal_is_sent(site: Client, member: Membership) -> None:
    site.post("/generate/", form(member, project_tag="  Spring   launch "))
    made = Generation.objects.get()
    assert made.tag == "Spring launch"
    assert "Spring" not in str(made.inputs)


def test_without_one_there_is_none(site: Client, member: Membership) -> None:
    site.post("/generate/", form(member))
    assert Generation.objects.get().tag == ""


def test_a_tag_that_is_too_long_is_refused_beside_its_field(site: Client, member: Membership) -> None:
    response = site.post("/generate/", form(member, project_tag="x" * 61))
    html = response.content.decode()
    assert response.status_code == 422
    assert "A tag has at most 60 characters." in html
    assert '<details class="fold" id="advanced" open>' in html
    assert not Generation.objects.exists()


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_another_engine_keeps_it(site: Client, member: Membership, headers: dict[str, Any]) -> None:
    sent = form(member, project_tag="Trailer", engine=TEXT_ENGINE)
    html = site.post("/fields/", sent, headers=headers).content.decode()
    assert 'value="Trailer"' in html


def test_again_brings_it_back_and_it_is_offered_to_the_whole_team(site: Client, member: Membership) -> None:
    work = tagged(member, "Trailer")
    ordered(member)
    tagged(member, "Trailer")
    tagged(member, "Spring")
    html = site.get(f"/?again={work.pk}").content.decode()
    assert 'list="project-tags" autocomplete="off" value="Trailer"' in html
    offered = html[html.index('<datalist id="project-tags">') : html.index("</datalist>")]
    assert offered.count("<option") == 2
    assert offered.index("Spring") < offered.index("Trailer")


@pytest.mark.parametrize(
    ("typed", "kept"), [("a\u200b\tb\n c", "a b c"), ("y" * 80, "y" * 60), ("\0", ""), ("Größe 2", "Größe 2")]
)
def test_two_spellings_of_one_word_are_one_tag(member: Membership, typed: str, kept: str) -> None:
    assert tagged(member, typed).tag == kept
