"""Centre to box: what a wrong clock of the centre's has proved is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from admission.envelope import EnvelopeError, KeyFinder
from sync.protocol import ProtocolError, TimeRepair, decode_time_repair
from sync.room import once_there_is_room

LOOK_EVERY_S = 0.5


class Memory(Protocol):
    """Where the times are kept that the centre has proved."""

    async def take_back(self, number: int, at_ms: int) -> bool:
        """Let nothing be proved to be later than `at_ms`, and return True; False when this was done before."""


class TimeRepairs:
    """Takes back what was proved by a wrong clock; what cannot be believed is kept out, and `problem` says so.

    `list_revision()` is what the list in use has reached; `on_repaired(at_ms)` is called once a repair holds.
    """

    def __init__(
        self,
        memory: Memory,
        site_id: str,
        find_key: KeyFinder,
        list_revision: Callable[[], int],
        on_repaired: Callable[[int], None],
    ) -> None:
        self._memory = memory
        self._site_id = site_id
        self._find_key = find_key
        self._list_revision = list_revision
        self._on_repaired = on_repaired
        self._wanted: TimeRepair | None = None
        self._arrived = asyncio.Event()
        self.problem = ""

    def receive(self, payload: bytes) -> None:
        """Take a message; of several the one with the highest number counts."""
        try:
            word = decode_time_repair(payload, self._find_key)
        except (EnvelopeError, ProtocolError) as error:
            self.problem = f"a repair of the time was refused: {error}"
            return
        if word.site_id != self._site_id:
            self.problem = f"a repair of the time was refused: it is for site {word.site_id}"
            return
        self.problem = ""
        if self._wanted is None or word.number > self._wanted.number:
            self._wanted = word
            self._arrived.set()

    async def run(self) -> None:
        """Take up what arrives, each with its list, until cancelled."""
        while True:
            await self._arrived.wait()
            word = self._wanted
            if word is None or self._list_revision() < word.number:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            self._arrived.clear()
            if await once_there_is_room(self, partial(self._memory.take_back, word.number, word.at_ms)):
                self._on_repaired(word.at_ms)
