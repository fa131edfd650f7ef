"""Ordering: everything is checked before a credit moves, and hold and row are one."""

from __future__ import annotations

import io
import json
import time
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from PIL import Image
from pytest_django.fixtures import Settings

from accounts.errors import BudgetExceeded, InsufficientCredits, WalletNotActive
from accounts.models import Budget, Hold, Membership, Team, User
from generations import catalogue, lifecycle, media, queue
from generations.models import Generation, GenerationPicture, Picture, PriceVersion
from generations.states import MOVES, SETTLED, State, origins
from tests.bad_days.story import ENGINE, PRICE, assert_books_are_whole, order
from tests.factories import MembershipFactory, TeamFactory

pytestmark = pytest.mark.django_db


def nothing_happened() -> bool:
    return not Hold.objects.exists() and not Generation.objects.exists()


def picture_of(member: Membership, *, width: int, height: int) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "PNG")
    file.seek(0)
    return media.accept_picture(file, team=member.team, user=member.user)


def test_a_request_is_a_hold_a_row_and_its_pictures(member: Membership, picture: Picture) -> None:
    made = order(member, picture, prompt="  slow push in  ")
    assert made.state == State.REQUESTED
    assert made.quote_credits == made.hold.amount == PRICE
    assert made.hold.reference == f"generation:{made.pk}"
    assert made.prompt == made.inputs["prompt"]
    assert "image_url" not in made.inputs
    assert made.is_simulated
    link = GenerationPicture.objects.get(generation=made)
    assert (link.field, link.picture) == ("image_url", picture)
    assert_books_are_whole()


def test_the_same_form_gives_the_same_generation(member: Membership, picture: Picture) -> None:
    token = uuid.uuid4()
    first = order(member, picture, prompt="waves", form_token=token)
    second = order(member, picture, prompt="waves", form_token=token)
    assert first == second
    assert Hold.objects.count() == 1


def test_the_same_form_with_other_wishes_is_no_double_click(member: Membership, picture: Picture) -> None:
    token = uuid.uuid4()
    order(member, picture, prompt="waves", form_token=token)
    with pytest.raises(lifecycle.AlreadySent, match="Press Generate again"):
        order(member, picture, prompt="something else by now", form_token=token)
    assert Hold.objects.count() == 1


def test_a_quote_is_what_is_held(member: Membership) -> None:
    quote = lifecycle.quote(ENGINE, {})
    assert quote.credits == PRICE
    assert quote.price_version == PriceVersion.objects.current(ENGINE)


def test_a_higher_price_than_was_seen_holds_nothing_and_a_lower_one_is_welcome(
    member: Membership, picture: Picture
) -> None:
    with pytest.raises(lifecycle.PriceChanged) as refusal:
        order(member, picture, prompt="waves", seen_credits=PRICE - 1)
    assert refusal.value.now_credits == PRICE
    assert nothing_happened()
    assert order(member, picture, prompt="waves", seen_credits=PRICE + 1).quote_credits == PRICE


def test_a_later_price_does_not_touch_what_was_requested(member: Membership, picture: Picture) -> None:
    made = order(member, picture, prompt="waves")
    rule = {**made.price_version.rule, "rate": {"usd": "9.99"}}
    PriceVersion.objects.create(engine=ENGINE, rule=rule, reason="fal doubled it")
    assert lifecycle.quote(ENGINE, {}).credits == 999
    made.refresh_from_db()
    assert made.hold.amount == PRICE


@pytest.mark.parametrize("prompt", ["x" * 100_000, "", "nul \0 byte"])
def test_a_prompt_the_engine_cannot_take_holds_nothing(
    member: Membership, picture: Picture, prompt: str
) -> None:
    with pytest.raises(catalogue.InvalidInputs) as refusal:
        order(member, picture, prompt=prompt)
    assert "prompt" in refusal.value.errors
    assert nothing_happened()


def test_a_missing_picture_holds_nothing(member: Membership, fal_settings: Settings) -> None:
    with pytest.raises(catalogue.InvalidInputs) as refusal:
        lifecycle.request(
            user=member.user, team=member.team, engine=ENGINE, params={"prompt": "x"}, form_token=uuid.uuid4()
        )
    assert "image_url" in refusal.value.errors
    assert nothing_happened()


@pytest.mark.parametrize(("width", "height"), [(120, 120), (3000, 320)])
def test_a_picture_the_engine_cannot_take_is_said_before_any_hold(
    member: Membership, fal_settings: Settings, width: int, height: int
) -> None:
    with pytest.raises(catalogue.InvalidInputs) as refusal:
        order(member, picture_of(member, width=width, height=height), prompt="waves")
    assert "image_url" in refusal.value.errors
    assert nothing_happened()


def test_another_teams_picture_is_refused(member: Membership, picture: Picture) -> None:
    stranger = MembershipFactory.create(team=TeamFactory(credits=100))
    with pytest.raises(catalogue.InvalidInputs, match="another team"):
        order(stranger, picture, prompt="waves")
    assert nothing_happened()


