"""Whose turn it is at fal, and in which order everything that waits will go. Pure arithmetic.

A member of a team (one person in two teams is two) has as many *turns* in a round as the team's weight says. Every turn
is used once before any is used again, the one used longest ago first: the next to go is whoever's `weight`-th last
clip was sent longest ago. Shares are then exact over each round, and nobody waits longer than one. (Ageing alone,
waiting time x weight, does neither: of weights 3 and 2 it makes turn and turn about.)

Turns count clips, not seconds, so a member with slow clips could still come to hold every place. Therefore nobody takes
a place beyond their share of all places, rounded up, while somebody below theirs waits.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

Member = tuple[int, int]
"""The ids of a user and of the team that pays."""
Key = tuple[int, float, Member]


@dataclass(frozen=True, slots=True)
class Standing:
    """`weight` turns a round, and when the last of them were used (epoch seconds, any order; more do no harm)."""

    weight: int = 1
    served: tuple[float, ...] = ()


@dataclass
class _Line:
    """The line as it moves: what each member still has waiting, and who holds the places."""

    left: dict[Member, int]
    standings: Mapping[Member, Standing]
    held: deque[Member]
    turns: dict[Member, deque[float]] = field(init=False)
    holding: Counter[Member] = field(init=False)
    total_weight: int = field(init=False)

    def __post_init__(self) -> None:
        self.turns = {
            member: deque(sorted(self.standings[member].served), maxlen=self.weight(member))
            for member in self.left
        }
        self.holding = Counter(self.held)
        self.total_weight = sum(self.weight(member) for member in self.left.keys() | self.holding.keys())

    def weight(self, member: Member) -> int:
        return self.standings[member].weight

    def key(self, member: Member) -> Key:
        """When the turn that is next was last used. Turns never used come first, spread over the round."""
        used, weight = self.turns[member], self.weight(member)
        if len(used) < weight:
            return (0, (len(used) + 0.5) / weight, member)
        return (1, used[0], member)

    def has_its_share(self, member: Member, places: int) -> bool:
        share = -(-places * self.weight(member) // self.total_weight)
        return self.holding[member] >= share

    def serve(self, member: Member, at: float) -> None:
        self.turns[member].append(at)
        self.held.append(member)
        self.holding[member] += 1
        self.left[member] -= 1

    def free(self, member: Member) -> None:
        """One of the member's places is free again."""
        self.holding[member] -= 1
        self._forget(member)

    def _forget(self, member: Member) -> None:
        if not self.holding[member] and not self.left.get(member):
            self.total_weight -= self.weight(member)


def order(
    waiting: Mapping[Member, int],
    standings: Mapping[Member, Standing],
    *,
    held: Iterable[Member],
    places: int,
    now: float,
) -> Iterator[Member]:
    """The member whose clip goes next, then next, until all that wait have gone.

    `waiting` counts the clips of each member; `held` names who holds a place at fal, a name per place, the longest held
    first. Every member of both has a standing. Places come free in the order they were taken, which is what can be
    known beforehand. The first answer needs no such guess while a place is free. Costs O(n log m).
    """
    line = _Line({member: n for member, n in waiting.items() if n}, standings, deque(held))
    heap = [line.key(member) for member in line.left]
    heapify(heap)
    step = 0
    while heap:
        while len(line.held) >= max(places, 1):
            line.free(line.held.popleft())
        member = _take(heap, line, places)
        step += 1
        line.serve(member, now + step)
        yield member
        if line.left[member]:
            heappush(heap, line.key(member))


def _take(heap: list[Key], line: _Line, places: int) -> Member:
    """The first in turn who has not got a share of the places already; the first in turn where all have."""
    passed: list[Key] = []
    while heap and line.has_its_share(heap[0][2], places):
        passed.append(heappop(heap))
    chosen = heappop(heap) if heap else passed.pop(0)
    for key in passed:
        heappush(heap, key)
    return chosen[2]
