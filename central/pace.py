"""When a list is due: soon after the rights change, not at every change, seldom for uses alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class ListPace(msgspec.Struct, frozen=True, kw_only=True):
    """How eagerly lists are built."""

    quiet_ms: int = 300
    """A list is built when the rights have not changed for so long."""
    at_most_ms: int = 2000
    """A list is built so long after a change even while the changes go on."""
    uses_every_ms: int = 30_000
    """Uses alone lead to a list at most that often."""
    rest_times: int = 20
    """The next list waits so many times as long as the last one took: boxes fetch each, and changes go ahead of it."""


@dataclass(slots=True)
class Pending:
    """What has happened since the last list was begun; times on one monotonic clock, milliseconds."""

    pace: ListPace
    begun_ms: int
    first_change_ms: int | None = None
    last_change_ms: int = 0
    has_uses: bool = False
    rests_until_ms: int = 0

    def rights_changed(self, now_ms: int) -> None:
        """Note that rights were changed."""
        self.last_change_ms = now_ms
        if self.first_change_ms is None:
            self.first_change_ms = now_ms

    def uses_folded(self) -> None:
        """Note that counters were changed."""
        self.has_uses = True

    def begin(self, now_ms: int) -> None:
        """Note that a list of everything so far is begun."""
        self.begun_ms, self.first_change_ms, self.has_uses = now_ms, None, False

    def end(self, now_ms: int) -> None:
        """Note that the list that was begun is there."""
        self.rests_until_ms = now_ms + self.pace.rest_times * (now_ms - self.begun_ms)

    def due_ms(self) -> int | None:
        """Return when the next list shall be begun; None while nothing has happened."""
        due: list[int] = []
        if self.first_change_ms is not None:
            quiet_ms = self.last_change_ms + self.pace.quiet_ms
            due.append(min(quiet_ms, self.first_change_ms + self.pace.at_most_ms))
        if self.has_uses:
            due.append(self.begun_ms + self.pace.uses_every_ms)
        return max(min(due), self.rests_until_ms) if due else None
