"""A histogram without a library: how many values lay at or below each bound."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

WAIT_BOUNDS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
"""From a commit on a fast disk to the two seconds that GB 50396-2007 allows from reading to actuation."""


class Buckets:
    """Counts of values by bound; cheap enough for the path of a scan."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float] = WAIT_BOUNDS_S) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Return each bound as text with how many values it holds; the last is `+Inf`, with all of them."""
        found, seen = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self._counts, strict=True):
            seen += count
            found.append((bound, seen))
        return found
