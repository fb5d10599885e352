"""The centre's database: whole closures, each on its own thread and in its own transaction.

Everything that writes runs on one thread, one closure after the other. What only reads may run beside it, on another
threads and each on one snapshot: a list of half a million tickets must not hold up the boxes' receipts.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event

from central.rights import raise_floor
from central.schema import store_facts
from central.sql import insert_new

_T = TypeVar("_T")
_BUSY_TIMEOUT_MS = 10_000
_READS = "reads"
_READERS = 3
"""While one builds a list, others answer and tell the boxes of refunds."""


class Store:
    """Runs closures on the database; `open_store` makes one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading = engine.execution_options(**{_READS: True})
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._reader = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """Return what `work` returned, after COMMIT; nothing of it is stored when it raises."""
        return await self._on(self._writer, self._engine, work)

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """Return what `work` returned, which sees one committed state and writes nothing."""
        return await self._on(self._reader, self._reading, work)

    def close(self) -> None:
        """Finish the closures under way and close the database."""
        self._writer.shutdown()
        self._reader.shutdown()
        self._engine.dispose()

    @staticmethod
    async def _on(thread: ThreadPoolExecutor, engine: Engine, work: Callable[[Connection], _T]) -> _T:
        def transaction() -> _T:
            with engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(thread, transaction)


def open_store(path: Path) -> Store:
    """Return the store in the SQLite file `path`, made or migrated to the newest schema; it blocks."""
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        migrate(connection)
        insert_new(connection, store_facts, [{"name": "store_id", "value": secrets.token_hex(8)}])
        raise_floor(connection, time.time_ns() // 1000)
    return Store(engine)


def known_revisions() -> set[str]:
    """Return the schemas that this release can read, by alembic's names."""
    return {one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()}


def migrate(connection: Connection) -> None:
    """Bring the database behind `connection` to the newest schema."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "central:migrations")
    return config


def _configure(connection: Any, _record: object) -> None:
    """Prepare a new SQLite connection; transactions are begun by `_begin`, DDL and reads included."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")


def _begin(connection: Connection) -> None:
    """Begin a writer's transaction with the write lock, which a reader's snapshot could not take later."""
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
