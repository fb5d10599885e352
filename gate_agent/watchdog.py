"""Whether the lanes make progress, judged from one look to the next. Pure: what is seen and when are parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ANSWER_LIMIT_MS = 10_000
"""An answer takes milliseconds; whatever a lane waits for this long will not come."""
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Signs:
    """What one lane shows of itself at one moment."""

    waiting_ms: int
    """How long the answer under way has waited for the store or the turnstile; 0 when none does."""
    is_seeing: bool
    """Whether frames should come: it has a camera, and that is not known to be lost."""
    decoded: int
    """Frames decoded since the process started."""


@dataclass(frozen=True, slots=True)
class _Progress:
    """How many frames were decoded when that last was as it should be, and when it was."""

    decoded: int
    at_ns: int


class Watchdog:
    """Says which lanes are stuck; `sight_limits_ms` are how long a camera's lane may go without decoding a frame."""

    def __init__(self, sight_limits_ms: Mapping[str, int]) -> None:
        self._sight_limits_ms = sight_limits_ms
        self._progress: dict[str, _Progress] = {}

    def look(self, lanes: Mapping[str, Signs], now_ns: int) -> list[str]:
        """Return what is stuck at `now_ns`, for people; empty when every lane makes progress."""
        return [
            problem for lane_id, signs in lanes.items() for problem in self._stuck(lane_id, signs, now_ns)
        ]

    def _stuck(self, lane_id: str, signs: Signs, now_ns: int) -> Iterator[str]:
        if signs.waiting_ms > ANSWER_LIMIT_MS:
            yield f"lane {lane_id}: an answer has waited for {signs.waiting_ms} ms"
        last = self._progress.get(lane_id)
        if last is None or not signs.is_seeing or signs.decoded != last.decoded:
            self._progress[lane_id] = _Progress(signs.decoded, now_ns)
            return
        blind_ms = (now_ns - last.at_ns) // _NS_PER_MS
        if blind_ms > self._sight_limits_ms[lane_id]:
            yield f"lane {lane_id}: no frame was decoded for {blind_ms} ms, and its camera is not lost"
