"""What the neighbours did: their uses and closings beside the box's own, and how far each one's ledger is known.

Nothing of it enters this box's ledger. Uses and closings are sets, so entries may come twice and in any order; the
place up to which a neighbour's ledger is known without a gap moves only along its chain of hashes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Protocol

from admission.events import Admitted, Closed, Entry, EpochOpened, EventError, chain, decode_entry, encode
from offline_cache.database import Database
from offline_cache.journal import get_state, set_state
from offline_cache.store import insert_use

_STATE = "neighbour"
_BOXES = "site_boxes"
_USE = (
    "admission_id", "key", "basis", "scope", "lane_id", "quantity", "fare_fen", "risk", "keep_until_s", "companions"
)  # fmt: skip
ENTRIES_AT_ONCE = 10
"""So few are added in one transaction: visitors of this box come between."""


class MisnumberedError(ValueError):
    """An entry says that it is another one than its place in the batch makes it."""


class Batch(Protocol):
    """Consecutive ledger entries of the box `box_id`, and the hash before them."""

    @property
    def box_id(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def previous_hash(self) -> bytes: ...
    @property
    def entries(self) -> Sequence[bytes]: ...


class Head(Protocol):
    """Where the ledger of the box `box_id` stands; it can tell what follows `floor`."""

    @property
    def box_id(self) -> str: ...
    @property
    def floor(self) -> int: ...
    @property
    def seq_no(self) -> int: ...
    @property
    def hash(self) -> bytes: ...
    @property
    def epoch(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """How far a neighbour's ledger is known without a gap; an empty hash or epoch is not known."""

    seq_no: int = 0
    hash: bytes = b""
    epoch: bytes = b""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a message.

    `is_other_history`: the neighbour tells something else than before, and is heard from its beginning again.
    `unreadable`: so many entries are of a kind that this release does not know.
    """

    heard: Heard
    is_other_history: bool = False
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Hearsay:
    """What is known of a box's admissions after some entry: none else up to `until`, and with `is_all` none behind."""

    entries: list[bytes]
    until: int
    is_all: bool


class Neighbours:
    """The box's memory of its neighbours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def heard(self, box_id: str) -> Heard:
        """Return how far the neighbour's ledger is known."""
        return await self._database.read(lambda sql: _read(sql, box_id))

    async def take(self, batch: Batch) -> Taken:
        """Add the uses and closings in `batch`; returns after COMMIT. MisnumberedError, and nothing added.

        The disk may not have them yet when the power goes: then what is known of the neighbour is as short.
        """
        entries = _decode(batch)
        for first in range(0, len(entries), ENTRIES_AT_ONCE):
            piece = entries[first : first + ENTRIES_AT_ONCE]
            await self._database.write(partial(_add_all, batch.box_id, piece), durable=False)
        return await self._database.write(lambda sql: _move_on(sql, batch, entries), durable=False)

    async def take_hearsay(self, box_id: str, entries: Sequence[bytes]) -> None:
        """Add what another box has heard of `box_id`; how far that one's own ledger is known stays as it is."""
        known = [_entry(data) for data in entries]
        for first in range(0, len(known), ENTRIES_AT_ONCE):
            piece = known[first : first + ENTRIES_AT_ONCE]
            await self._database.write(partial(_add_all, box_id, piece), durable=False)

    async def hearsay(self, box_id: str, after: int, limit: int) -> Hearsay:
        """Return up to `limit` admissions of `box_id` behind its entry `after`, each with its closings."""
        return await self._database.read(lambda sql: _hearsay(sql, box_id, after, limit))

    async def kept_boxes(self) -> bytes | None:
        """Return the centre's word that was kept last, if there is one."""
        kept = await self._database.read(lambda sql: get_state(sql, _BOXES))
        return bytes.fromhex(str(kept).partition(" ")[2]) if kept else None

    async def keep_boxes(self, as_of_ms: int, word: bytes) -> bool:
        """Keep the centre's word and return True after COMMIT; False when it is no newer than the one before."""
        return await self._database.write(lambda sql: _keep_boxes(sql, as_of_ms, word))

    async def compare(self, head: Head) -> Taken:
        """Compare what is known with where the neighbour says it stands: it may have forgotten, or begun anew."""
        return await self._database.write(lambda sql: _compare(sql, head), durable=False)


def _keep_boxes(sql: sqlite3.Connection, as_of_ms: int, word: bytes) -> bool:
    kept = get_state(sql, _BOXES)
    if kept and int(str(kept).partition(" ")[0]) >= as_of_ms:
        return False
    set_state(sql, _BOXES, f"{as_of_ms} {word.hex()}")
    return True


def take_any_boxes(sql: sqlite3.Connection) -> None:
    """Let the centre's next word on the site's boxes be newer than the one that is kept, whatever it says."""
    if kept := get_state(sql, _BOXES):
        set_state(sql, _BOXES, f"-1 {str(kept).partition(' ')[2]}")


def _hearsay(sql: sqlite3.Connection, box_id: str, after: int, limit: int) -> Hearsay:
    columns = ", ".join(("seq_no", "at_ms", *_USE))
    query = f"SELECT {columns} FROM uses WHERE box_id = ? AND seq_no > ? ORDER BY seq_no LIMIT ?"  # noqa: S608
    rows = sql.execute(query, (box_id, after, limit)).fetchall()
    is_all = len(rows) < limit
    entries = [encode(entry) for row in rows for entry in _told_again(sql, row)]
    until = max(after, _read(sql, box_id).seq_no) if is_all else rows[-1][0]
    return Hearsay(entries, until, is_all)


