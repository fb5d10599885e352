"""Does to the site what a bad day does, and notes what that excuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from demo.day import Act
from demo.processes import Child
from demo.troubles import Troubles
from demo.world import World

SILENT_MS = 3000
NOTICED_AFTER_S = 1.0
"""So long after a kill the boxes know of it, and what they say of their links can be relied on."""
TOUCH_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Faults:
    """What was done, for the report; what it excuses is in `troubles`."""

    troubles: Troubles
    broker_kills: int = 0
    centre_kills: int = 0
    cut_s: float = 0.0
    site_cut_s: float = 0.0


class Saboteur:
    """Cuts, restores and kills; a fault between the boxes is watched until they are in touch again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._first, self._second = world.boxes.values()
        box_of = {lane: box.box_id for box in world.boxes.values() for lane in box.all_lane_ids}
        self.faults = Faults(Troubles(box_of))
        self._cut_at_s = self._site_cut_at_s = 0.0
        self._watches: list[asyncio.Task[None]] = []
        self._acts: Mapping[Act, Callable[[], None]] = {
            Act.CUT_CENTRE: self._cut_centre,
            Act.RESTORE_CENTRE: self._restore_centre,
            Act.CUT_SITE: self._cut_site,
            Act.RESTORE_SITE: self._restore_site,
            Act.KILL_FIRST_AGENT: lambda: self._kill_agent(self._first.box_id),
            Act.KILL_SECOND_AGENT: lambda: self._kill_agent(self._second.box_id),
            Act.KILL_BROKERS: self._kill_brokers,
            Act.KILL_CENTRE: self._kill_centre,
        }

    def do(self, act: Act) -> None:
        """Do one thing; what follows from it is watched in the background."""
        self._acts[act]()

    async def until_in_touch(self) -> None:
        """Return once every watch has seen the boxes hear all of each other again."""
        await asyncio.gather(*self._watches)

    def stop(self) -> None:
        """Watch no longer."""
        for watch in self._watches:
            watch.cancel()

    def _cut_centre(self) -> None:
        self._world.cut(silent_ms=SILENT_MS)
        self._cut_at_s = time.monotonic()

    def _restore_centre(self) -> None:
        self._world.restore()
        self.faults.cut_s += time.monotonic() - self._cut_at_s

    def _cut_site(self) -> None:
        self._second.cut_site(silent_ms=SILENT_MS)
        self._site_cut_at_s = time.monotonic()

    def _restore_site(self) -> None:
        self._second.restore_site()
        self.faults.site_cut_s += time.monotonic() - self._site_cut_at_s
        self._watch(self._site_cut_at_s)

    def _kill_agent(self, box_id: str) -> None:
        now_s = time.monotonic()
        self.faults.troubles.kills.append((box_id, now_s * 1000))
        self._world.boxes[box_id].agent.kill()
        if not self._second.is_site_cut:  # else they are apart anyway, and watched once the cut is mended
            self._watch(now_s)

    def _kill_brokers(self) -> None:
        self._kill_broker(self._world.broker)
        if self._world.site_broker is not None:
            self._kill_broker(self._world.site_broker)
            self._watch(time.monotonic())

    def _kill_broker(self, broker: Child) -> None:
        broker.kill()
        self.faults.broker_kills += 1

    def _kill_centre(self) -> None:
        self._world.centre.kill()
        self.faults.centre_kills += 1

    def _watch(self, since_s: float) -> None:
        self._watches.append(asyncio.create_task(self._note_apart(since_s)))

    async def _note_apart(self, since_s: float) -> None:
        await asyncio.sleep(NOTICED_AFTER_S)
        await until_in_touch(self._world)
        self.faults.troubles.apart.append((since_s * 1000, time.monotonic() * 1000))


async def until_in_touch(world: World) -> None:
    """Wait until the boxes have said twice that they hear all of each other: once may be before they noticed."""
    times = 0
    async with asyncio.timeout(TOUCH_TIMEOUT_S):
        while times < 2:
            times = times + 1 if await world.is_in_touch() else 0
            await asyncio.sleep(0.2)
