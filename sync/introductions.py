"""Centre to box: which other boxes the site has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from admission.envelope import EnvelopeError, KeyFinder
from sync.protocol import ProtocolError, SiteBoxes, decode_boxes
from sync.room import once_there_is_room


class Memory(Protocol):
    """Where the word is kept."""

    async def keep_boxes(self, as_of_ms: int, word: bytes) -> bool:
        """Keep the word and return True; False when it is no newer than the one before."""

    async def kept_boxes(self) -> bytes | None:
        """Return the word that was kept last, if there is one."""


class Introductions:
    """Takes in whom the centre names; what cannot be believed is kept out, and `problem` says so.

    `on_boxes` is called with the word that holds: the one kept from before, and each newer one once it is kept.
    """

    def __init__(
        self,
        memory: Memory,
        site_id: str,
        find_key: KeyFinder,
        on_boxes: Callable[[SiteBoxes], Awaitable[None]],
    ) -> None:
        self._memory = memory
        self._site_id = site_id
        self._find_key = find_key
        self._on_boxes = on_boxes
        self._newest: bytes | None = None
        self._arrived = asyncio.Event()
        self.problem = ""

    def receive(self, payload: bytes) -> None:
        """Take a message; only the newest that arrived is kept."""
        self._newest = payload
        self._arrived.set()

    async def run(self) -> None:
        """Keep what arrives, until cancelled."""
        kept = await self._memory.kept_boxes()
        word = self._believed(kept) if kept is not None else None
        if word is not None:
            await self._on_boxes(word)
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            payload, self._newest = self._newest, None
            word = self._believed(payload) if payload is not None else None
            if payload is None or word is None:
                continue
            if await once_there_is_room(self, partial(self._memory.keep_boxes, word.as_of_ms, payload)):
                await self._on_boxes(word)

    def _believed(self, payload: bytes) -> SiteBoxes | None:
        """Return the word in a message; None, and why, when it cannot be believed."""
        try:
            word = decode_boxes(payload, self._find_key)
        except (EnvelopeError, ProtocolError) as error:
            self.problem = f"the site's boxes were refused: {error}"
            return None
        if word.site_id != self._site_id:
            self.problem = f"the site's boxes were refused: they are those of {word.site_id}"
            return None
        self.problem = ""
        return word
