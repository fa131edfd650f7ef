"""How long something took, as a weighted sample: quantiles and means, also of what is left after some time. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

# The weight of a time halves with each so many newer ones: an engine that has become slower is believed soon.
HALF_LIFE = 40
MIDDLE, UPPER = 0.5, 0.9
# Of a sample, less than this share may lie beyond what has passed, and still say how long the rest takes.
LEAST_LEFT = 0.04


@dataclass(frozen=True, slots=True)
class Times:
    """`seconds` ascending; `weight` and `sums` run over them: weight, and weight x seconds, up to each."""

    seconds: tuple[float, ...]
    weight: tuple[float, ...]
    sums: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.seconds)

    def has_left(self, passed_seconds: float) -> bool:
        """Whether enough of them took longer than this to say anything of the rest."""
        return self._left(bisect_right(self.seconds, passed_seconds)) >= LEAST_LEFT * self.weight[-1]

    def rest(self, quantile: float, passed_seconds: float = 0.0) -> float:
        """What is left once `passed_seconds` have passed, given that it is not over: a quantile, in seconds."""
        first = bisect_right(self.seconds, passed_seconds)
        left = self._left(first)
        if not left:
            return 0.0
        target = self.weight[-1] - left * (1 - quantile)
        at = min(bisect_left(self.weight, target, lo=first), len(self.seconds) - 1)
        return max(self.seconds[at] - passed_seconds, 0.0)

    def mean_rest(self, passed_seconds: float = 0.0) -> float:
        first = bisect_right(self.seconds, passed_seconds)
        left = self._left(first)
        before = self.sums[first - 1] if first else 0.0
        return max((self.sums[-1] - before) / left - passed_seconds, 0.0) if left else 0.0

    def _left(self, first: int) -> float:
        return self.weight[-1] - (self.weight[first - 1] if first else 0.0)


def sample(newest_first: Sequence[float]) -> Times:
    """What a sequence of observations teaches, the newer the more. Raises `ValueError` where there is none."""
    if not newest_first:
        raise ValueError("no observation teaches nothing")
    return _weighted((max(each, 0.0), 0.5 ** (age / HALF_LIFE)) for age, each in enumerate(newest_first))


def usual(low_seconds: float, high_seconds: float) -> Times:
    """What is said to be usual, as a sample: its middle in the middle, and its end reached by one in ten."""
    middle = (low_seconds + high_seconds) / 2
    upper = max(high_seconds, 1.3 * middle)
    sigma = math.log(upper / middle) / NormalDist().inv_cdf(UPPER)
    points = [(place + 0.5) / 50 for place in range(50)]
    return _weighted((middle * math.exp(sigma * NormalDist().inv_cdf(point)), 1.0) for point in points)


def _weighted(pairs: Iterable[tuple[float, float]]) -> Times:
    weight, total = 0.0, 0.0
    seconds, weights, sums = [], [], []
    for each, its in sorted(pairs):
        weight += its
        total += its * each
        seconds.append(each)
        weights.append(weight)
        sums.append(total)
    return Times(tuple(seconds), tuple(weights), tuple(sums))
