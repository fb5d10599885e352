"""What proves the time to the box, and keeping it over restarts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from admission.answers import NoRoomError
from gate_agent.clock import TrustedClock

log = logging.getLogger(__name__)

KEEP_EVERY_S = 10.0


class Memory(Protocol):
    """Where it is kept what time has been."""

    async def read_ms(self) -> int:
        """Return what was kept last; 0 for nothing."""

    async def keep(self, at_ms: int) -> None:
        """Keep it for the next start. NoRoomError when there is no room."""


class Timekeeper:
    """Lets every signed word prove the time to the clock; `signed_s()` is the newest moment that one names, or 0."""

    def __init__(self, clock: TrustedClock, memory: Memory, signed_s: Callable[[], int]) -> None:
        self._clock = clock
        self._memory = memory
        self._signed_s = signed_s

    async def recall(self) -> None:
        """Go by what an earlier process kept, and by the words that are at hand."""
        self._clock.prove(await self._memory.read_ms())
        self.take_proof()

    def take_proof(self) -> None:
        """Let the words that are at hand now prove the time."""
        if signed_s := self._signed_s():
            self._clock.prove(signed_s * 1000)

    def take_back(self, at_ms: int) -> None:
        """Forget what a wrong clock of the centre's has proved: what is signed from `at_ms` on proves it again."""
        log.warning("what was proved about the time was taken back", extra={"at_ms": at_ms})
        self._clock.take_back(at_ms)
        self.take_proof()

    async def run(self) -> None:
        """Take proof and keep it now and then, until cancelled."""
        while True:
            self.take_proof()
            if least_ms := self._clock.least_ms():
                with contextlib.suppress(NoRoomError):
                    await self._memory.keep(least_ms)
            await asyncio.sleep(KEEP_EVERY_S)
