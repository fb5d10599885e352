"""What the box may forget, a little at a time: a visitor may be waiting behind it."""

from __future__ import annotations

import sqlite3

from offline_cache.database import Database
from offline_cache.journal import read_confirmed
from offline_cache.showings import forget_showings

LEDGER_KEPT_MS = 7 * 24 * 3600 * 1000
USES_KEPT_S = 2 * 24 * 3600
"""How long a use outlives its right: lists still carry rights that expired this recently."""
DIARY_ROWS_KEPT = 500_000
ROWS_AT_ONCE = 1_000


async def prune(database: Database, now_ms: int) -> int:
    """Forget some of what need not be kept; return how many rows, 0 when nothing is left to forget."""
    return await database.write(lambda sql: _prune(sql, now_ms))


def _prune(sql: sqlite3.Connection, now_ms: int) -> int:
    return (
        _prune_ledger(sql, now_ms)
        + _prune_diary(sql)
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


def _prune_diary(sql: sqlite3.Connection) -> int:
    return sql.execute(
        "DELETE FROM diary WHERE number IN (SELECT number FROM diary"
        " WHERE number <= (SELECT MAX(number) FROM diary) - ? ORDER BY number LIMIT ?)",
        (DIARY_ROWS_KEPT, ROWS_AT_ONCE),
    ).rowcount


def _prune_uses(sql: sqlite3.Connection, now_ms: int) -> int:
    expired = sql.execute(
        "SELECT admission_id FROM uses WHERE keep_until_s < ? LIMIT ?",
        (now_ms // 1000 - USES_KEPT_S, ROWS_AT_ONCE),
    ).fetchall()
    sql.executemany("DELETE FROM closings WHERE admission_id = ?", expired)
    sql.executemany("DELETE FROM uses WHERE admission_id = ?", expired)
    return len(expired)
