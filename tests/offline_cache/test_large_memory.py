"""What a box remembers does not slow it down: SQLite does as little with a long memory as with a short one."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from admission.capacity import Share
from admission.changes import ListChanges, TicketRow
from admission.codes import DocumentCode, Rejected, TicketCode
from admission.documents import DocumentKind
from admission.events import Admitted
from admission.reasons import Reason
from admission.tickets import Basis, Outcome, Risk
from offline_cache.capacity import CapacityMemory
from offline_cache.journal import append, head, note_refusal, set_state
from offline_cache.neighbours import Neighbours
from offline_cache.overlay import Overlay
from offline_cache.retention import prune
from offline_cache.store import insert_use
from tests.admission.makers import BOX, CREDIT_CODE, KEY, NOW_MS, NOW_S, SITE, TICKET_CODE, VALIDITY, ticket
from tests.offline_cache.box import Box, opened_box
from tests.support.capacity_box import DAY_MS, DAY_START_MS, word
from tests.support.sqlite_steps import steps_of

SHORT, LONG = 500, 10_000
TWICE = 2
"""Trees get deeper with what they hold."""
UNLISTED = TicketCode(b"u" * 16, "DAY1", VALIDITY)
DOCUMENT = DocumentCode(b"d" * 16, DocumentKind.PASSPORT)
CHANGE = ListChanges(
    site_id=SITE,
    from_revision=0,
    to_revision=LONG + 1,
    tickets=(TicketRow(LONG + 1, KEY, "DAY1", 1, 0, 0, NOW_S, "valid"),),
)
OPEN = (SHORT - 1).to_bytes(16)
"""An admission that has not ended."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A box's memory, and what else is kept in it."""

    box: Box
    overlay: Overlay
    capacity: CapacityMemory
    neighbours: Neighbours


def fill(sql: sqlite3.Connection, rows: int) -> None:
    """Yesterday's admissions, half of them confirmed, as many refusals, and changes that no list has yet."""
    at_ms = NOW_MS - DAY_MS
    for number in range(rows):
        key = (number % 256).to_bytes(1) * 8 + number.to_bytes(8)
        event = Admitted(number.to_bytes(16), key, Basis.TICKET, "", "1", 1, 0, Risk.NONE, NOW_S, 1, "test")
        insert_use(sql, BOX, append(sql, at_ms, event).seq_no, at_ms, event)
        note_refusal(sql, at_ms, "1", Reason.EXPIRED, key, "")
        changed = (key, number + 1, "DAY1", 1, 0, 0, NOW_S, "valid")
        sql.execute("INSERT INTO changed_tickets VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changed)
    set_state(sql, "confirmed_seq_no", head(sql)[0] // 2)


async def make(folder: Path, rows: int) -> None:
    """Write such a memory, with a list and a share of the capacity."""
    async with opened_box(folder) as box:
        await box.install(tickets={KEY: ticket()})
        share = Share(1, 10, 20, 0, DAY_START_MS - DAY_MS, 10, 20)
        await CapacityMemory(box.database, BOX).take(word(BOX, share), NOW_MS - DAY_MS)
        await box.database.write(lambda sql: fill(sql, rows))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Path]]:
    """A short memory and a long one, each in its folder."""
    made = {rows: tmp_path_factory.mktemp("memory") for rows in (SHORT, LONG)}
    for rows, folder in made.items():
        asyncio.run(make(folder, rows))
    yield made
    for folder in made.values():
        shutil.rmtree(folder)


WORKS: dict[str, Callable[[Memory], Awaitable[object]]] = {
    "a listed ticket": lambda memory: memory.box.show(TICKET_CODE),
    "an unlisted ticket": lambda memory: memory.box.show(UNLISTED),
    "a credit code": lambda memory: memory.box.show(CREDIT_CODE),
    "a document": lambda memory: memory.box.show(DOCUMENT),
    "no ticket": lambda memory: memory.box.show(Rejected(Reason.NOT_A_TICKET, "")),
    "a passage": lambda memory: memory.box.store.close_admission(OPEN, Outcome.PASSED, NOW_MS),
    "an incident": lambda memory: memory.box.store.record_incident("1", Outcome.FORCED, NOW_MS),
    "a share": lambda memory: memory.capacity.take(word(BOX, Share(2, 5, 5, 0, DAY_START_MS)), NOW_MS),
    "the first of a day": lambda memory: memory.box.facts(UNLISTED, day_start_ms=DAY_START_MS),
    "a change": lambda memory: memory.overlay.apply(CHANGE),
    "a start": lambda memory: memory.box.store.open_epoch(b"epoch-02", NOW_MS),
    "forgetting": lambda memory: prune(memory.box.database, NOW_MS),
    "sweeping": lambda memory: memory.overlay.sweep(),
    "the outbox": lambda memory: memory.box.outbox.ledger_after(SHORT // 2, 10),
    "the diary": lambda memory: memory.box.outbox.diary_after(SHORT // 2, 10),
    "the backlog": lambda memory: memory.box.outbox.backlog(),
    "the diary's backlog": lambda memory: memory.box.outbox.diary_backlog(),
    "where the ledger stands": lambda memory: memory.box.outbox.ledger_head(),
    "what others did": lambda memory: memory.neighbours.hearsay(BOX, SHORT // 2, 10),
}


@pytest.mark.parametrize("work", WORKS)
async def test_a_long_memory_takes_no_more_steps(folders: dict[int, Path], tmp_path: Path, work: str) -> None:
    """Whatever visitors wait for, or what is done on the thread that they wait for."""
    found: dict[int, int] = {}
    for rows, folder in folders.items():
        copy = shutil.copytree(folder, tmp_path / str(rows))
        async with opened_box(copy) as box:
            overlay = Overlay(SITE, box.database, lambda: 0)
            memory = Memory(box, overlay, CapacityMemory(box.database, BOX), Neighbours(box.database))
            await overlay.sweep()
            found[rows] = await steps_of(box.database, WORKS[work](memory))
    assert 0 < found[LONG] < TWICE * found[SHORT]
