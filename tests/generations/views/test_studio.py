"""The composer: with and without JavaScript, refused with everything kept, ordered once."""

from __future__ import annotations

import re
import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import ledger
from accounts.models import Membership, Wallet
from generations.models import DispatchPause, Generation, Picture, PriceVersion
from generations.views.picker import DEFAULT
from tests.factories import UserFactory
from tests.generations.views.conftest import (
    TEXT_ENGINE,
    failed,
    form,
    from_picture,
    ordered,
    picture,
    png,
    ready,
    running,
    signed_in,
)

HTMX = {"HX-Request": "true"}
WAN_25 = "fal-ai/wan-25-preview/image-to-video"
FIRST_LAST = "fal-ai/veo3.1/first-last-frame-to-video"


def upload(**sides: int) -> SimpleUploadedFile:
    return SimpleUploadedFile("boat.png", png(**sides).read(), "image/png")


def test_the_studio_comes_up_with_hailuo_pro_and_its_price(site: Client) -> None:
    html = site.get("/").content.decode()
    assert "Hailuo 2.3 Pro" in html
    assert "49 credits" in html
    assert 'name="image_url-file"' in html


def test_an_order_without_javascript_is_post_redirect_get(site: Client, member: Membership) -> None:
    sent = form(member, image_url=None) | {"image_url-file": upload()}
    response = site.post("/generate/", sent)
    assert response.status_code == 302
    assert response["Location"] == "/"
    generation = Generation.objects.get()
    assert generation.quote_credits == 49
    assert generation.pictures.count() == 1
    html = site.get("/").content.decode()
    assert "Requested: " in html
    assert "credits are held" not in html, "that would soon be untrue, and the sentence stays"
    assert "49 held" in re.sub(r"<[^>]+>", "", html)
    assert Wallet.objects.get(team=member.team).held == 49


def test_an_order_with_htmx_answers_with_the_composer_the_live_work_and_the_wallet(
    site: Client, member: Membership
) -> None:
    html = site.post("/generate/", form(member), headers=HTMX).content.decode()
    assert '<hx-partial hx-target="#composer"' in html
    assert '<hx-partial hx-target="#live"' in html
    assert '<hx-partial hx-target="#wallet-pill"' in html
    assert f"card-{Generation.objects.get().pk}" in html


def test_pressing_twice_makes_one_generation(site: Client, member: Membership) -> None:
    sent = form(member)
    site.post("/generate/", sent)
    site.post("/generate/", sent)
    assert Generation.objects.count() == 1
    assert Wallet.objects.get(team=member.team).held == 49


def test_the_form_after_an_order_makes_a_new_one(site: Client, member: Membership) -> None:
    first = form(member)
    html = site.post("/generate/", first, headers=HTMX).content.decode()
    token = re.search(r'name="form_token" value="([^"]+)"', html)
    assert token
    assert token[1] != first["form_token"]


def test_a_form_that_was_changed_after_it_was_sent_is_asked_about_and_then_ordered(
    site: Client, member: Membership
) -> None:
    sent = form(member)
    site.post("/generate/", sent)
    changed = {**sent, "prompt": "Now the boat comes home"}
    response = site.post("/generate/", changed)
    html = response.content.decode()
    assert response.status_code == 422
    assert "This form was sent before" in html
    assert "Now the boat comes home" in html
    token = re.search(r'name="form_token" value="([^"]+)"', html)
    assert token
    assert site.post("/generate/", {**changed, "form_token": token[1]}).status_code == 302
    assert Generation.objects.count() == 2


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_what_is_refused_comes_back_with_what_was_typed(
    headers: dict[str, str], site: Client, member: Membership
) -> None:
    sent = form(member, prompt="x" * 2001)
    response = site.post("/generate/", sent, headers=headers)
    html = response.content.decode()
    assert response.status_code == 422
    assert "x" * 2001 in html
    assert "at most 2,000" in html
    assert f'name="image_url" value="{sent["image_url"]}"' in html
    assert sent["form_token"] in html
    assert not Generation.objects.exists()


def test_a_prompt_of_a_hundred_thousand_characters_is_refused_in_words(
    site: Client, member: Membership
) -> None:
    response = site.post("/generate/", form(member, prompt="word " * 20_000))
    assert response.status_code == 422
    assert "at most 2,000" in response.content.decode()


def test_a_missing_picture_is_said_beside_its_field(site: Client, member: Membership) -> None:
    response = site.post("/generate/", form(member, image_url=None))
    html = response.content.decode()
    assert response.status_code == 422
    fieldset = html[html.index('id="picture-image_url"') :]
    assert "needs a picture" in fieldset[: fieldset.index("</fieldset>")]


