"""What the box may forget, a little at a time: a visitor may be waiting behind it."""

from __future__ import annotations

import sqlite3

from offline_cache.database import Database
from offline_cache.journal import read_confirmed
from offline_cache.showings import forget_showings
from offline_cache.space import Room

LEDGER_KEPT_MS = 7 * 24 * 3600 * 1000
USES_KEPT_S = 2 * 24 * 3600
"""How long a use outlives its right: lists still carry rights that expired this recently."""
DIARY_ROWS_KEPT = 500_000
ROWS_AT_ONCE = 1_000


async def prune(database: Database, now_ms: int, *, room: Room = Room.AMPLE) -> int:
    """Forget some of what need not be kept; return how many rows, 0 when nothing is left to forget.

    Where room is short the whole diary goes: its pages are the ledger's then.
    """
    diary_kept = DIARY_ROWS_KEPT if room is Room.AMPLE else 0
    return await database.write(lambda sql: _prune(sql, now_ms, diary_kept))


def _prune(sql: sqlite3.Connection, now_ms: int, diary_kept: int) -> int:
    return (
        _prune_ledger(sql, now_ms)
        + _prune_diary(sql, diary_kept)
        + _prune_uses(sql, now_ms)
        + forget_showings(sql, now_ms, ROWS_AT_ONCE)
    )


def _prune_ledger(sql: sqlite3.Connection, now_ms: int) -> int:
    # The last confirmed entry stays: the next batch names its hash.
    return sql.execute(
        "DELETE FROM ledger WHERE seq_no IN"
        " (SELECT seq_no FROM ledger WHERE seq_no < ? AND at_ms < ? ORDER BY seq_no LIMIT ?)",
        (read_confirmed(sql).seq_no, now_ms - LEDGER_KEPT_MS, ROWS_AT_ONCE),
    ).rowcount


def _prune_diary(sql: sqlite3.Connection, rows_kept: int) -> int:
    return sql.execute(
        "DELETE FROM diary WHERE number IN (SELECT number FROM diary"
        " WHERE number <= (SELECT MAX(number) FROM diary) - ? ORDER BY number LIMIT ?)",
        (rows_kept, ROWS_AT_ONCE),
    ).rowcount


def _prune_uses(sql: sqlite3.Connection, now_ms: int) -> int:
    expired = sql.execute(
        "SELECT admission_id FROM uses WHERE keep_until_s < ? LIMIT ?",
        (now_ms // 1000 - USES_KEPT_S, ROWS_AT_ONCE),
    ).fetchall()
    sql.executemany("DELETE FROM closings WHERE admission_id = ?", expired)
    sql.executemany("DELETE FROM uses WHERE admission_id = ?", expired)
    return len(expired)
