"""The box's one precious SQLite file: opened once, checked, and written by one thread that commits in groups."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

_T = TypeVar("_T")
Work = Callable[[sqlite3.Connection], _T]
"""A whole closure that runs on the database's own thread."""

FILE_NAME = "box.db"
LOCK_NAME = "lock"


class StoreError(Exception):
    """The box's memory cannot be used."""


class StateFolderInUseError(StoreError):
    """Another agent runs on this state folder."""


class StoreDamagedError(StoreError):
    """The database file does not pass SQLite's check."""


class NewerSchemaError(StoreError):
    """The database was written by a newer release."""


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
    """

    def __init__(self, connection: _Connection, lock_fd: int | None) -> None:
        self._connection = connection
        self._lock_fd = lock_fd
        self.commits = CommitTally()
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open, check and migrate the database in `folder`; StoreError says why it cannot be used."""
        lock_fd = _lock(folder)
        connection = _Connection(lambda: _connect(folder / FILE_NAME), iter_chunk_size=64)
        try:
            await connection
        except BaseException:
            await connection.wait_for_thread()
            os.close(lock_fd)
            raise
        return cls(connection, lock_fd)

    @classmethod
    async def peek(cls, folder: Path) -> Self:
        """Open the database only to read, also beside the agent that writes it; StoreError when there is none."""
        connection = _Connection(lambda: _connect_to_read(folder / FILE_NAME), iter_chunk_size=64)
        try:
            await connection
        except BaseException:
            await connection.wait_for_thread()
            raise
        return cls(connection, None)

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

    async def close(self) -> None:
        """Finish what was begun and let go of the folder."""
        while self._committing is not None:
            await asyncio.wait((self._committing,))
        await self._connection.close()
        if self._lock_fd is not None:
            os.close(self._lock_fd)

    async def _commit_groups(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._commit(group)
        finally:
            self._committing = None

    async def _commit(self, group: list[_Waiting]) -> None:
        works = [waiting.work for waiting in group]
        began_s = time.monotonic()
        run = _run_group if any(waiting.durable for waiting in group) else _run_lazily
        try:
            results = await self._connection.run(lambda sql: run(sql, works))
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


class _Connection(aiosqlite.Connection):
    """An aiosqlite connection that also runs whole closures on its thread."""

    async def run(self, work: Work[_T]) -> _T:
        result: _T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return result

    async def wait_for_thread(self) -> None:
        """Return when the thread has ended, as it does after a failed opening: it answers to a loop that runs."""
        await asyncio.to_thread(self._thread.join)


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


def _lock(folder: Path) -> int:
    """Take the folder for this process; the kernel lets go of it when the process ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock_fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be used: {error}") from error
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock_fd)
        raise StateFolderInUseError(f"{folder}: another agent runs on this state folder") from error
    return lock_fd


def _connect(path: Path) -> sqlite3.Connection:
    try:
        sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path}: {error}") from error
    try:
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = FULL")
        sql.execute("PRAGMA foreign_keys = ON")
        _check(sql, path)
        _migrate(sql, path)
    except sqlite3.OperationalError as error:  # no space, no right to write: the file itself may be sound
        sql.close()
        raise StoreError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        sql.close()
        raise StoreDamagedError(f"{path}: {error}") from error
    except BaseException:
        sql.close()
        raise
    return sql


def _connect_to_read(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        sql = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path}: {error}") from error
    try:
        sql.execute("SELECT 1 FROM state").fetchone()
    except sqlite3.DatabaseError as error:
        sql.close()
        raise StoreError(f"{path}: {error}") from error
    return sql


def _check(sql: sqlite3.Connection, path: Path) -> None:
    findings = [row[0] for row in sql.execute("PRAGMA quick_check")]
    if findings != ["ok"]:
        raise StoreDamagedError(f"{path}: {'; '.join(findings[:5])}")


def _migrate(sql: sqlite3.Connection, path: Path) -> None:
    scripts = _migrations()
    version = sql.execute("PRAGMA user_version").fetchone()[0]
    if version > len(scripts):
        raise NewerSchemaError(f"{path}: schema {version} is newer than this release's {len(scripts)}")
    for number, script in enumerate(scripts[version:], start=version + 1):
        sql.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def _migrations() -> list[str]:
    """Return the scripts 001, 002, … in their order."""
    folder = resources.files("offline_cache") / "migrations"
    scripts = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda i: i.name)
    for number, script in enumerate(scripts, start=1):
        if not re.match(rf"{number:03d}_", script.name):
            raise StoreError(f"migration {script.name} is out of order")
    return [script.read_text("utf-8") for script in scripts]
