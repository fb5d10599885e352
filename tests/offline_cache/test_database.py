"""The precious file: who may open it, what makes it refuse, and how closures share a commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from offline_cache.database import CHECKPOINT_EVERY_GROUPS, Database, Work
from offline_cache.opening import (
    FILE_NAME,
    LOG_NAME,
    MADE_NAME,
    NewerSchemaError,
    StateFolderInUseError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreMissingError,
)
from tests.admission.makers import NOW_MS, TICKET_CODE
from tests.offline_cache.box import KEPT, opened_box, restore_kept
from tests.support.waiting import until


def keep(name: str) -> Work[str]:
    """A closure that writes one row and returns its name."""

    def work(sql: sqlite3.Connection) -> str:
        sql.execute("INSERT INTO state VALUES (?, 1)", (name,))
        return name

    return work


def fail(name: str) -> Work[str]:
    """A closure that writes a row and then changes its mind."""

    def work(sql: sqlite3.Connection) -> str:
        keep(name)(sql)
        raise LookupError(name)

    return work


class Busy:
    """Keeps the writer's thread busy until it may go on."""

    def __init__(self) -> None:
        self._has_begun = threading.Event()
        self.may_go_on = threading.Event()

    def then(self, work: Work[str]) -> Work[str]:
        """A closure that takes as long as it is told to, after it did `work`."""

        def slow(sql: sqlite3.Connection) -> str:
            result = work(sql)
            self._has_begun.set()
            self.may_go_on.wait(10)
            return result

        return slow

    async def begun(self) -> None:
        """Return when the thread is at it."""
        assert await asyncio.to_thread(self._has_begun.wait, 10)


async def names(database: Database) -> list[str]:
    """Every row that is kept."""
    query = "SELECT name FROM state ORDER BY name"
    return [name for (name,) in await database.read(lambda sql: sql.execute(query).fetchall())]


async def trace(database: Database) -> list[str]:
    """The statements that the database runs from now on."""
    statements: list[str] = []
    await database.read(lambda sql: sql.set_trace_callback(statements.append))
    return statements


async def pragma(database: Database, name: str) -> Any:
    """The value of a setting."""
    return await database.read(lambda sql: sql.execute(f"PRAGMA {name}").fetchone()[0])


# --- commits


async def test_a_write_returns_its_closures_result_after_the_commit(
    database: Database, tmp_path: Path
) -> None:
    """Another connection sees the row at once."""
    assert await database.write(keep("a")) == "a"
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        assert other.execute("SELECT name FROM state").fetchall() == [("a",)]
    other.close()


async def test_closures_that_wait_together_share_a_commit(database: Database) -> None:
    """Thirty-two visitors at once cost two commits: the first's, and one for all who came meanwhile."""
    statements = await trace(database)
    wanted = [f"{number:02}" for number in range(32)]
    assert await asyncio.gather(*(database.write(keep(name)) for name in wanted)) == wanted
    assert await names(database) == wanted
    assert statements.count("COMMIT") <= 2


async def test_closures_that_come_while_one_commits_wait_for_the_next_commit(database: Database) -> None:
    """The writer thread is busy with one; the others gather behind it and share."""
    busy = Busy()
    statements = await trace(database)
    first = asyncio.create_task(database.write(busy.then(keep("slow"))))
    await busy.begun()
    others = [asyncio.create_task(database.write(keep(name))) for name in "abc"]
    await asyncio.sleep(0)
    busy.may_go_on.set()
    await asyncio.gather(first, *others)
    assert statements.count("COMMIT") == 2


async def test_a_failing_closure_undoes_only_itself(database: Database) -> None:
    """Those that share its commit are kept, and its own error reaches only who asked."""
    results = await asyncio.gather(
        database.write(keep("a")),
        database.write(fail("b")),
        database.write(keep("c")),
        return_exceptions=True,
    )
    assert results[0] == "a"
    assert isinstance(results[1], LookupError)
    assert results[2] == "c"
    assert await names(database) == ["a", "c"]


