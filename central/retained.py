"""Words that the broker keeps for whoever comes later: told again whenever they may have changed or been forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection

from central.publishing import Publish
from central.store import Store


class Retained:
    """Keeps the words that `read` returns, each with its topic, with the broker."""

    def __init__(
        self, store: Store, publish: Publish, read: Callable[[Connection], list[tuple[str, bytes]]]
    ) -> None:
        self._store = store
        self._publish = publish
        self._read = read
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Note that there may be another word to keep, or that there is a link again."""
        self._woken.set()

    async def run(self) -> None:
        """Tell, until cancelled; what the link does not take is told when it is up again."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            for topic, payload in await self._store.read(self._read):
                self._publish(topic, payload, retain=True)
