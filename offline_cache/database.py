"""The box's one precious SQLite file: opened once, checked, and written by one thread that commits in groups."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from offline_cache.opening import FILE_NAME, StoreFullError, connect_beside, connect_in, connect_to_read, lock

_T = TypeVar("_T")
Work = Callable[[sqlite3.Connection], _T]
"""A whole closure that runs on the database's own thread."""

_Run = Callable[[sqlite3.Connection, list[Work[Any]]], list[Any]]
CHECKPOINT_EVERY_GROUPS = 100
"""The log stays at some megabytes, and its pages are written to the file a hundred commits at a time."""


LONG_LOG_PAGES = 2000


@dataclass(slots=True)
class CommitTally:
    """What was committed since the database was opened: groups, the closures in them, and the time they took."""

    groups: int = 0
    closures: int = 0
    seconds: float = 0.0


class Database:
    """Runs closures on the writer thread; those that wait together share one commit.

    What can be fetched again need not be durable: its commit waits for no disk, and a power cut may undo it, but never
    out of order with what is.

    aiosqlite orders statements, not transactions, so a decision is one closure, run whole. While one group commits
    the next gathers: eight lanes and twenty handhelds cost one fsync between them.

    A second connection on its own thread moves the log into the file, and reads what no decision waits for.
    """

    def __init__(
        self, connection: _Connection, beside: _Connection | None = None, lock_fd: int | None = None
    ) -> None:
        self._connection = connection
        self._beside = beside
        self._lock_fd = lock_fd
        self.commits = CommitTally()
        self.make_room: Callable[[], bool] = lambda: False
        """Asked when the disk is full; True when it may be tried once more."""
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        self._groups_in_log = 0
        self._checkpointing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open, check and migrate the database in `folder`; StoreError says why it cannot be used."""
        lock_fd = lock(folder)
        try:
            connection = await _opened(lambda: connect_in(folder))
        except BaseException:
            os.close(lock_fd)
            raise
        return cls(connection, await _opened(lambda: connect_beside(folder / FILE_NAME)), lock_fd)

    @classmethod
    async def peek(cls, folder: Path) -> Self:
        """Open the database only to read, also beside the agent that writes it; StoreError when there is none."""
        return cls(await _opened(lambda: connect_to_read(folder / FILE_NAME)))

    async def write(self, work: Work[_T], *, durable: bool = True) -> _T:
        """Run `work` in a transaction and return its result once that is committed, and on the disk if `durable`.

        An exception from `work` undoes what it did and nobody else's; a failed commit fails every closure in the group.
        Whoever is cancelled while waiting does not learn the result; the work is done all the same.
        """
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(work, future, durable))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_groups())
        return await future

    async def read(self, work: Work[_T]) -> _T:
        """Run `work`, which must not write, on the writer thread and return its result."""
        return await self._connection.run(work)

    async def read_beside(self, work: Work[_T]) -> _T:
        """Run `work`, which must not write, on one committed state and return its result; no decision waits for it."""
        return await (self._beside or self._connection).run(lambda sql: _run_on_snapshot(sql, work))

    async def close(self) -> None:
        """Finish what was begun and let go of the folder."""
        while self._committing is not None:
            await asyncio.wait((self._committing,))
        if self._checkpointing is not None:
            await asyncio.wait((self._checkpointing,))
        if self._beside is not None:
            await self._beside.close()
        await self._connection.close()
        if self._lock_fd is not None:
            os.close(self._lock_fd)

    async def _commit_groups(self) -> None:
        """Commit what waits: first what someone in front of a gate may wait for, then what can be fetched again."""
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                for durable in (True, False):
                    if group := [one for one in waiting if one.durable is durable]:
                        await self._commit(group, _run_group if durable else _run_lazily)
                        self._note_group()
        finally:
            self._committing = None

    def _note_group(self) -> None:
        self._groups_in_log += 1
        if self._groups_in_log >= CHECKPOINT_EVERY_GROUPS and self._checkpointing is None and self._beside:
            self._checkpointing = asyncio.create_task(self._checkpoint(self._beside))

    async def _checkpoint(self, beside: _Connection) -> None:
        """Move the log into the file; what fails is tried again after as many groups.

        Two checkpoints in a row never run beside commits when nothing was committed between them: the second may
        take the log's new beginning for its end, in SQLite before 3.51.3 (https://www.sqlite.org/wal.html#walresetbug).
        """
        try:
            with contextlib.suppress(sqlite3.OperationalError):
                if await beside.run(_move_log) > LONG_LOG_PAGES:
                    # It never begins anew while commits follow each other closely: the writer holds them for the rest.
                    await self._connection.run(_move_log)
        finally:
            self._groups_in_log = 0
            self._checkpointing = None

    async def _commit(self, group: list[_Waiting], run: _Run) -> None:
        works = [waiting.work for waiting in group]
        began_s = time.monotonic()
        try:
            results = await self._run_with_room(run, works)
        except Exception as error:  # noqa: BLE001 - handed to everyone who waits for this commit
            results = [_Failed(error)] * len(group)
        self.commits.groups += 1
        self.commits.closures += len(group)
        self.commits.seconds += time.monotonic() - began_s
        for waiting, result in zip(group, results, strict=True):
            if waiting.future.done():
                continue
            if isinstance(result, _Failed):
                waiting.future.set_exception(result.error)
            else:
                waiting.future.set_result(result)

    async def _run_with_room(self, run: _Run, works: list[Work[Any]]) -> list[Any]:
        """Run a group; on a full disk once more, if room can be made: what was begun is undone, and nothing is lost."""
        try:
            return await self._connection.run(lambda sql: run(sql, works))
        except sqlite3.OperationalError as error:
            if not _is_full(error):
                raise
        if not self.make_room():
            raise StoreFullError("the disk is full")
        try:
            return await self._connection.run(lambda sql: run(sql, works))
        except sqlite3.OperationalError as error:
            raise StoreFullError("the disk is full") if _is_full(error) else error from error


def _is_full(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL


class _Connection(aiosqlite.Connection):
    """An aiosqlite connection that also runs whole closures on its thread."""

    async def run(self, work: Work[_T]) -> _T:
        result: _T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return result

    async def wait_for_thread(self) -> None:
        """Return when the thread has ended, as it does after a failed opening: it answers to a loop that runs."""
        await asyncio.to_thread(self._thread.join)


async def _opened(connect: Callable[[], sqlite3.Connection]) -> _Connection:
    connection = _Connection(connect, iter_chunk_size=64)
    try:
        await connection
    except BaseException:
        await connection.wait_for_thread()
        raise
    return connection


@dataclass(frozen=True, slots=True)
class _Waiting:
    work: Work[Any]
    future: asyncio.Future[Any]
    durable: bool


class _Failed:
    def __init__(self, error: Exception) -> None:
        self.error = error


def _run_group(sql: sqlite3.Connection, works: list[Work[Any]]) -> list[Any]:
    """Run each closure in its own savepoint, all in one transaction; return their results or what they raised."""
    sql.execute("BEGIN IMMEDIATE")
    try:
        results = [_run_one(sql, work) for work in works]
        sql.execute("COMMIT")
    except BaseException:
        if sql.in_transaction:
            sql.execute("ROLLBACK")
        raise
    return results


def _run_lazily(sql: sqlite3.Connection, works: list[Work[Any]]) -> list[Any]:
    """Run a group whose commit need not reach the disk before it returns."""
    sql.execute("PRAGMA synchronous = NORMAL")
    try:
        return _run_group(sql, works)
    finally:
        sql.execute("PRAGMA synchronous = FULL")


def _run_one(sql: sqlite3.Connection, work: Work[Any]) -> Any:
    sql.execute("SAVEPOINT one")
    try:
        result = work(sql)
    except Exception as error:  # belongs to the one who asked, not to the group
        if not sql.in_transaction:
            raise  # the disk is full or broken: SQLite gave up the whole transaction, and everyone is told
        sql.execute("ROLLBACK TO one")
        result = _Failed(error)
    sql.execute("RELEASE one")
    return result


def _run_on_snapshot(sql: sqlite3.Connection, work: Work[_T]) -> _T:
    sql.execute("BEGIN")
    try:
        return work(sql)
    finally:
        sql.execute("ROLLBACK")


def _move_log(sql: sqlite3.Connection) -> int:
    """Move what is committed from the log into the file; return how many pages the log has."""
    _, pages, _ = sql.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)
