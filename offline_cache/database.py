"""The box's one precious SQLite file: opened once, checked, and written by one thread that commits in groups."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from offline_cache.opening import (
    FILE_NAME,
    LOG_NAME,
    StoreFullError,
    connect_beside,
    connect_in,
    connect_to_read,
    lock,
)

_T = TypeVar("_T")
Work = Callable[[sqlite3.Connection], _T]
"""A whole closure that runs on the database's own thread."""

CHECKPOINT_EVERY_GROUPS = 100
"""The log's pages are written to the file a hundred commits at a time, or sooner when it gets long."""
LONG_LOG_PAGES = 4000
_LONG_LOG_BYTES = LONG_LOG_PAGES * 4096


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
        self,
        connection: _Connection,
        beside: _Connection | None = None,
        lock_fd: int | None = None,
        log: Path | None = None,
    ) -> None:
        self._log = log
        self._connection = connection
        self._beside = beside
        self._lock_fd = lock_fd
        self.commits = CommitTally()
        self.make_room: Callable[[], bool] = lambda: False
        """Asked when the disk is full; True when it may be tried once more."""
        self._waiting: deque[_Waiting] = deque()
        self._is_at_work = False
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
        beside = await _opened(lambda: connect_beside(folder / FILE_NAME))
        return cls(connection, beside, lock_fd, folder / LOG_NAME)

    @classmethod
    async def peek(cls, folder: Path) -> Self:
        """Open the database only to read, also beside the agent that writes it; StoreError when there is none."""
        return cls(await _opened(lambda: connect_to_read(folder / FILE_NAME)))

    async def write(self, work: Work[_T], *, durable: bool = True) -> _T:
        """Run `work` in a transaction and return its result once that is committed, and on the disk if `durable`.

        An exception from `work` undoes what it did and nobody else's; a failed commit fails every closure in the group.
        `work` may be run more than once before its commit, so all that it changes is in the database.
        Whoever is cancelled while waiting does not learn the result; the work is done all the same.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._waiting.append(_Waiting(work, future, durable))
        if not self._is_at_work:
            self._is_at_work = True
            self._set_to_work(loop)  # it begins once this thread waits: who asks until then comes along
        return await future

    async def read(self, work: Work[_T]) -> _T:
        """Run `work`, which must not write, on the writer thread and return its result."""
        return await self._connection.run(work)

    async def read_beside(self, work: Work[_T]) -> _T:
        """Run `work`, which must not write, on one committed state and return its result; no decision waits for it."""
        return await (self._beside or self._connection).run(lambda sql: _run_on_snapshot(sql, work))

    async def close(self) -> None:
        """Finish what was begun and let go of the folder."""
        while self._is_at_work:
            await self._connection.run(_nothing)
        if self._checkpointing is not None:
            await asyncio.wait((self._checkpointing,))
        if self._beside is not None:
            await self._beside.close()
        await self._connection.close()
        if self._lock_fd is not None:
            os.close(self._lock_fd)

    def _set_to_work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._connection.start(lambda sql: self._commit_what_waits(sql, loop))
        except ValueError as closed:
            self._is_at_work = False
            group = list(self._waiting)
            self._waiting.clear()
            _tell(group, [_Failed(closed)] * len(group))

    def _commit_what_waits(self, sql: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        """On the writer thread: first what someone in front of a gate may wait for, then what can be fetched again.

        Each group goes back to the event loop by one call that settles everyone in it.
        """
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        durable, lazy = ([one for one in waiting if one.durable is kind] for kind in (True, False))
        done = _committed(sql, durable or lazy)
        if durable and lazy:
            if done.is_full:
                self._waiting.extendleft(reversed(lazy))
            else:
                loop.call_soon_threadsafe(self._settle, done)
                done = _committed(sql, lazy)
        loop.call_soon_threadsafe(self._settle_and_go_on, done, loop)

    def _settle_and_go_on(self, done: _Done, loop: asyncio.AbstractEventLoop) -> None:
        self._settle(done)
        self._is_at_work = bool(self._waiting)
        if self._waiting:
            self._set_to_work(loop)

    def _settle(self, done: _Done) -> None:
        """Tell everyone in a group what became of it; on a full disk let it be tried again, if room can be made."""
        if done.is_full and self.make_room():
            self._waiting.extendleft(reversed(done.group))
            return
        _tell(done.group, done.results)
        self.commits.groups += 1
        self.commits.closures += len(done.group)
        self.commits.seconds += done.seconds
        self._note_group()

    def _note_group(self) -> None:
        self._groups_in_log += 1
        if self._checkpointing is None and self._beside is not None and self._is_log_long():
            self._checkpointing = asyncio.create_task(self._checkpoint(self._beside))

    def _is_log_long(self) -> bool:
        """Whether the log has many commits, or large ones: its file gets shorter whenever it begins anew."""
        many = self._groups_in_log >= CHECKPOINT_EVERY_GROUPS
        return many or (self._log is not None and self._log.stat().st_size > _LONG_LOG_BYTES)

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


def _is_full(error: BaseException) -> bool:
    # What Python's own sqlite3 raises, text that is no UTF-8 for one, has no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


class _Connection(aiosqlite.Connection):
    """An aiosqlite connection that also runs whole closures on its thread."""

    async def run(self, work: Work[_T]) -> _T:
        result: _T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return result

    def start(self, work: Work[None]) -> None:
        """Let the thread run `work`, for which nobody waits; ValueError when the connection is closed."""
        if not self._running:
            raise ValueError("the database is closed")
        self._tx.put_nowait((None, partial(work, self._conn)))

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


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of a group: a result or a failure for each, and whether the disk had no room for it."""

    group: list[_Waiting]
    results: list[Any]
    seconds: float
    is_full: bool


