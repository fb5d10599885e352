"""What a reader hands to a lane."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scan:
    """One showing of one code at one reader.

    `payload` is the code's exact bytes, never a guessed text. `captured_ns` is the monotonic time at which the
    frame (or the reader's message) that showed it was in hand: the visitor's wait is measured from there. `persons` is
    how many want to come in on it at once.
    """

    payload: bytes
    source: str
    captured_ns: int
    persons: int = 1
