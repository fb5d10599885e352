"""A copy of the centre's store that is whole, and the way back from one.

SQLite's file cannot be copied as it is while the centre runs, and a log left over from the store before would be read
into the one that took its place.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from central.store import known_revisions

_ENDINGS = ("", "-wal", "-shm")


class BackupError(Exception):
    """What could not be copied or restored, and why; what was there is as it was."""


def back_up(store: Path, backup: Path) -> None:
    """Copy the store, which may be in use, to the file `backup`, readable by its owner alone.

    BackupError when it cannot be read, or not be written; a backup that was there before is replaced only at the end.
    """
    with closing(_reading(store)) as source:
        part = _copied(source, backup)
    with _thrown_away(part):
        _move(part, backup)


def restore(store: Path, backup: Path, now: datetime) -> list[Path]:
    """Put what is in `backup` in the store's place, and return the files of the one before, which are kept beside it.

    BackupError when `backup` is no sound store of this release or an earlier one, or the centre runs.
    """
    with closing(_reading(backup)) as source:
        part = _copied(source, store)
    with _thrown_away(part):
        _end(store)
        kept = _put_aside(store, f"{store.name}.before-{now:%Y%m%dT%H%M%S}")
    _move(part, store)
    return kept


@contextmanager
def _thrown_away(part: Path) -> Iterator[None]:
    """Remove the copy when what it was made for cannot be done."""
    try:
        yield
    except BackupError:
        part.unlink(missing_ok=True)
        raise


def _put_aside(store: Path, name: str) -> list[Path]:
    kept = [
        _move(path, store.with_name(name + ending))
        for ending in reversed(_ENDINGS)  # the store itself last: no log must stay behind without it
        if (path := store.with_name(store.name + ending)).exists()
    ]
    return sorted(kept)


def _reading(path: Path) -> sqlite3.Connection:
    """Open a store only to read, and make sure that it is one."""
    if not path.is_file():
        raise BackupError(f"{path}: there is no such file")
    sql = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        (revision,) = sql.execute("SELECT version_num FROM alembic_version").fetchone()
        sql.execute("SELECT value FROM store_facts WHERE name = 'store_id'").fetchone()
    except (sqlite3.DatabaseError, TypeError) as error:
        sql.close()
        raise BackupError(f"{path}: it is no store of a centre: {error}") from error
    if revision not in known_revisions():
        sql.close()
        raise BackupError(f"{path}: its schema {revision} is of a later release")
    return sql


def _copied(source: sqlite3.Connection, path: Path) -> Path:
    """Return a sound copy beside `path`, of one moment, in one file, and on the disk."""
    part = path.with_name(f"{path.name}.part")
    with _thrown_away(part):
        try:
            part.unlink(missing_ok=True)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
                found = [row[0] for row in copy.execute("PRAGMA quick_check")]
            _sync(part)
        except (OSError, sqlite3.DatabaseError) as error:
            raise BackupError(f"{part}: it could not be written: {error}") from error
        if found != ["ok"]:
            raise BackupError(f"the store is damaged: {'; '.join(found[:3])}")
    return part


def _end(store: Path) -> None:
    """Move the log into the store, which only works while nobody has it open; what is damaged is left as it is."""
    try:
        _reading(store).close()  # of what is no store to SQLite it would throw the log away
    except BackupError:
        return
    with closing(sqlite3.connect(store, timeout=1)) as sql:
        try:
            sql.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise BackupError(f"{store}: it is in use; stop the centre first") from error


def _move(path: Path, place: Path) -> Path:
    try:
        path.replace(place)
        _sync(place.parent)
    except OSError as error:
        raise BackupError(f"{path}: it could not be moved to {place}: {error.strerror}") from error
    return place


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