@pytest.mark.parametrize(
    ("sides", "said"), [((200, 200), "needs at least 301 px"), ((1200, 310), "nothing wider than 2.5 times")]
)
def test_a_picture_that_does_not_fit_is_refused_with_the_limits_before_any_hold(
    sides: tuple[int, int], said: str, site: Client, member: Membership
) -> None:
    width, height = sides
    for url in ("/pictures/", "/generate/"):
        sent = form(member, image_url=None, field="image_url") | {
            "image_url-file": upload(width=width, height=height)
        }
        response = site.post(url, sent)
        assert response.status_code == 422
        assert said in response.content.decode()
    assert not Generation.objects.exists()


def test_a_file_that_is_no_picture_is_refused_at_upload(site: Client) -> None:
    file = SimpleUploadedFile("boat.png", b"<html>not a picture</html>", "image/png")
    response = site.post("/pictures/", {"engine": DEFAULT, "field": "image_url", "image_url-file": file})
    assert response.status_code == 422
    assert 'role="alert"' in response.content.decode()
    assert not Picture.objects.exists()


def test_an_upload_answers_with_the_thumbnail_and_the_id(site: Client) -> None:
    response = site.post("/pictures/", {"engine": DEFAULT, "field": "image_url", "image_url-file": upload()})
    html = response.content.decode()
    pk = Picture.objects.get().pk
    assert f'<img src="/pictures/{pk}/"' in html
    assert f'name="image_url" value="{pk}"' in html


def test_an_upload_for_an_input_that_is_none_is_refused(site: Client) -> None:
    assert site.post("/pictures/", {"engine": DEFAULT, "field": "prompt"}).status_code == 422


def test_the_sample_and_a_private_link_without_javascript(site: Client, member: Membership) -> None:
    html = site.post("/fields/", form(member, image_url=None, sample="image_url")).content.decode()
    assert f'value="{Picture.objects.latest("created_at").pk}"' in html
    sent = form(member, image_url=None) | {"image_url-link": "http://127.0.0.1:1/boat.png"}
    assert "The boat drifts" in site.post("/fields/", sent).content.decode()
    assert Picture.objects.count() == 2  # form() itself brought one; the private address brought none


def test_changing_the_engine_keeps_prompt_and_picture(site: Client, member: Membership) -> None:
    sent = form(member, engine=FIRST_LAST)
    html = site.post("/fields/", sent, headers=HTMX).content.decode()
    assert "The boat drifts out of the harbour" in html
    assert f'name="first_frame_url" value="{sent["image_url"]}"' in html
    away = site.post("/fields/", form(member, engine=TEXT_ENGINE), headers=HTMX).content.decode()
    carried = re.search(r'name="carried" value="([^"]+)"', away)
    assert carried
    back = form(member, shown_engine=TEXT_ENGINE, image_url=None, carried=carried[1])
    assert f'name="image_url" value="{carried[1]}"' in site.post("/fields/", back).content.decode()


def test_a_choice_the_new_engine_does_not_offer_falls_back_to_its_default(
    site: Client, member: Membership
) -> None:
    veo = form(
        member, shown_engine=DEFAULT, engine="fal-ai/kling-video/v2.5-turbo/pro/image-to-video", duration="6"
    )
    html = site.post("/fields/", veo, headers=HTMX).content.decode()
    assert re.search(r'name="duration" value="5"\s+checked', html)


def test_the_price_follows_the_choices_and_touches_no_picture(site: Client, member: Membership) -> None:
    engine = "fal-ai/minimax/hailuo-2.3/standard/image-to-video"
    for duration, said in (("6", "28 credits"), ("10", "56 credits")):
        sent = form(member, engine=engine, shown_engine=engine, duration=duration)
        html = site.post(
            "/quote/", sent | {"image_url-link": "http://127.0.0.1:1/x.png"}, headers=HTMX
        ).content.decode()
        assert said in html
        assert 'id="send"' in html


def test_a_price_that_went_up_is_said_and_asked_again(site: Client, member: Membership) -> None:
    site.get("/")
    sent = form(member)
    PriceVersion.objects.create(
        engine=DEFAULT, rule={"quantity": {"kind": "one"}, "rate": {"usd": "0.60"}}, reason="dearer"
    )
    response = site.post("/generate/", sent)
    html = response.content.decode()
    assert response.status_code == 422
    assert "The price is now 60 credits" in html
    assert 'name="seen_credits" value="60"' in html
    assert not Generation.objects.exists()
    assert site.post("/generate/", sent | {"seen_credits": "60"}).status_code == 302
    assert Generation.objects.get().quote_credits == 60


