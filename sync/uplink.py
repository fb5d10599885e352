"""Outbox to centre: entries are released by the centre's receipt alone, never by a broker's acknowledgement."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from admission.answers import NoRoomError
from admission.keys import SigningKey
from sync.protocol import Batch, BoxTopics, ProtocolError, Receipt, Stream, decode_receipt, encode_batch
from sync.room import NO_ROOM

BATCH_ENTRIES = 200
WINDOW_ENTRIES = 32 * BATCH_ENTRIES
"""How far sending may run ahead of the last receipt."""
BUSY_S = 0.1
PAUSE_S = 0.004
"""While visitors come, so long is left between two batches: making one keeps a decision waiting."""
RESEND_S = 3.0
"""When receipts do not get on for this long, whatever was sent is taken as lost and sent again."""


class Tail(Protocol):
    """Consecutive ledger entries and the hash before them."""

    @property
    def first(self) -> int: ...
    @property
    def previous_hash(self) -> bytes: ...
    @property
    def entries(self) -> list[bytes]: ...


class Confirmed(Protocol):
    """What the centre has confirmed."""

    @property
    def seq_no(self) -> int: ...
    @property
    def diary_number(self) -> int: ...


class Outbox(Protocol):
    """The box's unconfirmed ledger and diary."""

    async def confirmed(self) -> Confirmed:
        """Return what the centre has confirmed so far."""

    async def ledger_after(self, seq_no: int, limit: int) -> Tail:
        """Return up to `limit` entries that follow `seq_no`."""

    async def diary_after(self, number: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` diary rows after `number`."""

    async def confirm_ledger(self, store_id: str, seq_no: int, hash_: bytes) -> bool:
        """Take the centre's word; False when it holds another ledger than this box."""

    async def holds(self, seq_no: int, hash_: bytes) -> bool:
        """Return whether the ledger has this hash at that number."""

    async def confirm_diary(self, number: int) -> None:
        """Forget the diary up to `number`."""


class Uplink:
    """Sends what is not confirmed, in order, with a bounded window; after a loss it starts from the last receipt.

    `publish(topic, payload)` says whether the link took the message. The diary goes when no ledger entry waits.
    """

    def __init__(
        self, outbox: Outbox, publish: Callable[[str, bytes], bool], topics: BoxTopics, key: SigningKey
    ) -> None:
        self._outbox = outbox
        self._publish = publish
        self._topics = topics
        self._key = key
        self._receipts: deque[Receipt] = deque(maxlen=64)
        self._unkept: Receipt | None = None
        self._awake = asyncio.Event()
        self._busy_until_s = 0.0
        self._confirmed = self._sent = 0
        self._diary_confirmed = self._diary_sent = 0
        self._ledger_due_s = self._diary_due_s = 0.0
        self.problem = ""

    def wake(self) -> None:
        """Something was committed: see whether it can be sent."""
        self._busy_until_s = time.monotonic() + BUSY_S
        self._awake.set()

    def restart(self) -> None:
        """The link came up again: what was on its way may be lost."""
        self._take_back()
        self._awake.set()

    def receive(self, payload: bytes) -> None:
        """Take a receipt from the centre."""
        try:
            self._receipts.append(decode_receipt(payload))
        except ProtocolError as error:
            self.problem = f"a receipt cannot be read: {error}"
        self._awake.set()

    async def run(self) -> None:
        """Send and take receipts until cancelled."""
        confirmed = await self._outbox.confirmed()
        self._confirmed = self._sent = confirmed.seq_no
        self._diary_confirmed = self._diary_sent = confirmed.diary_number
        while True:
            self._awake.clear()
            if self._unkept is not None and not self._receipts:
                self._receipts.append(self._unkept)
            while self._receipts:
                await self._take_in(self._receipts.popleft())
            self._look_at_the_clock()
            await self._send_ledger()
            await self._send_diary()
            await self._wait()

    def _look_at_the_clock(self) -> None:
        """Take what was sent as lost when its receipt is overdue: each stream by itself, however busy the other is."""
        now_s = asyncio.get_running_loop().time()
        if self._sent <= self._confirmed or now_s >= self._ledger_due_s:
            self._sent = self._confirmed
            self._ledger_due_s = now_s + RESEND_S
        if self._diary_sent <= self._diary_confirmed or now_s >= self._diary_due_s:
            self._diary_sent = self._diary_confirmed
            self._diary_due_s = now_s + RESEND_S

    def _take_back(self) -> None:
        self._sent = self._confirmed
        self._diary_sent = self._diary_confirmed

    async def _wait(self) -> None:
        """Wait for something to do, at most until a receipt is overdue."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(min(self._ledger_due_s, self._diary_due_s)):
                await self._awake.wait()

    async def _take_in(self, receipt: Receipt) -> None:
        """Go on from what the centre has, also while there is no room to keep that: it is kept later."""
        problem, self._unkept = "", None
        try:
            is_ours = await self._outbox.confirm_ledger(
                receipt.store_id, receipt.seq_no, bytes.fromhex(receipt.hash)
            )
        except NoRoomError:
            is_ours = await self._outbox.holds(receipt.seq_no, bytes.fromhex(receipt.hash))
            problem, self._unkept = NO_ROOM, receipt
        if not is_ours:
            self.problem = (
                f"the centre holds another ledger of this box at {receipt.seq_no}; nothing is released"
            )
            return
        self.problem = problem
        if receipt.seq_no < self._confirmed:
            self._sent = receipt.seq_no  # the centre lost what it had confirmed: the tail is open again
        elif receipt.seq_no > self._confirmed:
            self._ledger_due_s = asyncio.get_running_loop().time() + RESEND_S
        self._confirmed = receipt.seq_no
        self._sent = max(self._sent, self._confirmed)
        if receipt.diary_number > self._diary_confirmed:
            with contextlib.suppress(NoRoomError):
                await self._outbox.confirm_diary(receipt.diary_number)
            self._diary_confirmed = receipt.diary_number
            self._diary_sent = max(self._diary_sent, self._diary_confirmed)

    async def _send_ledger(self) -> None:
        while self._sent - self._confirmed < WINDOW_ENTRIES:
            tail = await self._outbox.ledger_after(self._sent, BATCH_ENTRIES)
            if not tail.entries or not self._send(
                Stream.LEDGER, tail.first, tail.previous_hash, tail.entries
            ):
                return
            self._sent = tail.first + len(tail.entries) - 1
            if len(tail.entries) == BATCH_ENTRIES and time.monotonic() < self._busy_until_s:
                await asyncio.sleep(PAUSE_S)

    async def _send_diary(self) -> None:
        if self._sent > self._confirmed or self._diary_sent > self._diary_confirmed:
            return
        rows = await self._outbox.diary_after(self._diary_sent, BATCH_ENTRIES)
        if rows and self._send(Stream.DIARY, rows[0][0], b"", [entry for _, entry in rows]):
            self._diary_sent = rows[-1][0]

    def _send(self, stream: Stream, first: int, previous_hash: bytes, entries: list[bytes]) -> bool:
        batch = Batch(
            stream=stream,
            box_id=self._topics.box_id,
            first=first,
            previous_hash=previous_hash,
            entries=entries,
        )
        return self._publish(self._topics.up(stream), encode_batch(batch, self._key))