def test_who_is_not_an_active_member_orders_nothing(member: Membership, picture: Picture) -> None:
    Membership.objects.update(is_active=False)
    with pytest.raises(lifecycle.NotAMember):
        order(member, picture, prompt="waves")
    Membership.objects.update(is_active=True)
    User.objects.filter(pk=member.user_id).update(is_active=False)
    member.user.refresh_from_db()
    with pytest.raises(lifecycle.NotAMember):
        order(member, picture, prompt="waves")
    assert nothing_happened()


def test_engines_that_are_unknown_or_withdrawn_cannot_be_ordered(member: Membership) -> None:
    withdrawn = next(engine for engine in catalogue.engines() if not engine.is_orderable)
    for engine, error in (
        ("fal-ai/none", catalogue.UnknownEngine),
        (withdrawn.endpoint_id, lifecycle.NotOrderable),
    ):
        with pytest.raises(error):
            lifecycle.request(
                user=member.user,
                team=member.team,
                engine=engine,
                params={"prompt": "x"},
                form_token=uuid.uuid4(),
            )
    assert nothing_happened()


def test_the_ledgers_refusals_reach_the_member_and_leave_no_row(member: Membership, picture: Picture) -> None:
    wallet = member.team.wallet
    Budget.objects.create(wallet=wallet, user=member.user, limit_credits=PRICE - 1)
    with pytest.raises(BudgetExceeded):
        order(member, picture, prompt="waves")
    Budget.objects.update(is_active=False)
    type(wallet).objects.update(status="frozen")
    with pytest.raises(WalletNotActive):
        order(member, picture, prompt="waves")
    type(wallet).objects.update(status="active")
    for _ in range(4):
        order(member, picture, prompt="waves")
    with pytest.raises(InsufficientCredits):
        order(member, picture, prompt="waves")
    assert Generation.objects.count() == Hold.objects.count() == 4


def test_a_row_that_cannot_be_written_takes_its_hold_with_it(member: Membership, picture: Picture) -> None:
    with (
        mock.patch.object(GenerationPicture.objects, "bulk_create", side_effect=IntegrityError),
        pytest.raises(IntegrityError),
    ):
        order(member, picture, prompt="waves")
    assert nothing_happened()
    assert_books_are_whole()


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_down_does_not_keep_a_member_waiting(
    member: Membership, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_silent_until", {})
    begin = time.monotonic()
    with mock.patch("generations.queue.current_app.send_task", side_effect=ConnectionError("no broker")):
        made = order(member, picture, prompt="waves")
    assert time.monotonic() - begin < 3
    assert made.state == State.REQUESTED


def test_final_states_lead_nowhere_and_each_is_reached() -> None:
    assert all(not MOVES[state] for state in SETTLED)
    assert all(origins(state) for state in State if state != State.REQUESTED)
    assert origins(State.SUCCEEDED) == {State.STORING}


@pytest.mark.usefixtures("fal_settings")
class TestGenerateCommand:
    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        path = tmp_path / "lake.png"
        Image.new("RGB", (640, 360), "teal").save(path)
        return path

    def run(self, capsys: pytest.CaptureFixture[str], *words: str, **options: Any) -> dict[str, Any]:
        call_command("generate", *words, **options)
        return dict(json.loads(capsys.readouterr().out))

    def test_it_orders_what_a_member_would(
        self, member: Membership, image: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["--user", member.user.email, "--engine", ENGINE, "--image", str(image), "--prompt", "waves"]
        shown = self.run(capsys, *words)
        assert (shown["state"], shown["credits_held"], shown["credits_captured"]) == ("requested", PRICE, 0)
        assert Generation.objects.get().pk == uuid.UUID(shown["id"])

    def test_waiting_in_vain_exits_with_1_and_says_where_it_stands(
        self, member: Membership, image: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["--user", member.user.email, "--engine", ENGINE, "--image", str(image), "--prompt", "waves"]
        with pytest.raises(SystemExit) as end:
            call_command("generate", *words, "--wait", "--timeout", "0")
        assert end.value.code == 1
        assert json.loads(capsys.readouterr().out)["state"] == "requested"

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["--user", "nobody@example.com"], "No user"),
            (["--engine", "no-such-engine"], "no engine"),
            (["--image", "/no/such/file.png"], "cannot be read"),
            (["colour"], "not name=value"),
        ],
    )
    def test_what_is_wrong_is_said_in_a_sentence(
        self, member: Membership, image: Path, words: list[str], complaint: str
    ) -> None:
        said = ["--user", member.user.email, "--engine", ENGINE, "--image", str(image), "--prompt", "waves"]
        with pytest.raises(CommandError, match=complaint):
            call_command("generate", *said, *words)
        assert nothing_happened()


def test_a_team_whose_wallet_was_never_opened_is_refused_in_words() -> None:
    team = Team.objects.create(name="Made in the admin", slug="made-in-the-admin")
    member = MembershipFactory(team=team)
    with pytest.raises(InsufficientCredits):
        lifecycle.request(
            user=member.user,
            team=team,
            engine="fal-ai/minimax/hailuo-2.3/pro/text-to-video",
            params={"prompt": "A boat drifts out"},
            form_token=uuid.uuid4(),
        )
    assert nothing_happened()
