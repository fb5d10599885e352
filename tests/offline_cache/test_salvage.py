"""A damaged memory: what is saved of it, and what is told of the rest."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from admission.answers import Decision, Spend
from admission.codes import Rejected
from admission.reasons import Reason
from admission.tickets import Basis
from offline_cache.journal import set_state
from offline_cache.opening import FILE_NAME, StateFolderInUseError, StoreDamagedError, StoreError
from offline_cache.salvage import salvage
from tests.admission.makers import NOW_MS, NOW_S, TICKET_CODE
from tests.offline_cache.box import KEPT, opened_box, restore_kept
from tests.offline_cache.listed_rows import AS_OF_S, PRODUCT, changes, opened_memory, ticket_row

ADMISSIONS = 300
PAGE = 4096


async def fill(folder: Path, confirmed: int = 100) -> None:
    """A morning's admissions, of which the centre has confirmed so many."""
    async with opened_box(folder) as box:
        for number in range(ADMISSIONS):
            spend = Spend(number.to_bytes(16), Basis.TICKET, NOW_S + 3600)
            await box.answer(lambda _, spend=spend: Decision(Reason.TICKET, spend), TICKET_CODE)  # type: ignore[misc]
        await box.database.write(lambda sql: set_state(sql, "confirmed_seq_no", confirmed))


def pages_of(path: Path, table: str) -> list[int]:
    """The pages of a table's rows, counted from 0."""
    with sqlite3.connect(path) as sql:
        query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno"
        try:
            found = [number - 1 for (number,) in sql.execute(query, (table,))]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    sql.close()
    return found


def spoil(path: Path, pages: list[int]) -> None:
    """Bad sectors."""
    content = bytearray(path.read_bytes())
    for page in pages:
        content[page * PAGE : (page + 1) * PAGE] = b"\xa5" * PAGE
    path.write_bytes(content)


