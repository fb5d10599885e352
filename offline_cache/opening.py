"""Opens the box's database file: locked for one agent, checked, and brought to the newest schema."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from importlib import resources
from pathlib import Path

from admission.answers import NoRoomError

FILE_NAME = "box.db"
LOCK_NAME = "lock"
LOG_NAME = f"{FILE_NAME}-wal"
MADE_NAME = "box.made"
"""Stands beside the file from its making on: an empty memory never takes the place of one that was lost."""
LOG_KEPT_BYTES = 4 << 20
"""What is kept of a longer log when it begins anew: overwriting costs less than growing."""


class StoreError(Exception):
    """The box's memory cannot be used."""


class StateFolderInUseError(StoreError):
    """Another agent runs on this state folder."""


class StoreDamagedError(StoreError):
    """The database file does not pass SQLite's check; `offline_cache.salvage` saves what can be read."""


class StoreMissingError(StoreError):
    """There was a database here, and it is gone."""


class StoreFullError(StoreError, NoRoomError):
    """The disk is full: nothing more can be recorded until there is room."""


class NewerSchemaError(StoreError):
    """The database was written by a newer release."""


def lock(folder: Path) -> int:
    """Take the folder for this process and return the lock's file descriptor; StoreError when it cannot be had.

    The kernel lets go of it when the process ends, however it ends.
    """
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


def connect_in(folder: Path) -> sqlite3.Connection:
    """Open the database in a box's folder as `connect` does; StoreMissingError where there was one."""
    path, made = folder / FILE_NAME, folder / MADE_NAME
    if made.exists() and not path.exists():
        raise StoreMissingError(
            f"{path}: was here and is gone; put it back, or remove {made} to begin with an empty memory"
        )
    sql = connect(path)
    made.touch()
    return sql


def connect(path: Path) -> sqlite3.Connection:
    """Open the database at `path` for its one writer, made or migrated; StoreError says why it cannot be used."""
    try:
        sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path}: {error}") from error
    try:
        _refuse_newer(sql, path)  # before anything of it is changed
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = FULL")
        sql.execute("PRAGMA foreign_keys = ON")
        sql.execute("PRAGMA wal_autocheckpoint = 0")  # `Database` says when
        sql.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}")
        _check(sql, path)
        _migrate(sql)
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


def connect_beside(path: Path) -> sqlite3.Connection:
    """Open the database a second time, beside its writer: to read what is committed, and to checkpoint."""
    sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    sql.execute("PRAGMA synchronous = FULL")
    sql.execute("PRAGMA wal_autocheckpoint = 0")
    return sql


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the database only to read; StoreError when there is none."""
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


def _refuse_newer(sql: sqlite3.Connection, path: Path) -> None:
    version, known = _version(sql), len(_migrations())
    if version > known:
        raise NewerSchemaError(f"{path}: schema {version} is newer than this release's {known}")


def _version(sql: sqlite3.Connection) -> int:
    return int(sql.execute("PRAGMA user_version").fetchone()[0])


def _migrate(sql: sqlite3.Connection) -> None:
    scripts, version = _migrations(), _version(sql)
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