def _told_again(sql: sqlite3.Connection, row: tuple[Any, ...]) -> Iterator[Entry]:
    """Yield a use and its closings as the entries that they were; what only the centre needs is left out."""
    seq_no, at_ms, *values = row
    told = dict(zip(_USE, values, strict=True))
    admitted = Admitted(**told, list_version=0, policy_version="")
    yield Entry(seq_no, at_ms, admitted)
    query = "SELECT seq_no, at_ms, outcome FROM closings WHERE admission_id = ?"
    for closed_no, closed_ms, outcome in sql.execute(query, (admitted.admission_id,)):
        yield Entry(closed_no, closed_ms, Closed(admitted.admission_id, outcome))


def _decode(batch: Batch) -> list[Entry | None]:
    """Return the entries of `batch`, None for those that this release cannot read."""
    entries = [_entry(data) for data in batch.entries]
    for seq_no, entry in enumerate(entries, batch.first):
        if entry is not None and entry.seq_no != seq_no:
            raise MisnumberedError(f"entry {seq_no} says that it is {entry.seq_no}")
    return entries


def _entry(data: bytes) -> Entry | None:
    try:
        return decode_entry(data)
    except EventError:
        return None


def _add_all(box_id: str, entries: Sequence[Entry | None], sql: sqlite3.Connection) -> None:
    for entry in entries:
        if entry is not None:
            _add(sql, box_id, entry)


def _move_on(sql: sqlite3.Connection, batch: Batch, entries: Sequence[Entry | None]) -> Taken:
    heard = _read(sql, batch.box_id)
    advanced = _advance(heard, batch, entries)
    _write(sql, batch.box_id, advanced or Heard())
    return Taken(advanced or Heard(), is_other_history=advanced is None, unreadable=entries.count(None))


def _advance(heard: Heard, batch: Batch, entries: Sequence[Entry | None]) -> Heard | None:
    """Return how far the ledger is known after `batch`; None when the two contradict each other."""
    last = batch.first + len(entries) - 1
    if not batch.first - 1 <= heard.seq_no <= last:
        return heard  # all known, or beyond a gap that is yet to be filled
    hashes = list(accumulate(batch.entries, chain, initial=batch.previous_hash))
    if heard.hash and hashes[heard.seq_no - batch.first + 1] != heard.hash:
        return None
    return Heard(last, hashes[-1], _last_epoch(entries) or heard.epoch)


def _last_epoch(entries: Iterable[Entry | None]) -> bytes:
    epochs = [entry.event.epoch for entry in entries if entry and isinstance(entry.event, EpochOpened)]
    return epochs[-1] if epochs else b""


def _compare(sql: sqlite3.Connection, head: Head) -> Taken:
    heard = _read(sql, head.box_id)
    if _is_other_history(heard, head):
        _write(sql, head.box_id, Heard())
        return Taken(Heard(), is_other_history=True)
    if heard.seq_no < head.floor:
        # It was away for longer than ledgers are kept: the centre has all that, and counts it in its lists.
        heard = Heard(head.floor)
        _write(sql, head.box_id, heard)
    return Taken(heard)


def _is_other_history(heard: Heard, head: Head) -> bool:
    """Whether the neighbour's ledger is not the one heard so far: its disk was restored, replaced or copied."""
    if head.seq_no == heard.seq_no:
        return bool(heard.hash) and head.hash != heard.hash
    # A late word is as low, and mostly of the same epoch. Of an earlier one it costs a second reading, no more.
    return head.seq_no < heard.seq_no and bool(heard.epoch) and head.epoch != heard.epoch


def _add(sql: sqlite3.Connection, box_id: str, entry: Entry) -> None:
    """Add what the entry says to the sets, if it says something new about this neighbour's own admissions."""
    match entry.event:
        case Admitted() as admitted:
            if _owner(sql, admitted.admission_id) is None:
                insert_use(sql, box_id, entry.seq_no, entry.at_ms, admitted)
        case Closed(admission_id, outcome):
            # Without its use a closing says nothing: the use comes first in the ledger, and with it the closing again.
            if _owner(sql, admission_id) == box_id:
                sql.execute(
                    "INSERT OR IGNORE INTO closings VALUES (?, ?, ?, ?, ?)",
                    (admission_id, outcome, box_id, entry.seq_no, entry.at_ms),
                )
        case _:
            pass


def _owner(sql: sqlite3.Connection, admission_id: bytes) -> str | None:
    row = sql.execute("SELECT box_id FROM uses WHERE admission_id = ?", (admission_id,)).fetchone()
    return row[0] if row else None


def _read(sql: sqlite3.Connection, box_id: str) -> Heard:
    row = get_state(sql, f"{_STATE}/{box_id}")
    if row is None:
        return Heard()
    seq_no, hash_, epoch = json.loads(str(row))
    return Heard(seq_no, bytes.fromhex(hash_), bytes.fromhex(epoch))


def _write(sql: sqlite3.Connection, box_id: str, heard: Heard) -> None:
    if heard != _read(sql, box_id):
        set_state(sql, f"{_STATE}/{box_id}", json.dumps([heard.seq_no, heard.hash.hex(), heard.epoch.hex()]))
