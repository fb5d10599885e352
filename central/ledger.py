"""The boxes' ledgers as raw rows: gapless, bound by their hashes, kept byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, Row, select

from admission.events import NO_HASH, EpochOpened, EventError, chain
from central.entries import entry_at
from central.schema import ledger, set_aside
from central.sql import insert_many, insert_new
from sync.protocol import Batch, Stream

_COLUMNS = ("box_id", "seq_no", "site_id", "epoch", "received_ms", "entry", "hash")


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a box's ledger as it is stored."""

    seq_no: int
    hash: bytes
    epoch: bytes


class ForkError(ValueError):
    """A box tells another history than the one it told before; `seq_no` is where they part."""

    def __init__(self, seq_no: int) -> None:
        super().__init__(f"another history from entry {seq_no} on")
        self.seq_no = seq_no


def head_of(connection: Connection, box_id: str) -> Head:
    """Return the newest stored entry of the box; before its first there is number 0."""
    query = select(ledger.c.seq_no, ledger.c.hash, ledger.c.epoch).where(ledger.c.box_id == box_id)
    row = connection.execute(query.order_by(ledger.c.seq_no.desc()).limit(1)).first()
    return Head(*row) if row else Head(0, NO_HASH, b"")


def store_entries(connection: Connection, box: Row[Any], batch: Batch, now_ms: int) -> None:
    """Store the entries of `batch`, received now, beyond the box's head, if it goes on from there without a gap.

    ForkError when the batch contradicts what is stored. What cannot be read is stored and chained like all others,
    and also set aside where people see it.
    """
    head = head_of(connection, box.box_id)
    known = head.seq_no - batch.first + 1
    if known < 0 or not batch.entries:
        return
    hashes = list(accumulate(batch.entries, chain, initial=batch.previous_hash))
    # Each hash covers all entries before it: where the two histories meet last, one comparison decides.
    met = min(known, len(batch.entries))
    if hashes[met] != _hash_at(connection, head, box.box_id, batch.first + met - 1):
        raise ForkError(_first_difference(connection, box.box_id, batch, hashes))
    if known < len(batch.entries):
        _insert(connection, box, head, batch.entries[known:], hashes[known + 1 :], now_ms)


def _insert(
    connection: Connection,
    box: Row[Any],
    head: Head,
    entries: list[bytes],
    hashes: list[bytes],
    now_ms: int,
) -> None:
    epoch = head.epoch
    rows: list[tuple[Any, ...]] = []
    unread: list[dict[str, Any]] = []
    box_id, site_id = box.box_id, box.site_id
    for seq_no, (data, entry_hash) in enumerate(zip(entries, hashes, strict=True), head.seq_no + 1):
        try:
            event = entry_at(data, seq_no).event
            epoch = event.epoch if isinstance(event, EpochOpened) else epoch
        except EventError as error:
            unread.append(aside(box_id, Stream.LEDGER, seq_no, data, error))
        rows.append((box_id, seq_no, site_id, epoch, now_ms, data, entry_hash))
    insert_many(connection, ledger, _COLUMNS, rows)
    insert_new(connection, set_aside, unread)


def aside(box_id: str, stream: Stream, number: int, data: bytes, error: EventError) -> dict[str, Any]:
    """Return the row for a signed entry that cannot be read."""
    return {"box_id": box_id, "stream": stream, "number": number, "problem": str(error), "entry": data}


def _hash_at(connection: Connection, head: Head, box_id: str, seq_no: int) -> bytes:
    """Return the hash stored at `seq_no`, which is not beyond the head; before the first entry it is NO_HASH."""
    if seq_no == head.seq_no:
        return head.hash
    query = select(ledger.c.hash).where(ledger.c.box_id == box_id, ledger.c.seq_no == seq_no)
    return connection.scalar(query) or NO_HASH


def _first_difference(connection: Connection, box_id: str, batch: Batch, hashes: list[bytes]) -> int:
    """Return the first number at which the stored hash is another one, looking from the batch's predecessor on."""
    before = batch.first - 1
    query = select(ledger.c.seq_no, ledger.c.hash).where(
        ledger.c.box_id == box_id, ledger.c.seq_no.between(before, before + len(batch.entries))
    )
    stored = connection.execute(query)
    return min((seq_no for seq_no, found in stored if found != hashes[seq_no - before]), default=before)
