"""What a lane has done since its process started, for displays and health. Nothing here is a record."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from admission.answers import Answer
from admission.reasons import Reason
from admission.tickets import Outcome
from gate_agent.buckets import Buckets

_WAITS_KEPT = 512


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer and when it was given, UTC milliseconds."""

    answer: Answer
    at_ms: int


class Tally:
    """Counters of one lane, the last answer, and how long the last visitors waited."""

    def __init__(self) -> None:
        self.reasons: Counter[Reason] = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.incidents: Counter[Outcome] = Counter()
        self.decisions_s = Buckets()
        self.waits_s = Buckets()
        self.last: Shown | None = None
        self._waits_ms: deque[float] = deque(maxlen=_WAITS_KEPT)

    def count(self, answer: Answer, at_ms: int) -> None:
        """Count an answer."""
        self.reasons[answer.decision.reason] += 1
        self.last = Shown(answer, at_ms)

    def close(self, outcome: Outcome) -> None:
        """Count how an admission ended."""
        self.outcomes[outcome] += 1

    def note_wait(self, wait_ms: float) -> None:
        """Remember how long a visitor waited from frame to release."""
        self._waits_ms.append(wait_ms)
        self.waits_s.add(wait_ms / 1000)

    def note_decision(self, took_s: float) -> None:
        """Count how long an answer took, until it was on the disk."""
        self.decisions_s.add(took_s)

    def note_incident(self, what: Outcome) -> None:
        """Count a passage or an opening with no admission behind it."""
        self.incidents[what] += 1

    def wait_ms(self, share: float) -> float | None:
        """Return the wait that `share` of the last visitors did not exceed; None before the first."""
        if not self._waits_ms:
            return None
        ordered = sorted(self._waits_ms)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
