"""What a box tells its neighbours: each new ledger entry, where the ledger stands, and what they ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from sync.centre_link import BoxIdentity
from sync.protocol import Ask, Batch, Head, HeardOf, Side, Stream, encode_batch, encode_side
from sync.uplink import Tail

BATCH_ENTRIES = 200
ANSWER_ENTRIES = 500
"""So many entries answer one question at most; who is further behind asks again."""
ANSWER_BATCH_ENTRIES = 50
HEARSAY_ADMISSIONS = 50
"""So many admissions of another box go into one answer."""
ANSWER_PAUSE_S = 0.02
"""Small batches with a pause between them: a visitor may be waiting behind them, here and where they are heard."""
HEAD_EVERY_S = 2.0


class Standing(Protocol):
    """The end of the ledger: its last entry's number, hash and epoch; what follows `floor` can still be read."""

    @property
    def floor(self) -> int: ...
    @property
    def seq_no(self) -> int: ...
    @property
    def hash(self) -> bytes: ...
    @property
    def epoch(self) -> bytes: ...


class Ledger(Protocol):
    """The box's own ledger."""

    async def ledger_head(self) -> Standing:
        """Return where it stands."""

    async def ledger_after(self, seq_no: int, limit: int) -> Tail:
        """Return up to `limit` entries that follow `seq_no`."""


class Hearsay(Protocol):
    """What is known of another box's admissions after some entry, up to `until`; with `is_all` that is all."""

    @property
    def entries(self) -> list[bytes]: ...
    @property
    def until(self) -> int: ...
    @property
    def is_all(self) -> bool: ...


class Memory(Protocol):
    """What the box knows of its neighbours."""

    async def hearsay(self, box_id: str, after: int, limit: int) -> Hearsay:
        """Return up to `limit` admissions of `box_id` behind its entry `after`, with their closings."""


class Publish(Protocol):
    """Hands a message to the link and returns whether that took it."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool = False) -> bool: ...


class Teller:
    """Speaks as long as the link takes what it says; what is lost is asked for, so nothing is kept or repeated."""

    def __init__(
        self,
        ledger: Ledger,
        memory: Memory,
        publish: Publish,
        identity: BoxIdentity,
        sure_ms: Callable[[], int | None],
    ) -> None:
        self._ledger = ledger
        self._memory = memory
        self._publish = publish
        self._identity = identity
        self._sure_ms = sure_ms
        self._told = 0
        self._has_begun = False
        self._awake = asyncio.Event()
        self._asks: dict[str, int] = {}
        self._asked = asyncio.Event()
        self._asks_of: dict[tuple[str, str], int] = {}
        self._asked_of = asyncio.Event()

    def wake(self) -> None:
        """Something was committed: tell it."""
        self._awake.set()

    def restart(self) -> None:
        """The link came up: say where the ledger stands, and go on from there."""
        self._has_begun = False
        self._awake.set()

    def ask(self, of: str, after: int, to: str = "") -> bool:
        """Ask the neighbour `of` for what follows `after`, or `to` for what it heard; return whether that went out."""
        ask = Ask(box_id=self._identity.topics.box_id, of=of, after=after, to=to)
        return self._publish(self._identity.topics.side(Side.ASK), encode_side(ask, self._identity.key))

    def answer(self, asker: str, after: int) -> None:
        """Answer a neighbour's question soon; of one who asks again only the newest question counts."""
        self._asks[asker] = after
        self._asked.set()

    def answer_of(self, asker: str, of: str, after: int) -> None:
        """Answer a neighbour's question about another box soon."""
        self._asks_of[asker, of] = after
        self._asked_of.set()

    async def run(self) -> None:
        """Speak until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for job in (self._tell, self._tell_now_and_then, self._answer, self._answer_of):
                tasks.create_task(_for_ever(job))

    async def _tell(self) -> None:
        """Tell what was committed since the last time."""
        await self._awake.wait()
        self._awake.clear()
        if not self._has_begun:
            self._has_begun = True
            self._told = await self._tell_head()
        while batch := await self._batch_after(self._told, BATCH_ENTRIES):
            if not self._say(batch):
                return
            self._told += len(batch.entries)

    async def _tell_now_and_then(self) -> None:
        await asyncio.sleep(HEAD_EVERY_S)
        await self._tell_head()

    async def _tell_head(self) -> int:
        standing = await self._ledger.ledger_head()
        topics = self._identity.topics
        head = Head(
            box_id=topics.box_id,
            floor=standing.floor,
            seq_no=standing.seq_no,
            hash=standing.hash,
            epoch=standing.epoch,
            at_ms=self._sure_ms(),
        )
        self._publish(topics.side(Side.HEAD), encode_side(head, self._identity.key), retain=True)
        return standing.seq_no

    async def _answer(self) -> None:
        await self._asked.wait()
        asker = next(iter(self._asks))
        after = max(self._asks.pop(asker), (await self._ledger.ledger_head()).floor)
        if not self._asks:
            self._asked.clear()
        until = after + ANSWER_ENTRIES
        while after < until:
            batch = await self._batch_after(after, ANSWER_BATCH_ENTRIES)
            if batch is None or not self._say(batch):
                return
            after += len(batch.entries)
            await asyncio.sleep(ANSWER_PAUSE_S)

    async def _answer_of(self) -> None:
        """Answer one question about another box: a page, from which the asker goes on."""
        await self._asked_of.wait()
        asker, of = next(iter(self._asks_of))
        after = self._asks_of.pop((asker, of))
        if not self._asks_of:
            self._asked_of.clear()
        known = await self._memory.hearsay(of, after, HEARSAY_ADMISSIONS)
        topics = self._identity.topics
        word = HeardOf(
            box_id=topics.box_id,
            of=of,
            asker=asker,
            after=after,
            until=known.until,
            is_all=known.is_all,
            entries=known.entries,
        )
        self._publish(topics.side(Side.HEARD), encode_side(word, self._identity.key))
        await asyncio.sleep(ANSWER_PAUSE_S)

    async def _batch_after(self, seq_no: int, limit: int) -> Batch | None:
        tail = await self._ledger.ledger_after(seq_no, limit)
        if not tail.entries:
            return None
        return Batch(
            stream=Stream.LEDGER,
            box_id=self._identity.topics.box_id,
            first=tail.first,
            previous_hash=tail.previous_hash,
            entries=tail.entries,
        )

    def _say(self, batch: Batch) -> bool:
        return self._publish(self._identity.topics.side(Side.LEDGER), encode_batch(batch, self._identity.key))


async def _for_ever(job: Callable[[], Awaitable[None]]) -> None:
    while True:
        await job()
