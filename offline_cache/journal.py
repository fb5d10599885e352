"""Ledger and diary: what is appended, and what the centre has confirmed."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from admission.events import NO_HASH, Entry, LedgerEvent, Refusal, chain, encode
from admission.reasons import Reason
from offline_cache.database import Database


@dataclass(frozen=True, slots=True)
class Tail:
    """Consecutive ledger entries: `entries[0]` has number `first` and follows an entry with `previous_hash`."""

    first: int
    previous_hash: bytes
    entries: list[bytes]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the ledger: its last entry's number, hash and epoch; what follows `floor` can still be read."""

    floor: int
    seq_no: int
    hash: bytes
    epoch: bytes


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What the centre has confirmed: the ledger up to `seq_no` and the diary up to `diary_number`."""

    store_id: str
    seq_no: int
    diary_number: int


def append(sql: sqlite3.Connection, at_ms: int, event: LedgerEvent) -> Entry:
    """Append `event` to the ledger within the caller's transaction; return it with its number."""
    seq_no, previous_hash = head(sql)
    entry = Entry(seq_no + 1, at_ms, event)
    data = encode(entry)
    sql.execute(
        "INSERT INTO ledger VALUES (?, ?, ?, ?)", (entry.seq_no, at_ms, data, chain(previous_hash, data))
    )
    return entry


def head(sql: sqlite3.Connection) -> tuple[int, bytes]:
    """Return the number and hash of the last ledger entry; (0, NO_HASH) before the first."""
    row = sql.execute("SELECT seq_no, hash FROM ledger ORDER BY seq_no DESC LIMIT 1").fetchone()
    return row or (0, NO_HASH)


def note_refusal(
    sql: sqlite3.Connection,
    at_ms: int,
    lane_id: str,
    reason: Reason,
    key: bytes,
    detail: str,
    *,
    is_kept: bool = True,
) -> Refusal:
    """Write a refusal to the diary within the caller's transaction; return it with its number.

    One that is not kept has its number all the same, and no other will have it.
    """
    number = sql.execute("INSERT INTO diary (entry) VALUES (x'')").lastrowid or 0
    refusal = Refusal(number, at_ms, lane_id, reason, key, detail)
    if not is_kept:
        sql.execute("DELETE FROM diary WHERE number = ?", (number,))
        return refusal
    sql.execute("UPDATE diary SET entry = ? WHERE number = ?", (encode(refusal), number))
    return refusal


class Outbox:
    """The ledger's and the diary's unconfirmed tails, and the centre's word on them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def confirmed(self) -> Confirmed:
        """Return what the centre has confirmed so far."""
        return await self._database.read_beside(read_confirmed)

    async def backlog(self) -> int:
        """Return how many ledger entries the centre has not confirmed."""
        return await self._database.read_beside(lambda sql: head(sql)[0] - read_confirmed(sql).seq_no)

    async def diary_backlog(self) -> int:
        """Return how many diary rows the centre has not confirmed; some of them may be gone."""
        return await self._database.read_beside(_diary_backlog)

    async def ledger_after(self, seq_no: int, limit: int) -> Tail:
        """Return up to `limit` ledger entries that follow `seq_no`."""
        return await self._database.read_beside(lambda sql: _ledger_after(sql, seq_no, limit))

    async def ledger_head(self) -> Head:
        """Return where the ledger stands."""
        return await self._database.read_beside(_ledger_head)

    async def diary_after(self, number: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` diary rows with a number above `number`."""
        query = "SELECT number, entry FROM diary WHERE number > ? ORDER BY number LIMIT ?"
        return await self._database.read_beside(lambda sql: sql.execute(query, (number, limit)).fetchall())

    async def confirm_ledger(self, store_id: str, seq_no: int, hash_: bytes) -> bool:
        """Take the centre's word that it holds the ledger up to `seq_no`; False when it holds another ledger.

        A lower number than before reopens the tail: that centre was restored from a backup. What a power cut takes
        of this is sent once more.
        """
        return await self._database.write(
            lambda sql: _confirm_ledger(sql, store_id, seq_no, hash_), durable=False
        )

    async def holds(self, seq_no: int, hash_: bytes) -> bool:
        """Return whether the ledger has this hash at that number."""
        return await self._database.read_beside(lambda sql: _hash_at(sql, seq_no) == hash_)

    async def confirm_diary(self, number: int) -> None:
        """Forget the diary up to `number`, which the centre holds."""
        await self._database.write(lambda sql: _confirm_diary(sql, number), durable=False)


def get_state(sql: sqlite3.Connection, name: str) -> str | int | bytes | None:
    """Return the value kept under `name`, or None."""
    row = sql.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def set_state(sql: sqlite3.Connection, name: str, value: str | bytes | int) -> None:
    """Keep `value` under `name`, within the caller's transaction."""
    sql.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))


def read_confirmed(sql: sqlite3.Connection) -> Confirmed:
    """Return what the centre has confirmed, within the caller's transaction."""
    return Confirmed(
        str(get_state(sql, "store_id") or ""),
        int(get_state(sql, "confirmed_seq_no") or 0),
        int(get_state(sql, "confirmed_diary_number") or 0),
    )


def _diary_backlog(sql: sqlite3.Connection) -> int:
    last = sql.execute("SELECT seq FROM sqlite_sequence WHERE name = 'diary'").fetchone()
    return max(0, (last[0] if last else 0) - read_confirmed(sql).diary_number)


def _ledger_head(sql: sqlite3.Connection) -> Head:
    first = sql.execute("SELECT MIN(seq_no) FROM ledger").fetchone()[0]
    epoch = get_state(sql, "epoch")
    # The first entry that is kept can be followed, but its own place in the chain cannot be shown any more.
    return Head(first if first and first > 1 else 0, *head(sql), epoch if isinstance(epoch, bytes) else b"")


def _ledger_after(sql: sqlite3.Connection, seq_no: int, limit: int) -> Tail:
    rows = sql.execute(
        "SELECT entry FROM ledger WHERE seq_no > ? ORDER BY seq_no LIMIT ?", (seq_no, limit)
    ).fetchall()
    return Tail(seq_no + 1, _hash_at(sql, seq_no) or NO_HASH, [entry for (entry,) in rows])


def _hash_at(sql: sqlite3.Connection, seq_no: int) -> bytes | None:
    """Return the ledger's hash at `seq_no`; None when that is not kept, or what followed it is not."""
    if seq_no == 0:
        first = sql.execute("SELECT MIN(seq_no) FROM ledger").fetchone()[0]
        return NO_HASH if first in (None, 1) else None
    row = sql.execute("SELECT hash FROM ledger WHERE seq_no = ?", (seq_no,)).fetchone()
    return row[0] if row else None


def _confirm_ledger(sql: sqlite3.Connection, store_id: str, seq_no: int, hash_: bytes) -> bool:
    if _hash_at(sql, seq_no) != hash_:
        return False
    set_state(sql, "store_id", store_id)
    set_state(sql, "confirmed_seq_no", seq_no)
    return True


def _confirm_diary(sql: sqlite3.Connection, number: int) -> None:
    sql.execute("DELETE FROM diary WHERE number <= ?", (number,))
    set_state(sql, "confirmed_diary_number", number)
