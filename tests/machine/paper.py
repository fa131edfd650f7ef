"""What the people of the machine were told, noted from several threads: the other side of every comparison."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from accounts.models import Membership, Team, User
from generations.models import Picture


@dataclass(frozen=True)
class Draft:
    """One form as somebody filled it in."""

    member: Membership
    engine: str
    prompt: str
    pictures: Mapping[str, list[Picture]]
    form_token: uuid.UUID = field(default_factory=uuid.uuid4)


@dataclass(frozen=True)
class Town:
    """Two teams of an admin and two members each, and a bursar who belongs to none."""

    bursar: User
    teams: list[Team]
    admins: list[User]
    members: list[Membership]
    pictures: dict[int, Picture]

    def admin_of(self, team: Team) -> User:
        return self.admins[self.teams.index(team)]


@dataclass
class Paper:
    """`wrong` has what must never be; the first of it stops the machine."""

    wrong: list[str] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    drafts: list[Draft] = field(default_factory=list)
    # Form tokens: what was taken, what somebody wanted stopped.
    ordered: set[uuid.UUID] = field(default_factory=set)
    wishes: set[uuid.UUID] = field(default_factory=set)
    generations: list[uuid.UUID] = field(default_factory=list)
    requests: list[uuid.UUID] = field(default_factory=list)
    decided: dict[uuid.UUID, str] = field(default_factory=dict)
    # By wallet: credits that came in, went out by a correction, were taken back from a grant, were given back.
    came: Counter[int] = field(default_factory=Counter)
    corrected: Counter[int] = field(default_factory=Counter)
    voided: Counter[int] = field(default_factory=Counter)
    refunded: Counter[int] = field(default_factory=Counter)
    # By price version: what was put on fal's own price; 1 for the catalogue's.
    ratios: dict[int, Decimal] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, name: str, **changes: Any) -> None:
        """Count an act, add to the sets and lists that are named, and to the counters `{wallet: credits}`."""
        with self._lock:
            self.did[name] += 1
            for what, value in changes.items():
                place = getattr(self, what)
                if isinstance(place, Counter | dict):
                    place.update(value)
                elif isinstance(place, set):
                    place.add(value)
                elif value not in place:
                    place.append(value)

    def refuse(self, name: str, error: Exception) -> None:
        with self._lock:
            self.refused[f"{name}: {type(error).__name__}"] += 1

    def complain(self, text: str) -> None:
        with self._lock:
            self.wrong.append(text)
