"""One generation's page, and what its address answers while it is watched."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from accounts.models import Membership
from generations.models import Attempt, Generation, LogLine
from generations.views import words
from tests.generations.views.conftest import (
    advanced,
    failed,
    from_picture,
    ordered,
    ready,
    running,
    signed_in,
)

HTMX = {"HX-Request": "true"}


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def shown(site: Client, generation: Generation) -> str:
    return site.get(f"/generations/{generation.pk}/").content.decode()


def test_a_ready_clip_shows_player_inputs_and_the_credits_trail(site: Client, member: Membership) -> None:
    generation = ready(from_picture(member))
    html = shown(site, generation)
    assert f'src="/generations/{generation.pk}/clip.mp4"' in html
    assert f"/pictures/{generation.pictures.get().pk}/" in html
    assert "49 held" in text(html)
    assert "49 captured" in text(html)
    assert "data-poll" not in html


def test_a_failure_says_why_and_that_nothing_was_charged(site: Client, member: Membership) -> None:
    html = text(shown(site, failed(ordered(member), "fal could not finish it.")))
    assert "fal could not finish it." in html
    assert "You were not charged: all 49 credits went back to the wallet." in html
    assert "49 returned" in html


def test_what_runs_shows_its_clock_its_log_and_asks_again(site: Client, member: Membership) -> None:
    generation = running(ordered(member))
    attempt = Attempt.objects.create(generation=generation, number=1, state="accepted", request_id="r-1")
    LogLine.objects.create(attempt=attempt, position=0, message="Loading <weights>")
    html = shown(site, generation)
    assert "Running 00:0" in text(html)
    assert "Loading &lt;weights&gt;" in html
    assert html.count("data-poll") == 1
    assert "<progress aria-label=" in html


def test_request_ids_are_for_admins_only(member: Membership) -> None:
    generation = running(ordered(member))
    Attempt.objects.create(generation=generation, number=1, state="accepted", request_id="r-secret")
    assert "r-secret" not in shown(signed_in(member.user), generation)
    Membership.objects.filter(pk=member.pk).update(role="admin")
    assert "r-secret" in shown(signed_in(member.user), generation)


def test_canceling_releases_the_credits_and_says_so(site: Client, member: Membership) -> None:
    generation = ordered(member)
    response = site.post(f"/generations/{generation.pk}/cancel/", follow=True)
    html = text(response.content.decode())
    assert "Canceled · not charged" in html
    assert "Canceling" not in html, "the sentence stays on the page, so it must stay true"
    member.team.wallet.refresh_from_db()
    assert member.team.wallet.available == 1000


def test_canceling_too_late_is_said_and_changes_nothing(site: Client, member: Membership) -> None:
    generation = ready(ordered(member))
    response = site.post(f"/generations/{generation.pk}/cancel/", headers=HTMX)
    assert "too late to cancel" in response.content.decode()
    assert Generation.objects.get().state == "succeeded"


def test_a_cancel_that_fal_has_to_hear_of_is_shown_as_canceling(site: Client, member: Membership) -> None:
    generation = running(ordered(member))
    site.post(f"/generations/{generation.pk}/cancel/")
    assert "Canceling" in text(shown(site, generation))


def test_the_clip_downloads_under_a_name_for_people(site: Client, member: Membership) -> None:
    generation = ready(ordered(member, "A boat drifts out, slowly!"))
    response = site.get(f"/generations/{generation.pk}/clip.mp4?download")
    assert b"".join(response.streaming_content).startswith(b"\0\0\0\x18ftyp")
    day = f"{generation.created_at:%Y%m%d}"
    assert f'filename="a-boat-drifts-out-slowly-hailuo-2.3-pro-{day}.mp4"' in response["Content-Disposition"]


def test_a_clip_that_is_not_there_yet_is_not_found(site: Client, member: Membership) -> None:
    assert site.get(f"/generations/{ordered(member).pk}/clip.mp4").status_code == 404


@pytest.mark.parametrize("page", ["studio", "library", "show", "", "nonsense"])
def test_updates_bring_the_wallet_and_what_the_page_shows(
    page: str, site: Client, member: Membership
) -> None:
    generation = ordered(member)
    response = site.get(
        "/updates/", {"page": page, "id": str(generation.pk), "ids": [str(generation.pk), "x"]}
    )
    html = response.content.decode()
    assert '<hx-partial hx-target="#wallet-pill"' in html
    assert response["X-Live-Team"] == str(member.team_id)
    target = {"studio": "live", "library": f"card-{generation.pk}", "show": "generation"}.get(page)
    # The wallet and the count of open requests stand in every header.
    assert html.count("<hx-partial") == (3 if target else 2)
    if target:
        assert f'hx-target="#{target}"' in html


def test_first_paint_and_update_are_the_same_bytes(site: Client, member: Membership) -> None:
    ready(from_picture(member))

    def live(html: str) -> str:
        found = re.search(r'<section id="live".*?</section>', html, re.DOTALL)
        assert found
        return re.sub(r'value="[A-Za-z0-9]{64}"', "", found[0])

    assert live(site.get("/").content.decode()) == live(site.get("/updates/?page=studio").content.decode())


def test_words_follow_the_hold_and_not_the_state(member: Membership) -> None:
    generation = advanced(ordered(member), "submitted")
    assert words.money(generation) == "49 credits held"
    assert words.state(generation) == "At fal · starting"
    generation.fal_queue_position = 2
    assert words.state(generation) == "At fal · position 3"
    generation.state = "failed"
    assert words.state(generation) == "Failed"  # the hold still stands: nothing is said that is not true yet


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "00:00"), (42.9, "00:42"), (125, "02:05"), (3725, "1:02:05")]
)
def test_clocks(seconds: float, said: str) -> None:
    assert words.clock(seconds) == said
