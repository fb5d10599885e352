"""What a box hears from its neighbours: believed only with the keys in its settings, asked for when it is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, assert_never

from admission.envelope import EnvelopeError, KeyFinder
from admission.keys import PublicKey
from sync.protocol import (
    MAX_SEQ_NO,
    Batch,
    Head,
    NeighbourHealth,
    ProtocolError,
    Side,
    decode_ask,
    decode_batch,
    decode_head,
)
from sync.telling import ANSWER_ENTRIES

MESSAGES_KEPT = 256
"""More messages than this are not kept waiting: what they say is asked for again."""
ASK_AGAIN_S = 1.0
SILENT_S = 10.0
"""A neighbour that says nothing for so long is off, or cut off."""


class Heard(Protocol):
    """How far a neighbour's ledger is known without a gap."""

    @property
    def seq_no(self) -> int: ...


class Taken(Protocol):
    """What came of a message: how far the ledger is known now, and what was strange about it."""

    @property
    def heard(self) -> Heard: ...
    @property
    def is_other_history(self) -> bool: ...
    @property
    def unreadable(self) -> int: ...


class Memory(Protocol):
    """The box's memory of its neighbours."""

    async def heard(self, box_id: str) -> Heard:
        """Return how far the neighbour's ledger is known."""

    async def take(self, batch: Batch) -> Taken:
        """Add the uses and closings in `batch`; returns after COMMIT; ValueError when it is not in order."""

    async def compare(self, head: Head) -> Taken:
        """Compare what is known with where the neighbour says it stands."""


@dataclass(slots=True)
class _Neighbour:
    """What is known of one neighbour: its ledger up to `heard` without a gap, of `end` entries that it has."""

    key: PublicKey
    heard: int = 0
    end: int = 0
    spoke_s: float | None = None
    asked_after: int = 0
    asked_s: float = float("-inf")
    problem: str = ""
    doubt: str = ""  # why its last message was not believed

    def find_key(self) -> KeyFinder:
        return lambda key_id: self.key.key if key_id == self.key.key_id else None

    def is_to_be_asked(self, now_s: float) -> bool:
        """Whether entries are missing and no answer is on its way."""
        is_answered = self.heard >= self.asked_after + ANSWER_ENTRIES
        return self.heard < self.end and (is_answered or now_s - self.asked_s >= ASK_AGAIN_S)


class Hearer:
    """Takes the neighbours' words in, one after the other.

    `ask(box_id, after)` sends a question and says whether it went out; `on_ask(box_id, after)` takes a neighbour's.
    """

    def __init__(
        self,
        box_id: str,
        neighbours: Iterable[tuple[str, PublicKey]],
        memory: Memory,
        ask: Callable[[str, int], bool],
        on_ask: Callable[[str, int], None],
        now_s: Callable[[], float],
    ) -> None:
        self._box_id = box_id
        self._neighbours: Mapping[str, _Neighbour] = {name: _Neighbour(key) for name, key in neighbours}
        self._memory = memory
        self._ask = ask
        self._on_ask = on_ask
        self._now_s = now_s
        self._messages: asyncio.Queue[tuple[str, Side, bytes]] = asyncio.Queue(MESSAGES_KEPT)
        self._strangers = ""

    @property
    def problems(self) -> list[str]:
        """What is wrong with the conversation, for people."""
        found = [text for known in self._neighbours.values() for text in (known.problem, known.doubt)]
        return [text for text in (*found, self._strangers) if text]

    def health(self) -> list[NeighbourHealth]:
        """Return how well each neighbour is heard."""
        now_s = self._now_s()
        return [
            NeighbourHealth(
                box_id=name,
                silent_s=None if neighbour.spoke_s is None else int(now_s - neighbour.spoke_s),
                behind=max(0, neighbour.end - neighbour.heard),
            )
            for name, neighbour in self._neighbours.items()
        ]

    def receive(self, box_id: str, side: Side, message: bytes) -> None:
        """Take a message, if there is room for it."""
        if box_id not in self._neighbours:
            self._strangers = (
                f"box {box_id} speaks on this site and is not among the neighbours in the settings"
            )
        elif not self._messages.full():
            self._messages.put_nowait((box_id, side, message))

    async def run(self) -> None:
        """Hear until cancelled."""
        for box_id, neighbour in self._neighbours.items():
            neighbour.heard = neighbour.end = (await self._memory.heard(box_id)).seq_no
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear())
            tasks.create_task(self._ask_again())

    async def _hear(self) -> None:
        while True:
            box_id, side, message = await self._messages.get()
            neighbour = self._neighbours[box_id]
            try:
                await self._take(box_id, neighbour, side, message)
            except (EnvelopeError, ProtocolError) as error:
                neighbour.doubt = f"box {box_id} cannot be believed: {error}"
                continue
            neighbour.spoke_s, neighbour.doubt = self._now_s(), ""
            self._ask_if_behind(box_id, neighbour)

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(ASK_AGAIN_S)
            for box_id, neighbour in self._neighbours.items():
                self._ask_if_behind(box_id, neighbour)

    async def _take(self, box_id: str, neighbour: _Neighbour, side: Side, message: bytes) -> None:
        find_key = neighbour.find_key()
        match side:
            case Side.LEDGER:
                await self._take_batch(box_id, neighbour, decode_batch(message, find_key))
            case Side.HEAD:
                await self._take_head(box_id, neighbour, decode_head(message, find_key))
            case Side.ASK:
                ask = decode_ask(message, find_key)
                if ask.of == self._box_id:
                    self._on_ask(box_id, ask.after)
            case _:
                assert_never(side)

    async def _take_batch(self, box_id: str, neighbour: _Neighbour, batch: Batch) -> None:
        if batch.box_id != box_id or not 1 <= batch.first <= MAX_SEQ_NO:
            raise ProtocolError(f"a batch of box {batch.box_id} that begins with {batch.first}")
        try:
            taken = await self._memory.take(batch)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        neighbour.end = max(neighbour.end, batch.first + len(batch.entries) - 1)
        self._note(box_id, neighbour, taken)

    async def _take_head(self, box_id: str, neighbour: _Neighbour, head: Head) -> None:
        if head.box_id != box_id:
            raise ProtocolError(f"a head of box {head.box_id}")
        taken = await self._memory.compare(head)
        neighbour.end = head.seq_no if taken.is_other_history else max(neighbour.end, head.seq_no)
        self._note(box_id, neighbour, taken)

    def _note(self, box_id: str, neighbour: _Neighbour, taken: Taken) -> None:
        neighbour.heard = taken.heard.seq_no
        if taken.is_other_history:
            neighbour.asked_s = float("-inf")
            neighbour.problem = (
                f"box {box_id} tells another history than before: was its disk restored or copied?"
            )
        elif taken.unreadable:
            neighbour.problem = f"box {box_id} records what this release does not know; update this box"

    def _ask_if_behind(self, box_id: str, neighbour: _Neighbour) -> None:
        now_s = self._now_s()
        if neighbour.is_to_be_asked(now_s) and self._ask(box_id, neighbour.heard):
            neighbour.asked_after, neighbour.asked_s = neighbour.heard, now_s
