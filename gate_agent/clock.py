"""The machine's clocks, and how far the wall clock can be believed."""

from __future__ import annotations

import time
from enum import Enum
from typing import Protocol

_DAY_MS = 24 * 3600 * 1000
BEHIND_MS = 30_000
"""So far a wall clock may lie behind what was proved, before it counts as wrong: no two clocks agree."""
AHEAD_MS = 400 * _DAY_MS
"""So far ahead of it a box may wake after it was switched off: longer than a season, shorter than a wild clock."""


class Setting(Enum):
    """What becomes of somebody's word on what time it is."""

    TAKEN = ""
    TOO_EARLY = "the centre has proved that it is later than that"
    TOO_LATE = "that is more than 400 days after the centre's last word"


class SystemClock:
    """Wall time from the system, monotonic time from the kernel."""

    is_sure = True

    def wall_ms(self) -> int:
        """Return UTC milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary start."""
        return time.monotonic_ns()


class _Clocks(Protocol):
    def wall_ms(self) -> int: ...
    def monotonic_ns(self) -> int: ...


class TrustedClock:
    """Wall time that never falls behind what the centre has proved.

    The centre's signed words say when they were made: it is later than that now, by at least what the monotonic clock
    has gone on since. A wall clock behind that, or absurdly far ahead of it, is not believed: the time is then the
    least that it can be, and not sure, until the clock is right again, a neighbour that is sure of its own has told the
    time, or a supervisor has said it. With nothing proved yet the wall clock is all there is.
    """

    def __init__(self, clocks: _Clocks) -> None:
        self._clocks = clocks
        self._proved_ms = 0
        self._proved_at_ns = 0
        self._said_ms = 0
        self._said_at_ns: int | None = None
        self._heard_ms = 0
        self._heard_at_ns: int | None = None

    def wall_ms(self) -> int:
        """Return UTC milliseconds since 1970: the wall clock's, or the best that is known."""
        if self._said_at_ns is not None:
            return max(self._said_ms + self._since_ms(self._said_at_ns), self.least_ms())
        wall_ms = self._clocks.wall_ms()
        if self._is_plausible(wall_ms):
            return max(wall_ms, self.least_ms())
        if self._heard_at_ns is not None:
            return max(self._heard_ms + self._since_ms(self._heard_at_ns), self.least_ms())
        return self.least_ms()

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary start."""
        return self._clocks.monotonic_ns()

    @property
    def is_sure(self) -> bool:
        """Whether it is what it says, as far as can be told; otherwise it is no earlier."""
        return self.is_hearsay or self._said_at_ns is not None or self._is_plausible(self._clocks.wall_ms())

    @property
    def is_hearsay(self) -> bool:
        """Whether it is only as right as a neighbour's: nobody else is to be told it."""
        own = self._said_at_ns is not None or self._is_plausible(self._clocks.wall_ms())
        return self._heard_at_ns is not None and not own

    def least_ms(self) -> int:
        """Return the earliest that it can be now; 0 when nothing was proved."""
        return self._proved_ms + self._since_ms(self._proved_at_ns) if self._proved_ms else 0

    def prove(self, at_ms: int) -> None:
        """Take it that `at_ms` has been: something that was made then is signed, or was kept here since."""
        if at_ms > self.least_ms():
            self._proved_ms, self._proved_at_ns = at_ms, self._clocks.monotonic_ns()

    def take_back(self, at_ms: int) -> None:
        """Take it that no more is proved than that `at_ms` has been: the centre's own clock was wrong."""
        self._proved_ms, self._proved_at_ns = at_ms, self._clocks.monotonic_ns()
        self._said_at_ns = self._heard_at_ns = None

    def hear(self, at_ms: int) -> None:
        """Take it from a neighbour that it is `at_ms` now; of use only while the clock here is wrong.

        It proves nothing: a neighbour whose clock runs ahead must not move what is kept.
        """
        if self.least_ms() - BEHIND_MS <= at_ms <= self.least_ms() + AHEAD_MS:
            self._heard_ms, self._heard_at_ns = at_ms, self._clocks.monotonic_ns()

    def set(self, at_ms: int) -> Setting:
        """Take a supervisor's word that it is `at_ms` now, until the process ends, if that can be."""
        least_ms = self.least_ms()
        if at_ms < least_ms - BEHIND_MS:
            return Setting.TOO_EARLY
        if least_ms and at_ms > least_ms + AHEAD_MS:
            return Setting.TOO_LATE
        self._said_ms, self._said_at_ns = at_ms, self._clocks.monotonic_ns()
        return Setting.TAKEN

    @property
    def problem(self) -> str:
        """What people have to know and do about it; empty while it is sure."""
        if self.is_sure:
            return ""
        wall_ms = self._clocks.wall_ms()
        which = "behind" if wall_ms < self.least_ms() else "far ahead of"
        return (
            f"the clock is {which} what the centre has proved: tickets that seem too early are referred;"
            " set the clock, or let a supervisor say what time it is on the handheld"
        )

    def _is_plausible(self, wall_ms: int) -> bool:
        least_ms = self.least_ms()
        return not least_ms or least_ms - BEHIND_MS <= wall_ms <= least_ms + AHEAD_MS

    def _since_ms(self, at_ns: int) -> int:
        return (self._clocks.monotonic_ns() - at_ns) // 1_000_000
