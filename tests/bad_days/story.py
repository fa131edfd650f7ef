"""One generation on a bad day: order it, drive it by hand through the functions the tasks call, look at the end."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.management import call_command

from accounts.models import Hold, Membership, Wallet
from generations import fal, lifecycle
from generations.models import Attempt, Generation, Picture
from generations.states import AT_FAL, State
from tests.sandbox_server import RunningSandbox

ENGINE = "fal-ai/minimax/hailuo-2.3/pro/image-to-video"
PRICE = 49
PATIENCE_SECONDS = 20


def order(member: Membership, picture: Picture, *, prompt: str, **options: Any) -> Generation:
    """What pressing Generate does."""
    chosen: dict[str, Any] = {"form_token": uuid.uuid4(), "params": {"prompt": prompt}} | options
    return lifecycle.request(
        user=member.user, team=member.team, engine=ENGINE, pictures={"image_url": [picture]}, **chosen
    )


def drive_once(generation: Generation, *, until: str = "settled") -> None:
    """What dispatcher, watcher and workers would do with it now, stopping short of leaving the state `until`."""
    lifecycle.dispatch()
    generation.refresh_from_db()
    if generation.is_cancel_requested:
        lifecycle.send_cancel(generation.pk)
    if generation.attempts.lost().exists():
        lifecycle.sweep()
    elif generation.state in AT_FAL:
        with suppress(fal.FalError):  # the watcher asks again, and so do we
            lifecycle.check(generation.pk)
    generation.refresh_from_db()
    if generation.state == State.STORING != until:
        lifecycle.ingest(generation.pk)
    generation.refresh_from_db()


def assert_books_are_whole() -> None:
    """`check_ledger` exits with 1 on any breach, open holds without work among them."""
    call_command("check_ledger", "--json")


@dataclass
class Story:
    generation: Generation
    sandbox: RunningSandbox

    @classmethod
    def ordered(
        cls,
        directives: str,
        *,
        member: Membership,
        picture: Picture,
        sandbox: RunningSandbox,
        **options: Any,
    ) -> Story:
        prompt = f"{uuid.uuid4().hex} clouds drift over the lake"
        if directives:
            prompt += f" [[sandbox: {directives}]]"
        return cls(order(member, picture, prompt=prompt, **options), sandbox)

    def drive(self, until: str = "settled") -> Story:
        """On and on, until it is settled or has the state asked for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            drive_once(self.generation, until=until)
            if self.generation.is_settled or self.generation.state == until:
                return self
            time.sleep(0.02)
        raise AssertionError(
            f"still {self.generation.state} after {PATIENCE_SECONDS} s: {self.attempt.__dict__}"
        )

    @property
    def attempt(self) -> Attempt:
        """The latest one, as it is now."""
        return Attempt.objects.filter(generation=self.generation).latest("number")

    @property
    def attempts(self) -> int:
        return Attempt.objects.filter(generation=self.generation).count()

    @property
    def posts(self) -> list[dict[str, Any]]:
        """Every POST of this generation that reached the sandbox, refused and dropped ones too."""
        mine = f"{self.generation.pk}"
        return [post for post in self.sandbox.posts() if post["tags"].get("generation") == mine]

    @property
    def wallet(self) -> Wallet:
        return Wallet.objects.get(team=self.generation.team_id)

    def backdate(self, seconds: float) -> None:
        """Let the latest attempt be older than it is."""
        attempt = self.attempt
        Attempt.objects.filter(pk=attempt.pk).update(sent_at=attempt.sent_at - timedelta(seconds=seconds))
        rows = Generation.objects.filter(pk=self.generation.pk)
        for name in ("submitted_at", "started_at", "completed_at", "next_check_at"):
            at = getattr(rows.get(), name)
            if at:
                rows.update(**{name: at - timedelta(seconds=seconds)})

    def let_leases_lapse(self) -> None:
        """As if whoever held them had been dead for long enough."""
        row = Generation.objects.get(pk=self.generation.pk)
        if row.lease_until:
            Generation.objects.filter(pk=row.pk).update(lease_until=row.lease_until - timedelta(minutes=10))

    def assert_charged(self) -> None:
        self._assert_end(State.SUCCEEDED, Hold.State.CAPTURED)
        assert self.generation.output.size_bytes > 0

    def assert_not_charged(self, state: State = State.FAILED, *, code: str | None = None) -> None:
        self._assert_end(state, Hold.State.RELEASED)
        if code is not None:
            assert self.generation.failure_code == code
        assert bool(self.generation.failure_message) == (state == State.FAILED)

    def assert_held(self) -> None:
        """Not settled, and the credits neither spent nor free."""
        self.generation.refresh_from_db()
        assert not self.generation.is_settled
        assert self.generation.hold.state == Hold.State.HELD
        assert self.wallet.held >= PRICE
        self.assert_consistent()

    def _assert_end(self, state: State, hold: str) -> None:
        self.generation = Generation.objects.select_related("hold").get(pk=self.generation.pk)
        got = (self.generation.state, self.generation.failure_code)
        assert self.generation.state == state, got
        assert self.generation.hold.state == hold
        assert not self.generation.attempts.open().exists()
        self.assert_consistent()

    def assert_consistent(self) -> None:
        """One POST per attempt, and books that balance."""
        by_attempt = [post["tags"]["attempt"] for post in self.posts]
        assert len(by_attempt) == len(set(by_attempt)), "an attempt was posted twice"
        assert_books_are_whole()
