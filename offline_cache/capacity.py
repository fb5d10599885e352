"""The box's share of the site's capacity: as the centre last told it, and what was let in on it since.

What went through this box's lanes is kept beside the share, changed with every use in the use's own transaction: to
count it anew at each decision would take longer the longer the centre is away.
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from typing import Protocol

import msgspec

from admission.capacity import CapacityFacts, CapacityLimits, Headcount, Movement, Share
from admission.events import ShareTaken
from admission.tickets import Basis, Outcome, is_held
from offline_cache.database import Database
from offline_cache.journal import append, get_state, set_state

_STATE = "capacity"
_MISTIMED = 500
"""So many uses in a row may be of an earlier time, by a wrong clock, and others behind them of a later one."""


class Word(Protocol):
    """What the centre says of the capacity: the limits, how many are in, and this box's share."""

    @property
    def limits(self) -> CapacityLimits: ...
    @property
    def count(self) -> Headcount: ...
    @property
    def share(self) -> Share: ...


class _Kept(msgspec.Struct, frozen=True):
    """The last word, and what this box's lanes saw since the share began, on the local day `day_start_ms`."""

    limits: CapacityLimits
    count: Headcount
    share: Share
    day_start_ms: int
    moved: Movement


class CapacityMemory:
    """Takes the centre's words in; the last share holds."""

    def __init__(self, database: Database, box_id: str) -> None:
        self._database = database
        self._box_id = box_id

    async def take(self, word: Word, at_ms: int) -> None:
        """Keep the word; a share that is new is in the ledger, where the centre reads that it holds now.

        A word older than the one before changes nothing. Returns after COMMIT.
        """
        await self._database.write(lambda sql: _take(sql, self._box_id, word, at_ms))


def capacity_facts(sql: sqlite3.Connection, box_id: str, day_start_ms: int) -> CapacityFacts | None:
    """Return what is known of the capacity on the local day that began then; None when the centre never told of any."""
    kept = _read(sql)
    if kept is None:
        return None
    kept = _on_day(sql, box_id, kept, day_start_ms)
    is_new_day = kept.day_start_ms > kept.share.day_start_ms
    count = Headcount(0, 0) if is_new_day else kept.count
    return CapacityFacts(kept.limits, count, kept.share.on(kept.day_start_ms).left(kept.moved))


def note_use(sql: sqlite3.Connection, box_id: str, day_start_ms: int, basis: Basis, persons: int) -> None:
    """Count a use of this box that is about to be stored, within the caller's transaction."""
    kept = _read(sql)
    if kept is not None:
        kept = _on_day(sql, box_id, kept, day_start_ms)
        _write(sql, _moved(kept, _movement(basis, persons)))


def note_closing(sql: sqlite3.Connection, admission_id: bytes, before: frozenset[Outcome]) -> None:
    """Count what a closing changed: a use that was given back, or is held after all. The closing is stored already."""
    kept = _read(sql)
    if kept is None:
        return
    use = sql.execute(
        "SELECT seq_no, at_ms, basis, quantity + companions FROM uses WHERE admission_id = ?", (admission_id,)
    ).fetchone()
    if use is None or use[0] <= kept.share.after_seq_no or use[1] < kept.day_start_ms:
        return  # the centre's own count has it
    change = is_held(_outcomes(sql, admission_id)) - is_held(before)
    if change:
        seen = _movement(Basis(use[2]), use[3])
        _write(sql, _moved(kept, Movement(seen.entered * change, seen.left * change)))


def _take(sql: sqlite3.Connection, box_id: str, word: Word, at_ms: int) -> None:
    kept = _read(sql)
    if kept is not None and word.share.number < kept.share.number:
        return
    if kept is not None and word.share.number == kept.share.number:
        _write(sql, msgspec.structs.replace(kept, limits=word.limits, count=word.count))
        return
    append(sql, at_ms, ShareTaken(**asdict(word.share)))
    since_ms = max(word.share.day_start_ms, kept.day_start_ms if kept else 0)
    moved = _recount(sql, box_id, word.share.after_seq_no, since_ms)
    _write(sql, _Kept(word.limits, word.count, word.share, since_ms, moved))


def _on_day(sql: sqlite3.Connection, box_id: str, kept: _Kept, day_start_ms: int) -> _Kept:
    """Return what is kept as it is on a local day; a clock that goes back begins no day anew."""
    if day_start_ms <= kept.day_start_ms:
        return kept
    moved = _recount(sql, box_id, kept.share.after_seq_no, day_start_ms)
    return msgspec.structs.replace(kept, day_start_ms=day_start_ms, moved=moved)


def _recount(sql: sqlite3.Connection, box_id: str, after_seq_no: int, since_ms: int) -> Movement:
    """Count the uses behind an entry that were at or after a time, from the newest back: a week's are too many."""
    rows = sql.execute(
        "SELECT admission_id, basis, quantity + companions, at_ms FROM uses WHERE box_id = ? AND seq_no > ?"
        " ORDER BY seq_no DESC",
        (box_id, after_seq_no),
    )
    seen: list[Movement] = []
    earlier = 0
    for admission_id, basis, persons, at_ms in rows:
        earlier = earlier + 1 if at_ms < since_ms else 0
        if earlier > _MISTIMED:
            break
        if not earlier and is_held(_outcomes(sql, admission_id)):
            seen.append(_movement(Basis(basis), persons))
    return Movement(sum(one.entered for one in seen), sum(one.left for one in seen))


def _movement(basis: Basis, persons: int) -> Movement:
    """Return what one use changes: whoever comes back is in again and was counted today already."""
    match basis:
        case Basis.EXIT:
            return Movement(left=1)
        case Basis.REENTRY:
            return Movement(left=-1)
        case _:
            return Movement(entered=persons)


def _moved(kept: _Kept, seen: Movement) -> _Kept:
    moved = Movement(kept.moved.entered + seen.entered, kept.moved.left + seen.left)
    return msgspec.structs.replace(kept, moved=moved)


def _outcomes(sql: sqlite3.Connection, admission_id: bytes) -> frozenset[Outcome]:
    rows = sql.execute("SELECT outcome FROM closings WHERE admission_id = ?", (admission_id,)).fetchall()
    return frozenset(Outcome(outcome) for (outcome,) in rows)


def _read(sql: sqlite3.Connection) -> _Kept | None:
    row = get_state(sql, _STATE)
    return msgspec.json.decode(str(row), type=_Kept) if row is not None else None


def _write(sql: sqlite3.Connection, kept: _Kept) -> None:
    set_state(sql, _STATE, msgspec.json.encode(kept).decode())
