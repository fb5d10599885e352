"""Messages on their way into the store, and what waits for them."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection, select

from central import intake as intake_module
from central.ingest import ingest, ingest_all
from central.intake import Folding
from central.schema import uses
from central.store import Store
from sync.protocol import Stream, decode_receipt
from tests.central.world import NOW_MS, POLICY, Box, admitted, register
from tests.support.waiting import until


def _told(box: Box) -> bytes:
    box.open_epoch()
    box.append(admitted(1, bytes(16)))
    return box.batch()


async def test_folding_lets_messages_go_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """While messages wait nothing is folded; when none does, everything is."""
    monkeypatch.setattr(intake_module, "FOLD_WAITS_S", 3600)
    box = Box()
    message = _told(box)

    def work(connection: Connection) -> None:
        register(connection, box)
        ingest(connection, box.topics.up(Stream.LEDGER), message, NOW_MS)

    await store.run(work)
    folded: list[bool] = []
    busy = [True]
    looks: list[bool] = []

    def is_idle() -> bool:
        looks.append(not busy[0])
        return not busy[0]

    folding = asyncio.create_task(Folding(store, POLICY, lambda: folded.append(True), is_idle).run())
    await until(lambda: len(looks) > 10, "looking whether messages wait")
    assert not await store.read(lambda connection: connection.execute(select(uses)).all())
    busy[0] = False
    await until(lambda: bool(folded), "folding")
    assert len(await store.read(lambda connection: connection.execute(select(uses)).all())) == 1
    folding.cancel()
    await asyncio.wait([folding])


async def test_messages_that_never_end_do_not_keep_counters_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while folding takes its turn."""
    monkeypatch.setattr(intake_module, "FOLD_WAITS_S", 0.05)
    box = Box()
    message = _told(box)

    def work(connection: Connection) -> None:
        register(connection, box)
        ingest(connection, box.topics.up(Stream.LEDGER), message, NOW_MS)

    await store.run(work)
    folded: list[bool] = []
    folding = asyncio.create_task(Folding(store, POLICY, lambda: folded.append(True), lambda: False).run())
    await until(lambda: bool(folded), "folding")
    folding.cancel()
    await asyncio.wait([folding])


async def test_boxes_of_one_commit_are_answered_once_each(store: Store) -> None:
    """With where they stand after the last of their messages."""
    box, other = Box(), Box("fairy-2")
    messages = []
    for speaker in (box, other):
        _told(speaker)
        topic = speaker.topics.up(Stream.LEDGER)
        messages += [(topic, speaker.batch(1, 1)), (topic, speaker.batch(2, 2)), (topic, b"noise")]

    def work(connection: Connection) -> dict[str, int]:
        register(connection, box, other)
        replies = ingest_all(connection, messages, NOW_MS)
        assert len(replies) == 2
        return {reply.topic: decode_receipt(reply.payload).seq_no for reply in replies}

    assert await store.run(work) == {box.topics.receipt: 2, other.topics.receipt: 2}