async def test_an_error_without_a_code_reaches_who_asked(database: Database) -> None:
    """Python's own sqlite3 raises some: text that is no UTF-8 is one."""
    broken = "SELECT CAST(x'ff' AS TEXT)"
    with pytest.raises(sqlite3.OperationalError, match="UTF-8"):
        await asyncio.wait_for(database.write(lambda sql: sql.execute(broken).fetchone()), 10)
    assert await database.write(keep("a")) == "a"


async def test_a_failed_commit_fails_every_closure_in_its_group(database: Database) -> None:
    """Nobody is told of a row that is not there; the next group is committed again."""

    def no_commit(action: int, what: str | None, *_: str | None) -> int:
        refused = action == sqlite3.SQLITE_TRANSACTION and what == "COMMIT"
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

    await database.read(lambda sql: sql.set_authorizer(no_commit))
    results = await asyncio.gather(*(database.write(keep(name)) for name in "abc"), return_exceptions=True)
    assert [type(result) for result in results] == [sqlite3.DatabaseError] * 3
    await database.read(lambda sql: sql.set_authorizer(None))
    assert await names(database) == []
    assert await database.write(keep("d")) == "d"


async def test_a_full_disk_fails_what_does_not_fit_and_keeps_the_rest(database: Database) -> None:
    """SQLite's page limit stands for the disk's end."""
    await database.write(keep("before"))
    pages = await pragma(database, "page_count")
    await pragma(database, f"max_page_count = {pages + 1}")
    big = "INSERT INTO state VALUES ('big', zeroblob(1000000))"
    with pytest.raises(StoreFullError, match="full"):
        await database.write(lambda sql: sql.execute(big))
    await pragma(database, "max_page_count = 100000")
    await database.write(keep("now"))
    assert await names(database) == ["before", "now"]


