"""The buttons of one's own line: shown where there is something to order, and nobody else's to press."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Membership
from generations import estimates, lifecycle
from generations.lifecycle import line
from generations.models import Generation
from tests.factories import MembershipFactory
from tests.generations.views.conftest import advanced, ordered, signed_in

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/"}


@pytest.fixture(autouse=True)
def short_memory() -> Iterator[None]:
    estimates.forget()
    line.forget()
    yield
    estimates.forget()
    line.forget()


def address(generation: Generation) -> str:
    return reverse("generations:reorder", args=[generation.pk])


def own_line() -> list[object]:
    return [row.pk for row in lifecycle.waiting_line().rows]


def test_the_buttons_are_there_once_two_wait_and_say_where_it_stands(
    member: Membership, site: Client
) -> None:
    first = ordered(member)
    assert address(first) not in site.get("/").content.decode()
    second = ordered(member)
    page = site.get("/").content.decode()
    assert address(first) in page and address(second) in page
    assert "Yours: 1 of 2" in page and "Yours: 2 of 2" in page
    assert page.count('name="move"') == 8 and page.count('value="first" aria-disabled="true"') == 1
    assert address(second) in site.get(reverse("generations:show", args=[second.pk])).content.decode()
    advanced(first, "submitted")
    assert 'name="move"' not in site.get("/").content.decode()


def test_a_form_without_javascript_moves_it_and_comes_back_to_its_page(
    member: Membership, site: Client
) -> None:
    first, second = ordered(member), ordered(member)
    shown = reverse("generations:show", args=[second.pk])
    answer = site.post(address(second), {"move": "first"}, headers={"Referer": f"http://testserver{shown}"})
    assert (answer.status_code, answer["Location"]) == (302, f"http://testserver{shown}")
    assert own_line() == [second.pk, first.pk]
    away = site.post(address(second), {"move": "last"}, headers={"Referer": "https://elsewhere.example/"})
    assert away["Location"] == "/"
    assert "It is the last of yours now." in site.get("/").content.decode()
    site.post(address(second), {"move": "last"})
    page = site.get("/").content.decode()
    assert '<p class="banner ">It stands there already.</p>' in page, "nothing was done, so it is no success"


def test_a_script_gets_the_cards_as_they_stand_now(member: Membership, site: Client) -> None:
    first, second = ordered(member, prompt="The first"), ordered(member, prompt="The second")
    page = site.post(address(first), {"move": "later"}, headers=HTMX).content.decode()
    assert "It goes one place later." in page and 'hx-target="#live"' in page
    assert page.index("Yours: 1 of 2") < page.index("Yours: 2 of 2"), (
        "the cards stand in the order of the line"
    )
    assert own_line() == [second.pk, first.pk]
    again = site.post(address(first), {"move": "last"}, headers=HTMX).content.decode()
    words = (
        f'<hx-partial hx-target="#said-{first.pk}" hx-swap="innerHTML">It stands there already.</hx-partial>'
    )
    assert words in again and "banner-good" not in again
    assert f'id="said-{first.pk}" role="status" hx-morph-skip-children' in again
    shown = reverse("generations:show", args=[first.pk])
    there = site.post(
        address(first), {"move": "first"}, headers={**HTMX, "HX-Current-URL": f"http://testserver{shown}"}
    )
    assert 'hx-target="#live"' not in there.content.decode()


def test_another_member_s_line_is_theirs_an_admin_s_wish_or_not(member: Membership) -> None:
    first, second = ordered(member), ordered(member)
    admin = MembershipFactory.create(team=member.team, role="admin")
    colleague = signed_in(admin.user)
    page = colleague.get("/").content.decode()
    assert str(second.pk) in page and 'name="move"' not in page
    answer = colleague.post(address(second), {"move": "first"}, headers=HTMX).content.decode()
    assert "banner-held" in answer and "Only the member who asked for it" in answer
    assert own_line() == [first.pk, second.pk]


def test_another_team_s_do_not_exist(member: Membership, stranger: Membership) -> None:
    row = ordered(member)
    assert signed_in(stranger.user).post(address(row), {"move": "first"}).status_code == 404
    assert Client().post(address(row), {"move": "first"}).status_code == 302


def test_what_has_gone_is_told_so_and_nonsense_is_refused(member: Membership, site: Client) -> None:
    first, _ = ordered(member), ordered(member)
    assert site.post(address(first), {"move": "up"}).status_code == 400
    assert site.get(address(first)).status_code == 405
    advanced(first, "submitted")
    answer = site.post(address(first), {"move": "last"}, headers=HTMX).content.decode()
    assert "banner-held" in answer and "left the line" in answer