def test_an_empty_wallet_is_said_on_the_button_and_refused(site: Client, member: Membership) -> None:
    ledger.hold(
        member.team.wallet, amount=990, user=member.user, reference="generation:other", reason="other"
    )
    html = site.get("/").content.decode()
    assert 'aria-disabled="true"' in html
    assert "your team has 10 available" in html
    response = site.post("/generate/", form(member))
    assert response.status_code == 422
    assert "This needs 49 credits" in response.content.decode()


def test_a_spent_budget_is_said_with_its_own_words(site: Client, member: Membership) -> None:
    boss = signed_in(member.user)
    ledger.set_budget(
        member.team.wallet,
        user=member.user,
        limit_credits=40,
        period="month",
        actor=UserFactory(),
        reason="test",
    )
    html = boss.get("/").content.decode()
    assert "40 left of your budget" in html
    assert site.post("/generate/", form(member)).status_code == 422


def test_run_again_brings_the_same_inputs(site: Client, member: Membership) -> None:
    generation = from_picture(member)
    html = site.get(f"/?again={generation.pk}").content.decode()
    assert generation.prompt in html
    assert f'name="image_url" value="{generation.pictures.get().pk}"' in html
    assert "data-prefilled" in html


def test_the_studio_asks_as_many_questions_with_six_cards_as_with_two(
    site: Client, member: Membership
) -> None:
    def made() -> None:
        ordered(member)
        running(ordered(member))
        ready(from_picture(member))
        failed(ordered(member))

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert site.get("/").status_code == 200
        return len(queries)

    made()
    asked()
    few = asked()
    made()
    made()
    assert asked() == few


def test_the_cards_say_what_is_true_of_the_credits(site: Client, member: Membership) -> None:
    ready(ordered(member, "one"))
    failed(ordered(member, "two"))
    running(ordered(member, "three"))
    ordered(member, "four")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", site.get("/").content.decode()))
    for words in (
        "Ready 49 credits captured",
        "Failed · not charged two",
        "49 credits held",
        "Waiting ·",
    ):
        assert words in text
    assert "Running 00:0" in text


def test_switching_the_theme_without_javascript_sets_the_cookie_and_goes_back(site: Client) -> None:
    response = site.post("/theme/", {"theme": "dark", "next": "/library/"})
    assert response["Location"] == "/library/"
    assert 'data-theme="dark"' in site.get("/").content.decode()
    assert site.post("/theme/", {"theme": "x", "next": "https://elsewhere.example"})["Location"] == "/"


def test_a_pause_is_told_to_admins_in_full_and_to_members_as_waiting(
    site: Client, member: Membership, stranger: Membership
) -> None:
    DispatchPause.objects.create(pk=1, reason="Exhausted balance.", code="locked", probe_at=timezone.now())
    assert (
        "fal has paused this account: Exhausted balance."
        in signed_in(stranger.user).get("/").content.decode()
    )
    told = site.get("/").content.decode()
    assert "Exhausted" not in told
    assert "nothing is lost" in told


def test_simulation_is_said_plainly(site: Client, settings: object) -> None:
    settings.FAL_IS_SANDBOX = True  # type: ignore[attr-defined]
    assert (
        "Simulation: clips are made on this machine and fal charges nothing."
        in site.get("/").content.decode()
    )
    settings.FAL_IS_SANDBOX = False  # type: ignore[attr-defined]
    assert "Simulation:" not in site.get("/").content.decode()


def test_a_broken_form_token_is_refused(site: Client, member: Membership) -> None:
    assert site.post("/generate/", form(member, form_token="x")).status_code == 422
    assert site.post("/generate/", form(member, form_token=str(uuid.uuid4()))).status_code == 302


def test_a_picture_too_many_is_taken_out(site: Client, member: Membership) -> None:
    sent = form(member)
    html = site.post(
        "/fields/", sent | {"remove": f"image_url:{sent['image_url']}"}, headers=HTMX
    ).content.decode()
    assert 'name="image_url" value=' not in html
    assert picture(member).pk


def test_a_photo_above_the_engines_largest_side_is_taken_and_the_page_says_that_it_is_scaled(
    site: Client, member: Membership
) -> None:
    sent = {"engine": WAN_25, "field": "image_url", "image_url-file": upload(width=1800, height=2400)}
    response = site.post("/pictures/", sent)
    html = response.content.decode()
    assert response.status_code == 200
    assert "Will be scaled down to 1500 x 2000 px, the most Wan 2.5 Preview takes." in html
    pk = Picture.objects.get().pk
    order = form(member, image_url=[str(pk)]) | {
        "engine": WAN_25,
        "shown_engine": WAN_25,
        "seen_credits": "75",
    }
    assert site.post("/generate/", order).status_code == 302
    assert Generation.objects.get().engine == WAN_25
