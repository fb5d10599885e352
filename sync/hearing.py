"""What a box hears from its neighbours: believed only with the keys in its settings, asked for when it is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from admission.answers import NoRoomError
from admission.envelope import EnvelopeError, KeyFinder
from admission.keys import PublicKey
from sync.protocol import (
    MAX_SEQ_NO,
    Batch,
    Head,
    HeardOf,
    NeighbourHealth,
    ProtocolError,
    Side,
    decode_ask,
    decode_batch,
    decode_head,
    decode_heard,
)
from sync.protocol import Ask as AskMessage
from sync.room import NO_ROOM
from sync.telling import ANSWER_ENTRIES

MESSAGES_KEPT = 256
"""More messages than this are not kept waiting: what they say is asked for again."""
ASK_AGAIN_S = 1.0
ASK_ABOUT_EVERY_S = 20.0
"""So often a neighbour that told everything of a silent box is asked whether there is more."""
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

    async def take_hearsay(self, box_id: str, entries: Sequence[bytes]) -> None:
        """Add what another box has heard of `box_id`."""


class Ask(Protocol):
    """Sends a question to a neighbour, or `to` another one about it; says whether it went out."""

    def __call__(self, of: str, after: int, to: str = "") -> bool: ...


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

    def is_speaking(self, now_s: float) -> bool:
        """Whether it was heard lately."""
        return self.spoke_s is not None and now_s - self.spoke_s <= SILENT_S

    def is_to_be_asked(self, now_s: float) -> bool:
        """Whether entries are missing and no answer is on its way."""
        is_answered = self.heard >= self.asked_after + ANSWER_ENTRIES
        return self.heard < self.end and (is_answered or now_s - self.asked_s >= ASK_AGAIN_S)


@dataclass(slots=True)
class _Question:
    """What one neighbour is asked about a box that is not heard itself: what follows `after`, last at `asked_s`."""

    after: int = 0
    asked_s: float = float("-inf")
    is_open: bool = True


class Hearer:
    """Takes the neighbours' words in, one after the other.

    `on_ask(box_id, after)` takes a neighbour's question, `on_ask_of(box_id, of, after)` one about another box. Those
    that the settings name stay; `introduce` adds those that the centre names. A box that is not heard, and one that is
    barred, is asked about among the others: what it let in when the centre did not hear it, they may have heard.
    `on_time` takes what time it is at a neighbour that is sure of it.
    """

    def __init__(
        self,
        box_id: str,
        neighbours: Iterable[tuple[str, PublicKey]],
        memory: Memory,
        ask: Ask,
        on_ask: Callable[[str, int], None],
        on_ask_of: Callable[[str, str, int], None],
        now_s: Callable[[], float],
        on_time: Callable[[int], None],
    ) -> None:
        self._box_id = box_id
        self._neighbours = {name: _Neighbour(key) for name, key in neighbours}
        self._is_set = frozenset(self._neighbours)
        self._barred: frozenset[str] = frozenset()
        self._questions: dict[tuple[str, str], _Question] = {}
        self._memory = memory
        self._ask = ask
        self._on_ask = on_ask
        self._on_ask_of = on_ask_of
        self._now_s = now_s
        self._on_time = on_time
        self._messages: asyncio.Queue[tuple[str, Side, bytes]] = asyncio.Queue(MESSAGES_KEPT)
        self._strangers = ""

    @property
    def problems(self) -> list[str]:
        """What is wrong with the conversation, for people."""
        found = [text for known in self._neighbours.values() for text in (known.problem, known.doubt)]
        found += [
            f"box {to} is being asked what it has heard of box {of}: a copy may be admitted meanwhile"
            for of, to in self._open_questions()
        ]
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
        if box_id in self._barred:
            return  # what it said last may be retained
        if box_id not in self._neighbours:
            self._strangers = (
                f"box {box_id} speaks on this site, and neither the settings nor the centre name it"
            )
        elif not self._messages.full():
            self._messages.put_nowait((box_id, side, message))

    async def introduce(self, boxes: Mapping[str, PublicKey], barred: Iterable[str]) -> None:
        """Hear these boxes from now on, and those that the settings name; a barred one is asked about."""
        self._barred = frozenset(barred) - {self._box_id}
        for box_id in self._neighbours.keys() - boxes.keys() - self._is_set:
            del self._neighbours[box_id]
        for box_id, key in boxes.items():
            known = self._neighbours.get(box_id)
            if box_id != self._box_id and box_id not in self._is_set and (known is None or known.key != key):
                self._neighbours[box_id] = await self._recalled(box_id, key)
        self._strangers = ""

    async def _recalled(self, box_id: str, key: PublicKey) -> _Neighbour:
        heard = (await self._memory.heard(box_id)).seq_no
        return _Neighbour(key, heard, heard)

    async def run(self) -> None:
        """Hear until cancelled."""
        for box_id, neighbour in list(self._neighbours.items()):  # others may be introduced meanwhile
            neighbour.heard = neighbour.end = (await self._memory.heard(box_id)).seq_no
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear())
            tasks.create_task(self._ask_again())

    async def _hear(self) -> None:
        while True:
            box_id, side, message = await self._messages.get()
            neighbour = self._neighbours.get(box_id)
            if neighbour is None:
                continue  # barred meanwhile
            try:
                await self._take(box_id, neighbour, side, message)
            except (EnvelopeError, ProtocolError) as error:
                neighbour.doubt = f"box {box_id} cannot be believed: {error}"
                continue
            except NoRoomError:
                neighbour.doubt = NO_ROOM
            else:
                neighbour.doubt = ""
            neighbour.spoke_s = self._now_s()
            self._ask_if_behind(box_id, neighbour)

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(ASK_AGAIN_S)
            for box_id, neighbour in self._neighbours.items():
                self._ask_if_behind(box_id, neighbour)
            self._ask_about_the_silent()

    async def _take(self, box_id: str, neighbour: _Neighbour, side: Side, message: bytes) -> None:
        find_key = neighbour.find_key()
        match side:
            case Side.LEDGER:
                await self._take_batch(box_id, neighbour, decode_batch(message, find_key))
            case Side.HEAD:
                await self._take_head(box_id, neighbour, decode_head(message, find_key))
            case Side.ASK:
                self._take_ask(box_id, decode_ask(message, find_key))
            case Side.HEARD:
                await self._take_hearsay(box_id, decode_heard(message, find_key))
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
        if head.at_ms is not None and neighbour.spoke_s is not None:  # the first may be retained, and old
            self._on_time(head.at_ms)
        neighbour.end = head.seq_no if taken.is_other_history else max(neighbour.end, head.seq_no)
        self._note(box_id, neighbour, taken)

    def _take_ask(self, box_id: str, ask: AskMessage) -> None:
        if ask.of == self._box_id:
            self._on_ask(box_id, ask.after)
        elif ask.to == self._box_id:
            self._on_ask_of(box_id, ask.of, ask.after)

    async def _take_hearsay(self, box_id: str, word: HeardOf) -> None:
        question = self._questions.get((word.of, box_id))
        if word.asker != self._box_id or question is None or word.after != question.after:
            return  # not asked for, or answered already
        await self._memory.take_hearsay(word.of, word.entries)
        question.after, question.is_open = max(question.after, word.until), not word.is_all
        if question.is_open:
            self._ask_about(word.of, box_id, question)

    def _ask_about_the_silent(self) -> None:
        """Ask everyone who speaks about everyone who does not, again and again: their connections may be others."""
        now_s = self._now_s()
        for of, to in self._pairs(now_s):
            question = self._questions.setdefault((of, to), _Question())
            every_s = ASK_AGAIN_S if question.is_open else ASK_ABOUT_EVERY_S
            if now_s - question.asked_s >= every_s:
                self._ask_about(of, to, question)

    def _pairs(self, now_s: float) -> list[tuple[str, str]]:
        """Return who is silent or barred, with each who speaks."""
        speaking = {box_id for box_id, known in self._neighbours.items() if known.is_speaking(now_s)}
        silent = (self._neighbours.keys() | self._barred) - speaking
        return [(of, to) for of in sorted(silent) for to in sorted(speaking)]

    def _open_questions(self) -> list[tuple[str, str]]:
        """Return what was not answered in full yet."""
        unasked = _Question()
        return [pair for pair in self._pairs(self._now_s()) if self._questions.get(pair, unasked).is_open]

    def _ask_about(self, of: str, to: str, question: _Question) -> None:
        if self._ask(of, question.after, to):
            question.asked_s = self._now_s()

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