async def test_the_work_of_someone_who_gave_up_is_done_all_the_same(database: Database) -> None:
    """What was asked for may have been seen already."""
    waiting = asyncio.create_task(database.write(keep("a")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await database.write(keep("b")) == "b"
    assert await names(database) == ["a", "b"]


async def test_a_closed_database_takes_nothing_more(tmp_path: Path) -> None:
    """Whoever asks too late is told, and does not wait for ever."""
    database = await Database.open(tmp_path)
    await database.close()
    for _ in range(2):
        with pytest.raises(ValueError, match="closed"):
            await asyncio.wait_for(database.write(keep("late")), 10)


async def test_on_a_full_disk_all_are_tried_again_in_their_order(database: Database) -> None:
    """Room is made once for a whole group, and what came behind it waits for its turn."""
    await database.write(keep("before"))
    pages = await pragma(database, "page_count")
    await pragma(database, f"max_page_count = {pages}")
    room = [f"PRAGMA max_page_count = {pages + 2000}"]
    order: list[str] = []

    def make_room() -> bool:
        if not room:
            return False
        more = room.pop()

        def widen(sql: sqlite3.Connection) -> None:
            sql.execute(more)

        database._connection.start(widen)
        return True

    def big(name: str) -> Work[str]:
        def work(sql: sqlite3.Connection) -> str:
            sql.execute("INSERT INTO state VALUES (?, zeroblob(100000))", (name,))
            order.append(name)
            return name

        return work

    database.make_room = make_room
    wanted = [("visitor 1", True), ("list 1", False), ("visitor 2", True)]
    given = await asyncio.gather(*(database.write(big(name), durable=durable) for name, durable in wanted))
    assert given == [name for name, _ in wanted]
    assert order == ["visitor 1", "visitor 2", "list 1"]


async def test_closing_finishes_what_was_begun(tmp_path: Path) -> None:
    """And frees the folder for the next."""
    database = await Database.open(tmp_path)
    writes = [asyncio.create_task(database.write(keep(name))) for name in "abc"]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*writes) == list("abc")
    database = await Database.open(tmp_path)
    assert await names(database) == list("abc")
    await database.close()


async def test_every_commit_reaches_the_disk(database: Database) -> None:
    """WAL with synchronous=FULL (2): a power cut takes nothing that was answered."""
    assert await pragma(database, "journal_mode") == "wal"
    assert await pragma(database, "synchronous") == 2


async def test_what_someone_waits_for_goes_ahead_of_what_can_be_fetched_again(database: Database) -> None:
    """Both came while one committed; the durable ones are committed first, each kind in its order."""
    busy = Busy()
    order: list[str] = []

    def note(name: str) -> Work[str]:
        def work(_sql: sqlite3.Connection) -> str:
            order.append(name)
            return name

        return work

    tasks = [asyncio.create_task(database.write(busy.then(keep("slow"))))]
    await busy.begun()
    tasks += [
        asyncio.create_task(database.write(note(name), durable=name.startswith("visitor")))
        for name in ("list 1", "visitor 1", "list 2", "visitor 2")
    ]
    await asyncio.sleep(0)
    busy.may_go_on.set()
    await asyncio.gather(*tasks)
    assert order == ["visitor 1", "visitor 2", "list 1", "list 2"]


# --- beside the writer


async def test_reading_beside_waits_for_no_writer(database: Database) -> None:
    """It answers with what is committed while the writer's thread is busy."""
    await database.write(keep("before"))
    busy = Busy()
    writing = asyncio.create_task(database.write(busy.then(keep("under way"))))
    await busy.begun()
    query = "SELECT name FROM state"
    seen = await database.read_beside(lambda sql: sql.execute(query).fetchall())
    assert not writing.done()
    busy.may_go_on.set()
    await writing
    assert seen == [("before",)]


async def test_log_is_moved_into_the_file_beside_the_writer(database: Database, tmp_path: Path) -> None:
    """The file alone has the rows after a hundred commits, and the writer itself never moved any."""
    statements = await trace(database)
    for number in range(CHECKPOINT_EVERY_GROUPS):
        await database.write(keep(f"{number:03}"))

    def has_all() -> bool:
        alone = sqlite3.connect(f"{(tmp_path / FILE_NAME).as_uri()}?immutable=1", uri=True)
        with closing(alone), suppress(sqlite3.DatabaseError):  # half of it may be there by now
            return len(alone.execute("SELECT name FROM state").fetchall()) == CHECKPOINT_EVERY_GROUPS
        return False

    await until(has_all, "moving the log into the file")
    assert not any("checkpoint" in statement for statement in statements)


async def test_log_begins_anew_after_it_was_moved(database: Database, tmp_path: Path) -> None:
    """However much is written, the log stays a few megabytes."""
    for number in range(10 * CHECKPOINT_EVERY_GROUPS):
        await database.write(keep(f"{number:03000}"))
    assert (tmp_path / LOG_NAME).stat().st_size < 16 << 20


async def test_log_stays_short_when_commits_are_large(database: Database, tmp_path: Path) -> None:
    """A megabyte each, so that a hundred of them would be a hundred megabytes."""
    for _ in range(200):
        await database.write(lambda sql: sql.execute("REPLACE INTO state VALUES ('a', ?)", (bytes(1 << 20),)))
    assert (tmp_path / LOG_NAME).stat().st_size < 64 << 20


async def test_no_checkpoint_follows_another_without_a_commit_between(database: Database) -> None:
    """What SQLite before 3.51.3 asks for: a quiet box leaves its log alone."""
    assert database._beside is not None
    statements: list[str] = []
    await database._beside.run(lambda sql: sql.set_trace_callback(statements.append))
    for number in range(3 * CHECKPOINT_EVERY_GROUPS):
        await database.write(keep(f"{number:03}"))
    await until(lambda: database._checkpointing is None, "the last checkpoint")
    checkpoints = sum("wal_checkpoint" in statement for statement in statements)
    assert 1 <= checkpoints <= 3


# --- opening


async def test_an_empty_folder_becomes_a_box(tmp_path: Path) -> None:
    """Folder, file and newest schema; opening again changes nothing."""
    folder = tmp_path / "state" / "box"
    for _ in range(2):
        database = await Database.open(folder)
        assert await pragma(database, "user_version") == 5
        tables = await database.read(lambda sql: sql.execute("PRAGMA table_list").fetchall())
        assert {"uses", "closings", "open_admissions", "ledger", "diary", "state"} <= {
            row[1] for row in tables
        }
        await database.close()


async def test_a_second_agent_on_the_same_folder_is_refused(database: Database, tmp_path: Path) -> None:
    """And does not harm the first."""
    with pytest.raises(StateFolderInUseError, match="another agent"):
        await Database.open(tmp_path)
    assert await database.write(keep("a")) == "a"


def make_newer(path: Path) -> None:
    """As a later release would leave it."""
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA user_version = 99")
    sql.close()


def make_garbage(path: Path) -> None:
    """Not a database at all."""
    path.write_bytes(b"not a database" * 1000)


def damage_pages(path: Path) -> None:
    """A bad sector in the middle."""
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 5] = b"\xa5" * 4096 * 3
    path.write_bytes(content)


