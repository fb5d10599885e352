"""Keeps visitors coming, for as long as anyone watches."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Sequence

from demo.cast import Casting, line_up
from demo.renderer import Renderer
from demo.witness_log import WitnessLog
from demo.world import World

FEW = 10
"""With fewer than so many waiting, more are invited."""
LOOK_EVERY_S = 0.5
MOSTLY = {"valid": 6, "used": 1, "external": 1}
"""Every batch has these stories."""
NOW_AND_THEN = (
    "copy",
    "screenshot",
    "forged",
    "wrong_key",
    "wrong_site",
    "too_early",
    "expired",
    "not_a_ticket",
    "external_unlisted",
    "abandoned",
)
"""Some of these as well: the gate can answer them without news from the centre."""
NEEDING_NEWS = ("refunded", "member", "credit")
"""And these, while the box can hear of them: whoever is registered during a cut is a stranger to it."""
PICKED = 4


class Crowd:
    """Casts stories whenever few visitors are left, has them drawn, and sends them to the gate."""

    def __init__(self, world: World, renderer: Renderer, lanes: Sequence[str], rng: random.Random) -> None:
        self._world = world
        self._renderer = renderer
        self._lanes = lanes
        self._rng = rng
        self._log = WitnessLog(world.witness_log)
        self._invited = 0
        self._waiting: set[str] = set()
        self._is_open = False

    @property
    def waiting(self) -> int:
        """How many have been invited and have not left yet."""
        return len(self._waiting)

    async def run(self) -> None:
        """Send visitors until cancelled."""
        self._send(await self._renderer.empty_scene())
        while True:
            if self.waiting < FEW:
                await self._invite()
            await asyncio.sleep(LOOK_EVERY_S)
            self._take_leave()

    async def _invite(self) -> None:
        async with self._world.back_office as office:
            stories = await Casting(office, self._rng).stories(self._mix())
        guests = list(line_up(stories, self._lanes, self._rng, first=self._invited + 1))
        self._invited += len(guests)
        self._waiting |= {guest.id for guest in guests}
        for guest in guests:
            line = await self._renderer.draw(guest)
            await self._until_open()
            self._send(line)
            self._take_leave()

    async def _until_open(self) -> None:
        """Wait until the box knows what was sold; with its network cut it works with what it has."""
        while not (self._is_open or self._world.is_cut):
            self._is_open = await self._world.is_listed()
            await asyncio.sleep(LOOK_EVERY_S / 5)

    def _mix(self) -> dict[str, int]:
        kinds = NOW_AND_THEN if self._world.is_cut else NOW_AND_THEN + NEEDING_NEWS
        return MOSTLY | dict.fromkeys(self._rng.sample(kinds, PICKED), 1)

    def _take_leave(self) -> None:
        """Forget those who have left, and their pictures."""
        for fact in self._log.news():
            if fact["what"] == "left" and "visitor" in fact:
                self._waiting.discard(fact["visitor"])
                shutil.rmtree(self._world.folder / "frames" / fact["visitor"], ignore_errors=True)

    def _send(self, line: str) -> None:
        with self._world.script.open("a", encoding="utf-8") as script:
            script.write(f"{line}\n")
