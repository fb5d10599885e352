"""Repeated sightings of a code become one scan per showing. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from scanner.sighting import Sighting

_NS_PER_MS = 1_000_000
_MAX_SHOWINGS = 16  # more codes than that within one leaving time is a wall of codes, not a visitor


@dataclass(frozen=True, slots=True)
class Shown:
    """A showing that was handed out; `captured_ns` is the frame from which the visitor's wait is measured."""

    sighting: Sighting
    captured_ns: int


@dataclass(slots=True)
class _Showing:
    """A code that is in view: from its first frame until it has been missed for long enough."""

    name: bytes
    sighting: Sighting
    began_ns: int
    last_ns: int
    rank: int
    taken: bool = False
    beside: set[bytes] = field(default_factory=set)


def _itself(payload: bytes) -> bytes:
    return payload


class Presentation:
    """What is held out to one camera, and which of it nobody has taken yet.

    A code held for seconds is one showing; after `gone_after_ms` without a sighting it has left, and counts
    anew when it returns. A showing can be taken once, for as long as its code is in view: a lane that is busy
    takes it later, or never. Of codes shown together only the most prominent counts. Payloads for which `same` gives
    the same are one code that changes while it is shown: what is handed out is its newest.
    """

    def __init__(self, gone_after_ms: int = 700, same: Callable[[bytes], bytes] = _itself) -> None:
        self._same = same
        self._gone_after_ns = gone_after_ms * _NS_PER_MS
        self._showings: dict[bytes, _Showing] = {}

    def observe(self, sightings: Iterable[Sighting], width: int, height: int, at_ns: int) -> None:
        """Notes what a frame of the given size, captured at `at_ns`, showed; frames come in order of time."""
        self._forget_gone(at_ns)
        ranked = sorted(sightings, key=lambda seen: seen.prominence(width, height), reverse=True)
        best: dict[bytes, Sighting] = {}
        for seen in ranked:
            best.setdefault(self._same(seen.payload), seen)
        together = list(best)[:_MAX_SHOWINGS]
        for rank, name in enumerate(together):
            self._note(name, best[name], rank, at_ns).beside.update(together)
        self._forget_surplus()

    def take(self, at_ns: int, waiting_since_ns: int) -> Shown | None:
        """Hands out the newest showing that is in view and untaken, once.

        Its wait is measured from its first frame; for a lane that came to it only later (`waiting_since_ns`),
        from the newest frame that showed it.
        """
        self._forget_gone(at_ns)
        open_to_take = [showing for showing in self._showings.values() if self._counts(showing)]
        if not open_to_take:
            return None
        newest = max(open_to_take, key=lambda showing: showing.began_ns)
        newest.taken = True
        was_waiting = newest.began_ns >= waiting_since_ns
        return Shown(newest.sighting, newest.began_ns if was_waiting else newest.last_ns)

    def _note(self, name: bytes, seen: Sighting, rank: int, at_ns: int) -> _Showing:
        showing = self._showings.setdefault(name, _Showing(name, seen, at_ns, at_ns, rank))
        showing.sighting, showing.last_ns, showing.rank = seen, at_ns, rank
        return showing

    def _forget_gone(self, at_ns: int) -> None:
        self._showings = {
            name: showing
            for name, showing in self._showings.items()
            if at_ns - showing.last_ns <= self._gone_after_ns
        }

    def _forget_surplus(self) -> None:
        latest_first = sorted(self._showings.items(), key=lambda item: item[1].last_ns, reverse=True)
        self._showings = dict(latest_first[:_MAX_SHOWINGS])
        for showing in self._showings.values():
            showing.beside &= self._showings.keys()

    def _counts(self, showing: _Showing) -> bool:
        return not showing.taken and not any(
            self._hides(self._showings[name], showing)
            for name in showing.beside & self._showings.keys()
            if name != showing.name
        )

    def _hides(self, other: _Showing, showing: _Showing) -> bool:
        """Whether a code seen beside another stands for both.

        One that was taken hides only what came with it: the next visitor's code beside it must count, and so
        must every code beside a sticker that is always in view.
        """
        if other.taken:
            return abs(showing.began_ns - other.began_ns) <= self._gone_after_ns
        return other.last_ns == showing.last_ns and other.rank < showing.rank
