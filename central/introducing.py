"""Introduces the boxes of a site to each other: whom to believe, and who was there before."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import groupby

from sqlalchemy import Connection, select

from admission.keys import SigningKey
from central.clock import Clock
from central.publishing import Publish
from central.schema import boxes
from central.store import Store
from sync.protocol import SiteBox, SiteBoxes, boxes_topic, encode_boxes


class Introducer:
    """Keeps a retained word for every site that says which boxes it has."""

    def __init__(self, store: Store, key: SigningKey, clock: Clock, publish: Publish) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._publish = publish
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Note that a box came or went, or that there is a link again."""
        self._woken.set()

    async def run(self) -> None:
        """Tell, until cancelled; what the link does not take is told when it is up again."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            now_ms = self._clock()
            for word in await self._store.read(partial(site_boxes, now_ms=now_ms)):
                self._publish(boxes_topic(word.site_id), encode_boxes(word, self._key), retain=True)


def site_boxes(connection: Connection, now_ms: int) -> list[SiteBoxes]:
    """Return the word for each site that has boxes."""
    rows = connection.execute(select(boxes).order_by(boxes.c.site_id, boxes.c.box_id))
    return [
        SiteBoxes(
            site_id=site_id,
            as_of_ms=now_ms,
            boxes=[
                SiteBox(box_id=row.box_id, key=row.public_key, is_barred=row.barred_s is not None)
                for row in found
            ],
        )
        for site_id, found in groupby(rows, lambda row: row.site_id)
    ]