def make_a_folder(path: Path) -> None:
    """Nothing that could be opened."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (make_newer, NewerSchemaError),
        (make_garbage, StoreDamagedError),
        (damage_pages, StoreDamagedError),
        (make_a_folder, StoreError),
    ],
    ids=lambda value: value.__name__,
)
async def test_a_file_that_cannot_be_trusted_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], error: type[StoreError]
) -> None:
    """By name, leaving no thread behind, and the folder free for a repair."""
    database = await Database.open(tmp_path)
    for number in range(100):
        await database.write(keep(f"{number:0500}"))
    await database.close()
    spoil(tmp_path / FILE_NAME)
    with pytest.raises(error, match=FILE_NAME):
        await Database.open(tmp_path)
    assert not [thread for thread in threading.enumerate() if "connection_worker" in thread.name]
    if spoil is not make_a_folder:
        for name in (FILE_NAME, MADE_NAME):
            (tmp_path / name).unlink()
        await (await Database.open(tmp_path)).close()


async def test_a_newer_file_is_refused_untouched(tmp_path: Path) -> None:
    """The release that wrote it finds it as it was."""
    path = tmp_path / FILE_NAME
    with sqlite3.connect(path) as sql:
        sql.execute("CREATE TABLE of_tomorrow (a)")
        sql.execute("PRAGMA user_version = 99")
    sql.close()
    before = path.read_bytes()
    with pytest.raises(NewerSchemaError, match="schema 99 is newer"):
        await Database.open(tmp_path)
    assert path.read_bytes() == before


async def test_a_lost_file_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    """Whoever removed it, or forgot to mount its disk, is told; nothing is made."""
    await (await Database.open(tmp_path)).close()
    (tmp_path / FILE_NAME).unlink()
    with pytest.raises(StoreMissingError, match="was here and is gone"):
        await Database.open(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    (tmp_path / MADE_NAME).unlink()
    await (await Database.open(tmp_path)).close()


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.stem)
async def test_memory_of_every_earlier_schema_is_taken_up(tmp_path: Path, kept: Path) -> None:
    """With its uses, its ledger and its diary; what was open then is open still."""
    restore_kept(tmp_path, kept)
    async with opened_box(tmp_path) as box:
        assert await pragma(box.database, "user_version") == 5
        assert await box.rows("SELECT COUNT(*) FROM ledger") == [4]
        assert await box.rows("SELECT COUNT(*) FROM diary") == [1]
        known = (await box.facts(TICKET_CODE)).history
        assert [known.is_held(use) for use in known.uses] == [True, True]
        assert await box.store.open_epoch(b"epoch-02", NOW_MS) == 1


async def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    """A file stands in its place."""
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        await Database.open(tmp_path / "state")
