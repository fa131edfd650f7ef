"""An engine that fails at fal: who is told what, where, and the button of the person on duty."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import clock
from accounts.models import Membership, User
from generations.models import Breaker, Generation
from generations.views.picker import DEFAULT
from tests.factories import MembershipFactory
from tests.generations.test_metrics import figures
from tests.generations.views.conftest import TEXT_ENGINE, form, ordered, ready, signed_in

MINUTE = timedelta(minutes=1)
HTMX = {"HX-Request": "true"}
PROBE_URL = "/operations/engines/probe/"


def broken(engine: str = TEXT_ENGINE, **fields: Any) -> Breaker:
    now = clock.now()
    known = {
        "failures": 7,
        "failing_since_at": now - 4 * MINUTE,
        "opened_at": now - 3 * MINUTE,
        "probe_at": now + 2 * MINUTE,
        "code": "failing",
        "reason": "HTTP 503 fal_error",
    }
    return Breaker.objects.create(engine=engine, **(known | fields))


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def page(site: Client, url: str = "/") -> str:
    answer = site.get(url)
    assert answer.status_code == 200
    return words(answer.content.decode())


@pytest.fixture
def overseer(db: None) -> Client:
    return signed_in(User.objects.create_superuser("root@example.com", "correct horse battery"))


def test_the_composer_says_it_before_anything_is_ordered(site: Client) -> None:
    broken(DEFAULT)
    html = page(site)
    sentence = "What you order waits, starts by itself once it works, and can be cancelled."
    assert f"Hailuo 2.3 Pro fails at fal just now. {sentence}" in html
    assert "Hailuo 2.3 Pro fails" not in page(site, f"/?engine={TEXT_ENGINE}")


def test_the_price_that_follows_the_choices_keeps_saying_it(site: Client, member: Membership) -> None:
    broken(DEFAULT)
    html = site.post("/quote/", form(member), headers=HTMX).content.decode()
    assert "Hailuo 2.3 Pro fails at fal just now" in html
    assert ", every 15s" in html, "so that it goes by itself when it is over"
    Breaker.objects.all().delete()
    assert ", every 15s" not in site.post("/quote/", form(member), headers=HTMX).content.decode()


def test_a_price_that_nobody_asked_for_is_not_taken_as_agreed_to(site: Client, member: Membership) -> None:
    sent = form(member, seen_credits="12")
    assert 'name="seen_credits" value="49"' in site.post("/quote/", sent, headers=HTMX).content.decode()
    refreshed = site.post("/quote/", sent | {"is_refresh": "1"}, headers=HTMX).content.decode()
    assert 'name="seen_credits" value="12"' in refreshed
    for nonsense in ("", "x", "²"):
        answer = site.post(
            "/quote/", sent | {"is_refresh": "1", "seen_credits": nonsense}, headers=HTMX
        ).content.decode()
        assert 'name="seen_credits" value="49"' in answer


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("failing", "Hailuo 2.3 Pro failed at fal when it was last tried. Your order is the next try"),
        ("no_access", "Hailuo 2.3 Pro was not open to this site at fal when it was last tried."),
        ("gone", "Hailuo 2.3 Pro was not offered at fal when it was last tried."),
    ],
)
def test_what_nobody_has_tried_for_a_while_is_not_called_broken_now(
    site: Client, code: str, sentence: str
) -> None:
    broken(DEFAULT, code=code, probe_at=clock.now() - 2 * MINUTE)
    assert sentence in page(site)


def test_the_picker_marks_the_engine_and_no_other(site: Client) -> None:
    broken(TEXT_ENGINE)
    html = site.get("/").content.decode()
    assert html.count("Does not work at fal just now") == 1
    card = html[html.index(f'value="{TEXT_ENGINE}"') :]
    assert "Does not work at fal just now" in card[: card.index("</label>")]


def test_an_order_for_it_is_taken_and_its_card_says_why_it_waits(site: Client, member: Membership) -> None:
    broken(DEFAULT)
    assert site.post("/generate/", form(member)).status_code == 302
    made = Generation.objects.get()
    sentence = "Hailuo 2.3 Pro fails at fal just now. This starts by itself once it works; next try in 0"
    for url in (
        "/",
        f"/generations/{made.pk}/",
        f"/updates/?page=show&id={made.pk}",
        "/updates/?page=studio",
    ):
        html = page(site, url)
        assert sentence in html, url
        assert "Waiting · engine down at fal" in html, url
    assert f"/generations/{made.pk}/cancel/" in site.get("/").content.decode()
    Breaker.objects.update(probe_at=clock.now())
    assert "once it works; the next try is due." in page(site)


def test_what_an_outage_holds_back_shows_nothing_that_moves(site: Client, member: Membership) -> None:
    made = ordered(member)
    for url in ("/updates/?page=studio", f"/generations/{made.pk}/"):
        html = site.get(url).content.decode()
        assert "<progress" in html and "frame-busy" in html
    broken(TEXT_ENGINE)
    for url in ("/updates/?page=studio", f"/generations/{made.pk}/"):
        html = site.get(url).content.decode()
        assert "<progress" not in html and "frame-busy" not in html


def test_other_work_says_nothing_of_it(site: Client, member: Membership) -> None:
    broken("fal-ai/other")
    ordered(member), ready(ordered(member))
    assert "Waiting · next to go" in page(site)
    assert "at fal just now" not in page(site)


def test_admins_and_staff_see_it_on_every_page_and_members_do_not(site: Client, member: Membership) -> None:
    broken(TEXT_ENGINE)
    sentence = "Hailuo 2.3 Pro fails at fal just now. Requests for it wait with their credits held"
    admin = signed_in(MembershipFactory.create(team=member.team, role="admin").user)
    assert sentence in page(admin, "/library/")
    assert sentence not in page(site, "/library/")
    Breaker.objects.update(probe_at=clock.now() - 2 * MINUTE)
    assert sentence not in page(admin, "/library/"), "nothing waits for it, and nobody knows"


def test_the_queries_do_not_grow_with_what_waits(site: Client, member: Membership) -> None:
    broken()
    ordered(member)
    with CaptureQueriesContext(connection) as one:
        page(site, "/updates/?page=studio")
    for _ in range(3):
        ordered(member)
    with CaptureQueriesContext(connection) as many:
        page(site, "/updates/?page=studio")
    assert len(many) == len(one)


def test_the_person_on_duty_sees_why_since_when_and_how_much_waits(
    overseer: Client, member: Membership
) -> None:
    found = broken()
    made = ordered(member)
    Generation.objects.filter(pk=made.pk).update(next_check_at=clock.now() - 10 * MINUTE)
    html = page(overseer, "/operations/")
    for text in ("Engines that fail at fal", "HTTP 503 fal_error", "3 minutes ago", " 7 ", " 1 ", "Try now"):
        assert text in html, text
    assert found.probe_at is not None
    assert f"{found.probe_at:%H:%M:%S} UTC" in html
    assert "Nothing is stuck" not in html
    assert "it wait with their credits held" in html and "See why" not in html, "the link to where one is"
    assert "although fal has room" not in html, "what is held back is not stuck"


def test_the_button_makes_the_next_try_due(overseer: Client, member: Membership) -> None:
    broken()
    ordered(member)
    answer = overseer.post(PROBE_URL, {"engine": TEXT_ENGINE}, follow=True)
    assert "One waiting generation tests the engine now" in answer.content.decode()
    assert Breaker.objects.get().is_probe_due(clock.now())
    for other in ("fal-ai/other", f"{TEXT_ENGINE[:-1]}\0x", "\0", ""):
        answer = overseer.post(PROBE_URL, {"engine": other}, follow=True)
        assert "not held back any more" in answer.content.decode()


def test_where_nothing_waits_the_button_says_that_the_next_order_is_the_test(
    overseer: Client, site: Client
) -> None:
    broken(DEFAULT)
    assert "fails at fal just now" in page(site)
    answer = overseer.post(PROBE_URL, {"engine": DEFAULT}, follow=True)
    assert "Nothing waits for it; the next order is the test." in words(answer.content.decode())
    assert "next order" in page(overseer, "/operations/")
    assert "failed at fal when it was last tried. Your order is the next try" in page(site)


def test_nobody_but_staff_presses_it_and_looking_does_not(
    site: Client, client: Client, overseer: Client
) -> None:
    found = broken()
    assert site.post(PROBE_URL, {"engine": TEXT_ENGINE}).status_code == 404
    assert client.post(PROBE_URL, {"engine": TEXT_ENGINE}).status_code == 404
    assert overseer.get(PROBE_URL).status_code == 405
    assert Breaker.objects.get().probe_at == found.probe_at


def test_prometheus_reads_it_and_what_is_held_back_is_not_overdue(member: Membership) -> None:
    broken()
    Breaker.objects.create(engine="fal-ai/other", failures=2)
    made = ordered(member)
    Generation.objects.filter(pk=made.pk).update(next_check_at=clock.now() - 10 * MINUTE)
    read = figures()
    assert (read[("breaker_open", TEXT_ENGINE)], read[("breaker_failures", TEXT_ENGINE)]) == (1, 7)
    assert (read[("breaker_open", "fal-ai/other")], read[("breaker_failures", "fal-ai/other")]) == (0, 2)
    assert read[("overdue_seconds",)] == 0
    Breaker.objects.all().delete()
    assert figures()[("overdue_seconds",)] > 0