def _tell(group: list[_Waiting], results: list[Any]) -> None:
    for waiting, result in zip(group, results, strict=True):
        if waiting.future.done():
            continue
        if isinstance(result, _Failed):
            waiting.future.set_exception(result.error)
        else:
            waiting.future.set_result(result)


def _committed(sql: sqlite3.Connection, group: list[_Waiting]) -> _Done:
    """Run and commit a group that is durable or not as a whole; a failed commit fails everyone in it."""
    run = _run_group if group[0].durable else _run_lazily
    began_s = time.monotonic()
    is_full = False
    try:
        results = run(sql, [waiting.work for waiting in group])
    except BaseException as error:  # noqa: BLE001 - handed to everyone who waits for this commit
        is_full = _is_full(error)
        results = [_Failed(StoreFullError("the disk is full") if is_full else error)] * len(group)
    return _Done(group, results, time.monotonic() - began_s, is_full)


def _run_group(sql: sqlite3.Connection, works: list[Work[Any]]) -> list[Any]:
    """Run all closures in one transaction; return their results or what they raised.

    Hardly any ever raises, so they run as they are, and only when one did again, each in its own savepoint.
    """
    try:
        return _run_in_transaction(sql, works, _run_as_it_is)
    except _RaisedError:
        return _run_in_transaction(sql, works, _run_in_savepoint)


def _run_lazily(sql: sqlite3.Connection, works: list[Work[Any]]) -> list[Any]:
    """Run a group whose commit need not reach the disk before it returns."""
    sql.execute("PRAGMA synchronous = NORMAL")
    try:
        return _run_group(sql, works)
    finally:
        sql.execute("PRAGMA synchronous = FULL")


def _run_in_transaction(
    sql: sqlite3.Connection, works: list[Work[Any]], run: Callable[[sqlite3.Connection, Work[Any]], Any]
) -> list[Any]:
    sql.execute("BEGIN IMMEDIATE")
    try:
        results = [run(sql, work) for work in works]
        sql.execute("COMMIT")
    except BaseException:
        if sql.in_transaction:
            sql.execute("ROLLBACK")
        raise
    return results


class _RaisedError(Exception):
    """A closure raised, and not the disk or the commit."""


def _run_as_it_is(sql: sqlite3.Connection, work: Work[Any]) -> Any:
    try:
        return work(sql)
    except Exception as error:
        if _is_full(error):
            raise
        raise _RaisedError from error


def _run_in_savepoint(sql: sqlite3.Connection, work: Work[Any]) -> Any:
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


def _nothing(_sql: sqlite3.Connection) -> None:
    """Run behind what was begun before it."""


def _move_log(sql: sqlite3.Connection) -> int:
    """Move what is committed from the log into the file; return how many pages the log has."""
    _, pages, _ = sql.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)
