"""When what a box tells happened: by its own clock, as far as that can be. Pure.

A box may have woken in another year. What it tells was in the ledger's order, before it arrived here, and no earlier
than the box itself could prove: a time outside that is impossible, and the nearest possible one is taken instead. The
raw entries keep what the box wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from admission.events import ClockNoted, Entry

AHEAD_MS = 5 * 60_000
"""So far two clocks that are both right may differ."""
BEHIND_MS = 60_000
"""So far a clock may be set back in passing."""


@dataclass(frozen=True, slots=True)
class BoxClock:
    """What is known of a box's clock behind one of its entries: the latest time told, and whether that was possible."""

    latest_ms: int = 0
    is_wrong: bool = False


@dataclass(frozen=True, slots=True)
class EventTime:
    """When an entry happened, and whether the clock has just gone wrong with it."""

    at_ms: int
    goes_wrong: bool


def event_time(clock: BoxClock, entry: Entry, received_ms: int) -> tuple[EventTime, BoxClock]:
    """Return when `entry` happened that was received then (0: not known), and what is known of the clock behind it.

    A box that notes that its clock is sure again is believed from there on: what it told before was wrong.
    """
    note = entry.event if isinstance(entry.event, ClockNoted) else None
    least_ms = clock.latest_ms
    if note is not None:
        # What was proved to be later than this arrived was proved by a wrong clock of the centre's.
        proved_ms = min(note.least_ms, received_ms) if received_ms else note.least_ms
        least_ms = proved_ms if note.is_sure else max(least_ms, proved_ms)
    at_ms = entry.at_ms
    is_wrong = False
    if received_ms and at_ms > received_ms + AHEAD_MS:
        at_ms, is_wrong = max(received_ms, least_ms), True
    elif at_ms < least_ms - BEHIND_MS:
        at_ms, is_wrong = least_ms, True
    return EventTime(at_ms, is_wrong and not clock.is_wrong), BoxClock(max(least_ms, at_ms), is_wrong)
