"""A store's copy, and the way back: what is in it, what is refused, and that nothing is lost over it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from central.backup import BackupError, back_up, restore
from central.schema import store_facts
from central.store import Store, open_store

NOW = datetime(2026, 6, 20, 9, 30, 15, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a centre has its store."""
    return tmp_path / "centre.db"


async def note(store: Store, name: str) -> None:
    """Something that the centre learns."""
    row = {"name": name, "value": "noted"}
    await store.run(lambda connection: connection.execute(insert(store_facts), row))


def files(folder: Path, pattern: str) -> list[str]:
    """The names of what is there."""
    return sorted(path.name for path in folder.glob(pattern))


async def notes(path: Path) -> list[str]:
    """What a centre knows when it starts with the store."""

    def work(connection: Connection) -> list[str]:
        query = select(store_facts.c.name).where(store_facts.c.value == "noted")
        return list(connection.scalars(query.order_by(store_facts.c.name)))

    store = open_store(path)
    try:
        return await store.read(work)
    finally:
        store.close()


async def test_a_backup_has_all_that_was_committed_while_the_centre_runs(path: Path, tmp_path: Path) -> None:
    """Also what is still in the log; it is one file that only its owner reads, and replaces the one before."""
    backup = tmp_path / "backup.db"
    store = open_store(path)
    for name in ("one", "two"):
        await note(store, name)
        back_up(path, backup)
    assert path.with_name("centre.db-wal").stat().st_size > 0
    store.close()
    assert files(tmp_path, "backup*") == ["backup.db"]
    assert backup.stat().st_mode & 0o777 == 0o600
    assert await notes(backup) == ["one", "two"]


async def test_what_was_learned_since_is_gone_and_kept_beside(path: Path, tmp_path: Path) -> None:
    """A killed centre leaves a log: it belongs to the store before, and must not be read into the one that comes."""
    store = open_store(path)
    await note(store, "before")
    back_up(path, tmp_path / "backup.db")
    await note(store, "since")
    leave_as_killed(store, path)
    (kept,) = restore(path, tmp_path / "backup.db", NOW)
    assert kept.name == "centre.db.before-20260620T093015"
    assert await notes(path) == ["before"]
    assert await notes(kept) == ["before", "since"]


def leave_as_killed(store: Store, path: Path) -> None:
    """End the store as SIGKILL does: with its log, whose last words are nowhere else."""
    names = [path.with_name(path.name + ending) for ending in ("", "-wal")]
    contents = [name.read_bytes() for name in names]
    store.close()
    for name, content in zip(names, contents, strict=True):
        name.write_bytes(content)


async def test_a_damaged_store_gives_way(path: Path, tmp_path: Path) -> None:
    """It is kept as it is, with its log, for whoever can read it."""
    store = open_store(path)
    await note(store, "before")
    back_up(path, tmp_path / "backup.db")
    store.close()
    store = open_store(path)
    await note(store, "since")
    leave_as_killed(store, path)
    make_garbage(path)
    kept = restore(path, tmp_path / "backup.db", NOW)
    endings = {found.name.removeprefix("centre.db.before-20260620T093015") for found in kept}
    assert {"", "-wal"} <= endings
    assert await notes(path) == ["before"]


async def test_a_running_centre_keeps_its_store(path: Path, tmp_path: Path) -> None:
    """It would go on writing into a file that nobody sees any more."""
    store = open_store(path)
    await note(store, "one")
    back_up(path, tmp_path / "backup.db")
    await note(store, "two")
    with pytest.raises(BackupError, match="stop the centre"):
        restore(path, tmp_path / "backup.db", NOW)
    await note(store, "three")
    store.close()
    assert await notes(path) == ["one", "three", "two"]
    assert files(tmp_path, "*.part") == []


def make_missing(path: Path) -> None:
    """Nothing there."""
    path.unlink()


def make_garbage(path: Path) -> None:
    """Not a database."""
    path.write_bytes(b"not a database" * 1000)


def make_another(path: Path) -> None:
    """A database of something else."""
    path.unlink()
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("CREATE TABLE other (name TEXT)")


def make_newer(path: Path) -> None:
    """As a later release would leave it."""
    with closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("UPDATE alembic_version SET version_num = '9999'")


def damage_pages(path: Path) -> None:
    """A bad sector beyond the first pages."""
    content = bytearray(path.read_bytes())
    content[4096 * 5 : 4096 * 9] = b"\xa5" * 4096 * 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (make_missing, "no such file"),
        (make_garbage, "no store"),
        (make_another, "no store"),
        (make_newer, "later release"),
        (damage_pages, "damaged|malformed|no store"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_what_is_no_sound_backup_replaces_nothing(
    path: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    """The store stays, and the error says why."""
    store = open_store(path)
    await note(store, "here")
    back_up(path, tmp_path / "backup.db")
    store.close()
    spoil(tmp_path / "backup.db")
    with pytest.raises(BackupError, match=words):
        restore(path, tmp_path / "backup.db", NOW)
    assert await notes(path) == ["here"]
    assert files(tmp_path, "*.part") == []


async def test_a_store_that_is_lost_is_made_from_the_backup(path: Path, tmp_path: Path) -> None:
    """On a new machine there is none before."""
    store = open_store(path)
    await note(store, "one")
    back_up(path, tmp_path / "backup.db")
    store.close()
    elsewhere = tmp_path / "new" / "centre.db"
    elsewhere.parent.mkdir()
    assert restore(elsewhere, tmp_path / "backup.db", NOW) == []
    assert await notes(elsewhere) == ["one"]


async def test_a_backup_that_cannot_be_written_says_so(path: Path, tmp_path: Path) -> None:
    """And leaves no half of one."""
    open_store(path).close()
    with pytest.raises(BackupError, match="could not be written"):
        back_up(path, tmp_path / "nowhere" / "backup.db")


def is_in_the_way(place: Path) -> None:
    """A folder where a file is to go."""
    place.mkdir()
    (place / "kept").touch()


async def test_what_cannot_be_moved_says_so(path: Path, tmp_path: Path) -> None:
    """Both ways; the store stays where it is, and no copy is left over."""
    store = open_store(path)
    await note(store, "here")
    back_up(path, tmp_path / "backup.db")
    store.close()
    is_in_the_way(tmp_path / "taken.db")
    with pytest.raises(BackupError, match=r"could not be moved to .*taken\.db: Is a directory"):
        back_up(path, tmp_path / "taken.db")
    is_in_the_way(tmp_path / f"centre.db.before-{NOW:%Y%m%dT%H%M%S}")
    with pytest.raises(BackupError, match="could not be moved"):
        restore(path, tmp_path / "backup.db", NOW)
    assert await notes(path) == ["here"]
    assert files(tmp_path, "*.part") == []
