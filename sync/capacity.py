"""Centre to box: how full the site is, and how many of the rest this box may let in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from admission.envelope import EnvelopeError, KeyFinder
from sync.protocol import BoxTopics, CapacityWord, ProtocolError, decode_capacity
from sync.room import once_there_is_room


class Memory(Protocol):
    """Where the words are kept."""

    async def take(self, word: CapacityWord, at_ms: int) -> None:
        """Keep the word; one older than the one before changes nothing."""


class CapacityFeed:
    """Takes in what the centre says of the capacity; what cannot be believed is kept out, and `problem` says so."""

    def __init__(
        self, memory: Memory, topics: BoxTopics, find_key: KeyFinder, wall_ms: Callable[[], int]
    ) -> None:
        self._memory = memory
        self._topics = topics
        self._find_key = find_key
        self._wall_ms = wall_ms
        self._newest: CapacityWord | None = None
        self._arrived = asyncio.Event()
        self.problem = ""

    def receive(self, payload: bytes) -> None:
        """Take a message; only the newest that arrived is kept."""
        try:
            word = decode_capacity(payload, self._find_key)
        except (EnvelopeError, ProtocolError) as error:
            self.problem = f"a share of the capacity was refused: {error}"
            return
        if (word.site_id, word.box_id) != (self._topics.site_id, self._topics.box_id):
            self.problem = (
                f"a share of the capacity was refused: it is for box {word.box_id} of {word.site_id}"
            )
            return
        self.problem = ""
        self._newest = word
        self._arrived.set()

    async def run(self) -> None:
        """Keep what arrives, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if (word := self._newest) is not None:
                await once_there_is_room(self, partial(self._memory.take, word, self._wall_ms()))
