"""What became of one order, read where it cannot be dressed up: PostgreSQL, S3, and the sandbox's own books."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db.models import F

from accounts.models import Entry, Hold
from generations import media
from generations.models import Attempt, Generation, LateClip, Output
from generations.states import SETTLED, AttemptState, State
from tests.fault_matrix.installation import PATIENCE_SECONDS, Installation


@dataclass(frozen=True)
class Tale:
    """One generation of the installation's."""

    pk: uuid.UUID
    site: Installation

    @property
    def generation(self) -> Generation:
        """As it is now."""
        return Generation.objects.select_related("hold").get(pk=self.pk)

    @property
    def state(self) -> str:
        return self.generation.state

    @property
    def attempts(self) -> list[Attempt]:
        return list(Attempt.objects.filter(generation=self.pk).order_by("number"))

    @property
    def attempt(self) -> Attempt:
        return self.attempts[-1]

    @property
    def posts(self) -> list[dict[str, Any]]:
        """Every POST of this generation that reached the sandbox, also what was refused or dropped."""
        return [post for post in self.site.books.posts() if post["tags"].get("generation") == str(self.pk)]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        return [job for job in self.site.books.jobs() if job["tags"].get("generation") == str(self.pk)]

    @property
    def files(self) -> dict[str, int]:
        """What S3 has of it, with sizes."""
        return self.site.s3.objects(f"clips/{self.generation.team_id}/{self.pk}/")

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED

    @property
    def is_lost(self) -> bool:
        """An attempt was sent and nobody knows what became of it."""
        return any(each.state == AttemptState.LOST for each in self.attempts)

    def let_time_pass(self, seconds: float) -> None:
        """As if the latest attempt had been sent so much earlier."""
        rows = Attempt.objects.filter(pk=self.attempt.pk)
        rows.update(sent_at=F("sent_at") - timedelta(seconds=seconds))

    def let_deadline_pass(self) -> None:
        """For a lost attempt: nobody found out what became of it in time."""
        self.let_time_pass(float(self.site.env["LOST_DEADLINE_SECONDS"]))

    def wait_until(self, *states: str, seconds: float = PATIENCE_SECONDS) -> Tale:
        self.site.wait(
            lambda: self.state in states, seconds=seconds, what=f"{self.pk} is {states}; {self._now()}"
        )
        return self

    def wait_settled(self, seconds: float = PATIENCE_SECONDS) -> Tale:
        return self.wait_until(*SETTLED, seconds=seconds)

    def _now(self) -> str:
        return f"it was {self.state}, attempts {[each.state for each in self.attempts]}"

    def assert_held(self) -> None:
        """Not settled, and the credits neither spent nor free."""
        found = self.generation
        assert found.state not in SETTLED, (found.state, found.failure_code)
        assert (found.hold.state, found.hold.captured) == (Hold.State.HELD, 0)
        assert not Output.objects.filter(generation=self.pk).exists()

    def assert_charged(self) -> None:
        """One capture of the price that was quoted, one output, and the clip in S3 is that output and plays."""
        found = self.generation
        assert found.state == State.SUCCEEDED, (found.state, found.failure_code, self._now())
        assert (found.hold.state, found.hold.captured) == (Hold.State.CAPTURED, found.quote_credits)
        assert self._entries() == {"hold": 1, "capture": 1}
        output = Output.objects.get(generation=self.pk)
        content = self.site.s3.read(output.file)
        assert hashlib.sha256(content).hexdigest() == output.sha256
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            Path(file.name).write_bytes(content)
            media.probe(Path(file.name))
        assert len(self.files) == 2, "clip and poster, once"
        self._assert_consistent()

    def assert_not_charged(self, code: str | None = None, *, state: str = State.FAILED) -> None:
        """Everything given back, nothing stored, and a failure says why in words."""
        found = self.generation
        assert found.state == state, (found.state, found.failure_code, self._now())
        assert code is None or found.failure_code == code
        assert (found.hold.state, found.hold.captured) == (Hold.State.RELEASED, 0)
        assert self._entries() == {"hold": 1, "release": 1}
        assert not Output.objects.filter(generation=self.pk).exists()
        is_offered = LateClip.objects.filter(generation=self.pk).exists()
        assert len(self.files) == (2 if is_offered else 0), "only a clip that came late is kept, unpaid"
        assert bool(found.failure_message) == (state == State.FAILED)
        self._assert_consistent()

    def _entries(self) -> Counter[str]:
        return Counter(Entry.objects.filter(hold=self.generation.hold_id).values_list("kind", flat=True))

    def _assert_consistent(self) -> None:
        """Nothing open, and never two POSTs of one attempt."""
        assert not Attempt.objects.open().filter(generation=self.pk).exists()
        wire = Counter(post["tags"]["attempt"] for post in self.posts)
        assert set(wire.values()) <= {1}, "an attempt was posted twice"
        assert set(wire) <= {str(each.pk) for each in self.attempts}


def wait_all(tales: Iterable[Tale], *, seconds: float = PATIENCE_SECONDS) -> None:
    """All of them settled; they share the waiting."""
    left = list(tales)
    if left:
        site = left[0].site
        ids = [each.pk for each in left]
        rows = Generation.objects.filter(pk__in=ids)
        site.wait(
            lambda: not rows.exclude(state__in=SETTLED).exists(),
            seconds=seconds,
            what=f"{len(ids)} orders settled",
        )
