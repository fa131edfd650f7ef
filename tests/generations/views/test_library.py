"""The library: found, paged without skipping or repeating, the same number of queries however many cards."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Membership
from generations.models import Generation
from generations.views.library import PER_PAGE
from tests.factories import MembershipFactory, fill
from tests.generations.views.conftest import failed, from_picture, ordered, ready

HTMX = {"HX-Request": "true"}


def cards(html: str) -> list[str]:
    return re.findall(r'<article id="card-([0-9a-f-]+)"', html)


def more(html: str) -> str:
    found = re.search(r'<a class="button button-2" href="(\?[^"]+)"', html)
    return found[1].replace("&amp;", "&") if found else ""


def test_pages_follow_each_other_without_a_gap_even_at_one_moment(site: Client, member: Membership) -> None:
    fill(member.team.wallet, 10_000)
    for _ in range(PER_PAGE * 2 + 3):
        ordered(member)
    Generation.objects.update(created_at=timezone.now() - timedelta(hours=1))
    seen: list[str] = []
    url = "/library/"
    while url:
        html = site.get(url).content.decode()
        seen += cards(html)
        assert len(cards(html)) <= PER_PAGE
        url = f"/library/{more(html)}" if more(html) else ""
    assert len(seen) == len(set(seen)) == PER_PAGE * 2 + 3


def test_load_more_brings_cards_and_the_next_button(site: Client, member: Membership) -> None:
    fill(member.team.wallet, 10_000)
    for _ in range(PER_PAGE + 1):
        ordered(member)
    first = site.get("/library/").content.decode()
    html = site.get(f"/library/{more(first)}", headers=HTMX).content.decode()
    assert len(cards(html)) == 1
    assert '<hx-partial hx-target="#clips" hx-swap="beforeend">' in html
    assert "Load more" not in html


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=ready", {"ready"}),
        ("state=running", {"waiting", "theirs"}),
        ("state=failed", {"failed"}),
        ("q=HARBOUR", {"ready"}),
        ("q=100%25", {"waiting"}),
        ("member=me", {"ready", "failed", "waiting"}),
        ("engine=fal-ai/minimax/hailuo-2.3/pro/image-to-video", {"ready"}),
        ("engine=nothing", set()),
        ("state=nonsense&member=nonsense&before=nonsense", {"ready", "failed", "waiting", "theirs"}),
    ],
)
def test_filters_find_what_they_say(query: str, expected: set[str], site: Client, member: Membership) -> None:
    picture = from_picture(member)
    Generation.objects.filter(pk=picture.pk).update(prompt="Out of the harbour")
    rows = {
        "ready": ready(picture),
        "failed": failed(ordered(member, "no")),
        "waiting": ordered(member, "100% fog"),
        "theirs": ordered(MembershipFactory(team=member.team), "another"),
    }
    found = set(cards(site.get(f"/library/?{query}").content.decode()))
    assert found == {str(rows[name].pk) for name in expected}


def test_nothing_found_offers_to_clear_the_filters(site: Client) -> None:
    assert "Clear the filters" in site.get("/library/?q=nothing").content.decode()
    assert "Make the first one" in site.get("/library/").content.decode()


def test_the_library_asks_as_many_questions_with_many_cards_as_with_one(
    site: Client, member: Membership
) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert site.get("/library/").status_code == 200
        return len(queries)

    def made() -> None:
        ordered(member)
        ready(from_picture(member))
        failed(ordered(member))

    made()
    asked()
    few = asked()
    made()
    made()
    assert asked() == few


def test_only_unsettled_cards_ask_again_and_settled_pages_do_not(site: Client, member: Membership) -> None:
    ready(ordered(member))
    assert "data-poll" not in site.get("/library/").content.decode()
    waiting = ordered(member)
    html = site.get("/library/").content.decode()
    assert html.count("data-poll") == 1
    assert f"ids={waiting.pk}" in html


def test_a_filtered_fragment_says_its_own_address(site: Client, member: Membership) -> None:
    ordered(member)
    response = site.get("/library/", {"q": "boat & fog", "state": "", "member": "me"}, headers=HTMX)
    assert response["HX-Push-Url"] == "/library/?q=boat+%26+fog&member=me"
    assert "<html" not in response.content.decode()


@pytest.mark.parametrize("name", ["engine", "q", "member", "state", "before"])
def test_a_nul_byte_in_the_query_is_no_error_of_ours(site: Client, name: str) -> None:
    assert site.get("/library/", {name: "a\0b"}).status_code == 200