async def test_ledger_is_saved_up_to_the_damage(tmp_path: Path) -> None:
    """Its chain holds, the next entry follows, and the uses from before and behind the damage are known."""
    await fill(tmp_path)
    pages = pages_of(tmp_path / FILE_NAME, "ledger")
    spoil(tmp_path / FILE_NAME, [pages[len(pages) // 2]])
    with pytest.raises(StoreDamagedError):
        async with opened_box(tmp_path):
            pass
    found = salvage(tmp_path)
    assert found.ledger_first == 1
    assert 100 < found.ledger_last < ADMISSIONS
    assert found.behind_gap > 0
    assert found.rows["uses"] == ADMISSIONS
    assert any(problem.startswith("ledger: ") for problem in found.damage)
    assert not found.needs_new_id
    async with opened_box(tmp_path) as box:
        await box.store.open_epoch(b"epoch-02", NOW_MS)
        assert await box.rows("SELECT MAX(seq_no) FROM ledger") == [found.ledger_last + 301]


async def test_damaged_file_is_kept(tmp_path: Path) -> None:
    """Byte for byte, for whoever can read more of it."""
    await fill(tmp_path)
    pages = pages_of(tmp_path / FILE_NAME, "ledger")
    spoil(tmp_path / FILE_NAME, pages[-1:])
    before = (tmp_path / FILE_NAME).read_bytes()
    assert salvage(tmp_path).damaged.read_bytes() == before


@pytest.mark.parametrize(
    ("confirmed", "damaged", "needed"),
    [
        (100, slice(0, 1), False),
        (0, slice(0, 1), True),
        (ADMISSIONS, slice(-1, None), True),
        (ADMISSIONS - 100, slice(-1, None), False),
    ],
)
async def test_ledger_that_does_not_meet_the_centres_is_named(
    tmp_path: Path, confirmed: int, damaged: slice, needed: bool
) -> None:
    """A lost beginning matters only if the centre lacks it, a lost end only if the centre has it."""
    await fill(tmp_path, confirmed)
    spoil(tmp_path / FILE_NAME, pages_of(tmp_path / FILE_NAME, "ledger")[damaged])
    assert salvage(tmp_path).needs_new_id is needed


def fill_tables(sql: sqlite3.Connection) -> dict[str, int]:
    """Put a row into every table of this release; return how many each has then."""
    names = sql.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name != 'ledger'").fetchall()
    ours = [name for (name,) in names if not name.startswith("sqlite_")]
    for name in ours:
        kinds = [kind for _, _, kind, *_ in sql.execute(f"PRAGMA table_info({name})")]
        values = [{"INTEGER": 7, "BLOB": b"seven"}.get(kind, "seven") for kind in kinds]
        sql.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608 - the schema's
    return {name: sql.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in ours}  # noqa: S608


async def test_every_table_is_saved(tmp_path: Path) -> None:
    """Also those that came with later releases."""
    await fill(tmp_path)
    async with opened_box(tmp_path) as box:
        expected = await box.database.write(fill_tables)
    spoil(tmp_path / FILE_NAME, pages_of(tmp_path / FILE_NAME, "ledger")[-1:])
    found = salvage(tmp_path)
    assert {name: rows for name, rows in found.rows.items() if name != "ledger"} == expected


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.stem)
async def test_memory_of_an_earlier_schema_is_saved(tmp_path: Path, kept: Path) -> None:
    """It was damaged before this release could migrate it; its ledger is what the damage took."""
    restore_kept(tmp_path, kept)
    spoil(tmp_path / FILE_NAME, pages_of(tmp_path / FILE_NAME, "ledger"))
    found = salvage(tmp_path)
    assert (found.rows["uses"], found.rows["diary"], found.rows["ledger"]) == (2, 1, 0)
    async with opened_box(tmp_path) as box:
        known = (await box.facts(TICKET_CODE)).history
        assert [known.is_held(use) for use in known.uses] == [True, True]


@pytest.mark.parametrize("is_sequence_lost", [False, True])
async def test_no_number_of_a_refusal_is_given_twice(tmp_path: Path, is_sequence_lost: bool) -> None:
    """The centre has all refusals, so that none is in the diary any more."""
    await fill(tmp_path)
    async with opened_box(tmp_path) as box:
        answers = [await box.show(Rejected(Reason.NOT_A_TICKET, "")) for _ in range(3)]
        await box.outbox.confirm_diary(3)
    pages = pages_of(tmp_path / FILE_NAME, "ledger")[-1:]
    lost = pages_of(tmp_path / FILE_NAME, "sqlite_sequence") if is_sequence_lost else []
    spoil(tmp_path / FILE_NAME, pages + lost)
    salvage(tmp_path)
    async with opened_box(tmp_path) as box:
        assert answers[-1].record.endswith("-D3")
        assert (await box.show(Rejected(Reason.NOT_A_TICKET, ""))).record.endswith("-D4")


async def test_changes_are_asked_for_again(tmp_path: Path) -> None:
    """Some of them may be lost with the damage; those that are not hold meanwhile."""
    await fill(tmp_path)
    async with opened_memory(tmp_path) as memory:
        await memory.install([PRODUCT, ticket_row(5)], version=1, revision=10)
        await memory.overlay.apply(changes([ticket_row(11, refunded=3)]))
        assert await memory.overlay.advance(changes(since=10, until=12, as_of_s=AS_OF_S))
    spoil(tmp_path / FILE_NAME, pages_of(tmp_path / FILE_NAME, "ledger")[-1:])
    salvage(tmp_path)
    async with opened_memory(tmp_path) as memory:
        assert await memory.overlay.position() == 10
        assert memory.overlay.as_of_s == 0
        assert await memory.count("changed_tickets") == 1


def names_in(folder: Path) -> list[str]:
    """What lies in it."""
    return sorted(path.name for path in folder.iterdir())


async def test_sound_memory_is_left_alone(tmp_path: Path) -> None:
    """Nothing is moved, and nothing made."""
    await fill(tmp_path)
    before = names_in(tmp_path)
    with pytest.raises(StoreError, match="passes the check"):
        salvage(tmp_path)
    assert names_in(tmp_path) == before


async def test_running_agent_keeps_its_memory(tmp_path: Path) -> None:
    """Nobody salvages under it."""
    async with opened_box(tmp_path):
        with pytest.raises(StateFolderInUseError):
            salvage(tmp_path)


def test_nothing_is_salvaged_from_nothing(tmp_path: Path) -> None:
    """An empty memory is not made by way of it."""
    with pytest.raises(StoreError, match="nothing to salvage"):
        salvage(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
