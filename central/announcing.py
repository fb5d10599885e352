"""Tells the boxes what changes, a moment after it is committed, and now and then that nothing did."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from sqlalchemy import Connection, select

from admission.changes import ListChanges
from admission.keys import SigningKey
from central.changes import for_site, mark, messages_since
from central.clock import Clock
from central.publishing import Publish
from central.rights import current_revision
from central.schema import boxes
from central.store import Store
from sync.protocol import changes_topic, encode_changes

GATHER_S = 0.05
"""Changes that follow each other so closely are told together."""
HEARTBEAT_S = 5.0
"""So often boxes are told where the rights stand: one that missed something learns it from that."""


class Announcer:
    """Publishes changes to every site that has boxes; what cannot be sent now is told when the link is up."""

    def __init__(self, store: Store, key: SigningKey, clock: Clock, publish: Publish) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._publish = publish
        self._woken = asyncio.Event()
        self._told = 0

    def wake(self) -> None:
        """Note that rights were committed, or that there is a link again."""
        self._woken.set()

    async def run(self) -> None:
        """Tell what changes from now on, until cancelled; what changed before, boxes ask for."""
        self._told = await self._store.read(current_revision)
        while True:
            await self._announce()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._woken.wait()
                await asyncio.sleep(GATHER_S)
            self._woken.clear()

    async def _announce(self) -> None:
        """Tell the rows at once, and then, once every change under way has its revision, that these were all."""
        await self._tell_rows()
        marked = await self._store.run(lambda connection: mark(connection, self._clock))
        sites = await self._tell_rows()
        await self._tell(
            sites,
            ListChanges(
                site_id="",
                from_revision=marked.revision,
                to_revision=marked.revision,
                as_of_s=marked.as_of_s,
            ),
        )

    async def _tell_rows(self) -> Sequence[str]:
        """Tell what is new and return the sites that were told."""
        told = self._told
        sites, messages, newest = await self._store.read(lambda connection: _news(connection, told))
        for message in messages:
            if not await self._tell(sites, message):
                return sites
        self._told = newest
        return sites

    async def _tell(self, sites: Sequence[str], message: ListChanges) -> bool:
        """Publish to all `sites`; False when the link is down."""
        for site_id in sites:
            payload = await asyncio.to_thread(encode_changes, for_site(message, site_id), self._key)
            if not self._publish(changes_topic(site_id), payload):
                return False
        return True


def _news(connection: Connection, told: int) -> tuple[list[str], tuple[ListChanges, ...], int]:
    """Return the sites with boxes, what to tell them, and the newest revision that this includes."""
    sites = list(connection.scalars(select(boxes.c.site_id).distinct().order_by(boxes.c.site_id)))
    return sites, messages_since(connection, told), current_revision(connection)
