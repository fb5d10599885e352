"""How much SQLite does for something: the same number on every machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count

from offline_cache.database import Database


@contextmanager
def counted_steps(sql: sqlite3.Connection) -> Iterator[Iterator[int]]:
    """Count the instructions that a connection runs; the next number is how many."""
    steps = count()
    sql.set_progress_handler(lambda: next(steps) < 0, 1)
    try:
        yield steps
    finally:
        sql.set_progress_handler(None, 1)


async def steps_of(database: Database, work: Awaitable[object]) -> int:
    """Return how many instructions the database's connections run until `work` is done."""
    steps = count()
    await _watch(database, lambda: next(steps) < 0)
    await work
    await _watch(database, None)
    return next(steps)


async def _watch(database: Database, handler: Callable[[], bool] | None) -> None:
    def work(sql: sqlite3.Connection) -> None:
        sql.set_progress_handler(handler, 1)

    await database.read(work)
    await database.read_beside(work)
