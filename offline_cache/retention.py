"""What the box may forget, a little at a time: a visitor may be waiting behind it."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left

from offline_cache.database import Database
from offline_cache.journal import read_confirmed
from offline_cache.showings import forget_showings
from offline_cache.space import Room

LEDGER_KEPT_MS = 7 * 24 * 3600 * 1000
USES_KEPT_S = 2 * 24 * 3600
"""How long a use outlives its right: lists still carry rights that expired this recently."""
DIARY_ROWS_KEPT = 500_000
ROWS_AT_ONCE = 500
"""Of the ledger and the diary, whose rows lie side by side in the file."""
USES_AT_ONCE = 50
"""A use lies in five places, none of them near that of another one."""


async def prune(database: Database, now_ms: int, *, room: Room = Room.AMPLE) -> int:
    """Forget some of what need not be kept; return how many rows, 0 when nothing is left to forget.

    Where room is short the whole diary goes: its pages are the ledger's then. What a power cut brings back is forgotten
    once more.
    """
    diary_kept = DIARY_ROWS_KEPT if room is Room.AMPLE else 0
    return await database.write(lambda sql: _prune(sql, now_ms, diary_kept), durable=False)


def _prune(sql: sqlite3.Connection, now_ms: int, diary_kept: int) -> int:
    return (
        _prune_ledger(sql, now_ms)
        + _prune_diary(sql, diary_kept)
        + _prune_uses(sql, now_ms)
        + forget_showings(sql, now_ms, USES_AT_ONCE)
    )


def _prune_ledger(sql: sqlite3.Connection, now_ms: int) -> int:
    """Forget the oldest entries; whatever comes before an old one is as old, even if its clock ran ahead.

    So the newest old one is looked for by halves: a week's entries are too many to go through with a visitor waiting.
    """
    oldest = sql.execute("SELECT seq_no, at_ms FROM ledger ORDER BY seq_no LIMIT 1").fetchone()
    kept_from_ms = now_ms - LEDGER_KEPT_MS
    if oldest is None or kept_from_ms <= oldest[1] <= now_ms:
        return 0

    def is_kept(seq_no: int) -> bool:
        row = sql.execute("SELECT at_ms FROM ledger WHERE seq_no = ?", (seq_no,)).fetchone()
        return row is not None and row[0] >= kept_from_ms

    # The last confirmed entry stays: the next batch names its hash.
    confirmed = range(oldest[0], read_confirmed(sql).seq_no)
    until = confirmed.start + min(bisect_left(confirmed, True, key=is_kept), ROWS_AT_ONCE)
    return sql.execute("DELETE FROM ledger WHERE seq_no < ?", (until,)).rowcount


def _prune_diary(sql: sqlite3.Connection, rows_kept: int) -> int:
    return sql.execute(
        "DELETE FROM diary WHERE number IN (SELECT number FROM diary"
        " WHERE number <= (SELECT MAX(number) FROM diary) - ? ORDER BY number LIMIT ?)",
        (rows_kept, ROWS_AT_ONCE),
    ).rowcount


def _prune_uses(sql: sqlite3.Connection, now_ms: int) -> int:
    expired = sql.execute(
        "SELECT admission_id FROM uses WHERE keep_until_s < ? LIMIT ?",
        (now_ms // 1000 - USES_KEPT_S, USES_AT_ONCE),
    ).fetchall()
    sql.executemany("DELETE FROM closings WHERE admission_id = ?", expired)
    sql.executemany("DELETE FROM uses WHERE admission_id = ?", expired)
    return len(expired)
