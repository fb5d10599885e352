"""What was done to the site and when, as far as it excuses what the witness saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Fact = dict[str, Any]
AFTER_KILL_MS = 10_000
"""How long after a kill a visitor who stood there may still be dealt with."""
TOLD_WITHIN_MS = 1_000
"""What was done so shortly before the boxes were parted may not have been told."""


@dataclass(slots=True)
class Troubles:
    """Kills of agents, by box, and the times during which the boxes did not hear all of each other.

    Times are milliseconds on the witness's clock. `box_of` says which box serves a lane.
    """

    box_of: Mapping[str, str]
    kills: list[tuple[str, float]] = field(default_factory=list)
    apart: list[tuple[float, float]] = field(default_factory=list)

    def kills_of(self, box_id: str) -> list[float]:
        """Return when the box's agent was killed."""
        return [at_ms for killed, at_ms in self.kills if killed == box_id]

    def is_near(self, fact: Fact) -> bool:
        """Whether the agent of the fact's lane was killed shortly before or after it."""
        kills = self.kills_of(self.box_of[fact["lane"]])
        return any(-AFTER_KILL_MS <= fact["t_ms"] - kill <= AFTER_KILL_MS for kill in kills)

    def is_in_flight(self, facts: Sequence[Fact]) -> bool:
        """Whether the visitor stood at the gate when its agent was killed, or while that was away."""
        times = [fact["t_ms"] for fact in facts]
        kills = self.kills_of(self.box_of[facts[0]["lane"]]) if facts else []
        return any(times[0] - AFTER_KILL_MS <= kill <= times[-1] for kill in kills)

    def could_not_know(self, earlier: Sequence[Fact], later: Sequence[Fact]) -> bool:
        """Whether the box of the later visit may not have heard of the earlier one, at another box."""
        if not earlier or not later:
            return False
        told_ms, asked_ms = earlier[-1]["t_ms"] + TOLD_WITHIN_MS, later[-1]["t_ms"]
        is_elsewhere = self.box_of[earlier[0]["lane"]] != self.box_of[later[0]["lane"]]
        return is_elsewhere and any(
            from_ms <= asked_ms and later[0]["t_ms"] <= until_ms and told_ms >= from_ms
            for from_ms, until_ms in self.apart
        )
