"""What can be read of a damaged box database, put into a sound one: nothing is made up, and what is lost is told.

The damaged file is kept beside it. The ledger goes on where the chain of its hashes still holds, so that the centre
takes what follows for what it is; entries behind a gap stay in the damaged file, for people.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from admission.events import NO_HASH, chain
from offline_cache.journal import read_confirmed
from offline_cache.opening import FILE_NAME, StoreDamagedError, StoreError, connect, lock
from offline_cache.overlay import ask_again

_LOGS = ("-wal", "-shm")


@dataclass(slots=True)
class Salvaged:
    """What was saved: rows by table, the ledger from `ledger_first` to `ledger_last`, and what could not be read.

    `behind_gap` counts ledger entries that were read and cannot follow the last one that was saved. `needs_new_id`:
    the centre has confirmed more than that, or lacks entries from before it, so that this ledger cannot go on.
    """

    damaged: Path
    rows: dict[str, int] = field(default_factory=dict)
    ledger_first: int = 0
    ledger_last: int = 0
    behind_gap: int = 0
    needs_new_id: bool = False
    damage: list[str] = field(default_factory=list)


def salvage(folder: Path) -> Salvaged:
    """Replace the damaged database in `folder` by what can be read of it; StoreError when there is nothing to mend.

    The agent must not run. A salvage that is interrupted is begun again: the damaged file is moved away last.
    """
    lock_fd = lock(folder)
    try:
        path = folder / FILE_NAME
        if not path.exists():
            raise StoreError(f"{path}: there is nothing to salvage")
        with suppress(StoreDamagedError):
            connect(path).close()
            raise StoreError(f"{path}: passes the check; nothing was changed")
        return _rebuild(path)
    finally:
        os.close(lock_fd)


def _rebuild(path: Path) -> Salvaged:
    fresh = path.with_name(f"{path.name}.salvaged")
    for name in (fresh, *(fresh.with_name(fresh.name + log) for log in _LOGS)):
        name.unlink(missing_ok=True)
    found = Salvaged(path.with_name(f"{path.name}.damaged-{int(time.time())}"))
    damaged = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with closing(damaged) as source, closing(connect(fresh)) as target:
        target.execute("BEGIN IMMEDIATE")
        _save_ledger(source, target, found)
        for table in _other_tables(target):
            found.rows[table] = sum(1 for _ in _save_rows(source, target, table, found))
        _keep_diary_numbers(source, target, found)
        ask_again(target)
        found.needs_new_id = not found.ledger_first - 1 <= read_confirmed(target).seq_no <= found.ledger_last
        target.execute("COMMIT")
    _swap(path, fresh, found.damaged)
    return found


def _save_ledger(source: sqlite3.Connection, target: sqlite3.Connection, found: Salvaged) -> None:
    """Save the entries from the first on as long as each follows the one before."""
    read: set[tuple[Any, ...]] = set(_rows(source, "ledger", found))
    rows = sorted(read)
    previous: tuple[int, bytes] | None = None
    for place, (seq_no, at_ms, entry, hash_) in enumerate(rows):
        # The first that is kept is believed as it stands, unless it is the first of all: what it follows is forgotten.
        before = NO_HASH if seq_no == 1 else (previous[1] if previous else None)
        follows = previous is None or seq_no == previous[0] + 1
        if not follows or (before is not None and chain(before, entry) != hash_):
            found.behind_gap = len(rows) - place
            break
        target.execute("INSERT INTO ledger VALUES (?, ?, ?, ?)", (seq_no, at_ms, entry, hash_))
        previous = (seq_no, hash_)
        found.ledger_first = found.ledger_first or seq_no
        found.ledger_last = seq_no
    found.rows["ledger"] = found.ledger_last - found.ledger_first + 1 if found.ledger_last else 0


def _other_tables(target: sqlite3.Connection) -> list[str]:
    """Return the tables of this release beside the ledger."""
    names = target.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    return [name for (name,) in names if name != "ledger" and not name.startswith("sqlite_")]


def _keep_diary_numbers(source: sqlite3.Connection, target: sqlite3.Connection, found: Salvaged) -> None:
    """Go on behind every number that a refusal had, whether it is still in the diary or not."""
    given = [0, *(number for name, number in _rows(source, "sqlite_sequence", found) if name == "diary")]
    last = max(*given, read_confirmed(target).diary_number)
    target.execute("INSERT INTO diary VALUES (?, x'') ON CONFLICT DO NOTHING", (last,))
    target.execute("DELETE FROM diary WHERE entry = x''")


def _save_rows(
    source: sqlite3.Connection, target: sqlite3.Connection, table: str, found: Salvaged
) -> Iterator[None]:
    """Save the columns that the source has; those of later releases begin as in a migration."""
    columns = [name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")]
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    for row in _rows(source, table, found):
        with suppress(sqlite3.IntegrityError):  # read twice, or no row of this table
            target.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)  # noqa: S608 - the schema's
            yield


def _rows(source: sqlite3.Connection, table: str, found: Salvaged) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table that can be read, from both its ends; some may come twice."""
    for order in ("ASC", "DESC"):
        try:
            yield from source.execute(f"SELECT * FROM {table} ORDER BY 1 {order}")  # noqa: S608 - see above
        except sqlite3.OperationalError:
            return  # of an earlier schema: there is no such table
        except sqlite3.DatabaseError as error:
            found.damage.append(f"{table}: {error}")
        else:
            return


def _swap(path: Path, fresh: Path, damaged: Path) -> None:
    """Put the fresh file in the damaged one's place; the damaged one keeps its log."""
    for log in _LOGS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + log).rename(damaged.with_name(damaged.name + log))
    path.rename(damaged)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
