"""What the box does for its own memory: it forgets what is over, and watches the room on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from gate_agent.ports import Clock
from offline_cache import retention
from offline_cache.database import Database
from offline_cache.opening import StoreFullError
from offline_cache.overlay import Overlay
from offline_cache.space import Space

log = logging.getLogger(__name__)

FORGET_EVERY_S = 600.0
LOOK_EVERY_S = 1.0


class Upkeep:
    """Keeps a box's memory within its bounds."""

    def __init__(self, database: Database, overlay: Overlay, space: Space, clock: Clock) -> None:
        self._database = database
        self._overlay = overlay
        self._space = space
        self._clock = clock

    async def run(self) -> None:
        """Keep it up until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forget())
            tasks.create_task(self._watch_space())

    async def _forget(self) -> None:
        while True:
            with contextlib.suppress(StoreFullError):
                while await self._forget_some():
                    await asyncio.sleep(0.1)
                while await self._overlay.sweep():
                    await asyncio.sleep(0.1)
            await asyncio.sleep(FORGET_EVERY_S)

    async def _watch_space(self) -> None:
        """Look at the room on the disk; the diary gives way at once when it gets short."""
        before = self._space.room
        while True:
            room = self._space.look()
            if room is not before:
                log.warning("room on the disk", extra={"room": room.name, "problem": self._space.problem})
            if room > before:
                with contextlib.suppress(StoreFullError):
                    while await self._forget_some():
                        await asyncio.sleep(0)
            before = room
            await asyncio.sleep(LOOK_EVERY_S)

    async def _forget_some(self) -> int:
        return await retention.prune(self._database, self._clock.wall_ms(), room=self._space.room)
