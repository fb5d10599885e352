"""When the ledger has to say what the clock is worth: at the start, and whenever that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from admission.events import ClockNoted

LOOK_EVERY_S = 1.0
STEP_MS = 2000
"""A clock that moves by so much against the kernel's was set; drift and slewing are far less."""


class Clock(Protocol):
    """The box's clock, and how far it can be believed."""

    @property
    def is_sure(self) -> bool: ...
    def wall_ms(self) -> int: ...
    def monotonic_ns(self) -> int: ...
    def least_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clock says at one moment."""

    wall_ms: int
    monotonic_ms: int
    is_sure: bool
    least_ms: int

    def has_changed_since(self, last: Reading) -> bool:
        """Whether times from now on are of another worth, or not in line with those before."""
        step_ms = (self.wall_ms - last.wall_ms) - (self.monotonic_ms - last.monotonic_ms)
        return self.is_sure != last.is_sure or abs(step_ms) > STEP_MS


class ClockNotes:
    """Writes a note into the ledger whenever the clock was set, or its worth has changed.

    `write(at_ms, event)` returns once it is recorded, False when there is no room for it now.
    """

    def __init__(self, clock: Clock, write: Callable[[int, ClockNoted], Awaitable[bool]]) -> None:
        self._clock = clock
        self._write = write
        self._last: Reading | None = None

    async def look(self) -> None:
        """Write a note if one is due."""
        clock = self._clock
        now = Reading(clock.wall_ms(), clock.monotonic_ns() // 1_000_000, clock.is_sure, clock.least_ms())
        if self._last is not None and not now.has_changed_since(self._last):
            return
        if await self._write(now.wall_ms, ClockNoted(now.monotonic_ms, now.is_sure, now.least_ms)):
            self._last = now

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)
