"""Full lists and memories for tests of what changes: a list is made of the same rows that changes bring."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from msgspec.structs import astuple

from admission.answers import Answer, Decision
from admission.changes import (
    CreditLineRow,
    ListChanges,
    ProductRow,
    Row,
    TicketRow,
    WithdrawnKeyRow,
    with_rows,
)
from admission.codes import Credential
from admission.facts import Attempt, Facts
from admission.tickets import TicketStatus
from central.lists import _SCHEMA
from offline_cache.database import Database
from offline_cache.lists import ListShelf
from offline_cache.overlay import Overlay
from offline_cache.store import Store

SITE, BOX = "fairy", "B1"
AS_OF_S = 1_782_000_000
KEY = b"k" * 16

PRODUCT = ProductRow(1, "DAY", "日票", "Day ticket", ("fairy",))


def ticket_row(
    revision: int,
    key: bytes = KEY,
    *,
    quantity: int = 3,
    refunded: int = 0,
    status: TicketStatus = TicketStatus.VALID,
) -> TicketRow:
    """A ticket that is valid for a long time."""
    return TicketRow(revision, key, "DAY", quantity, refunded, 0, 1 << 40, status)


def changes(rows: Iterable[Row] = (), since: int = 0, until: int = 0, as_of_s: int = 0) -> ListChanges:
    """A message of changes."""
    head = ListChanges(site_id=SITE, from_revision=since, to_revision=until, as_of_s=as_of_s)
    return with_rows(head, tuple(rows))


def write_list(
    path: Path,
    rows: Iterable[Row],
    *,
    version: int,
    revision: int | None,
    watermark: int = 0,
    used: int = 0,
    padding: bytes = b"",
) -> bytes:
    """Write a list with the newest of these rows to `path` and return its hash; no revision: an older centre's."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as sql:
        sql.executescript(f"{_SCHEMA} PRAGMA user_version = 1;")
        meta = {"site_id": SITE, "version": version, "as_of_s": AS_OF_S, "revision": revision}
        known = [(name, value) for name, value in meta.items() if value is not None]
        sql.executemany("INSERT INTO meta VALUES (?, ?)", known)
        sql.execute("INSERT INTO meta VALUES ('padding', ?)", (padding,))
        sql.execute("INSERT INTO watermarks VALUES (?, ?)", (BOX, watermark))
        for row in sorted(rows, key=lambda row: row.revision):
            _insert(sql, row, used)
        sql.commit()
    return hashlib.sha256(path.read_bytes()).digest()


def _insert(sql: sqlite3.Connection, row: Row, used: int) -> None:
    revision, *values = astuple(row)
    table = "memberships"
    match row:
        case ProductRow():
            table, values = "products", [*values[:3], json.dumps(sorted(row.site_ids)), row.terms]
        case TicketRow():
            table, values = "tickets", [*values[:4], used, *values[4:], revision]
        case CreditLineRow():
            table, values = "credit_lines", [*values[:3], 0, values[3], revision]
        case WithdrawnKeyRow():
            table, values = "withdrawn_keys", [*values, revision]
    places = ", ".join("?" * len(values))
    sql.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", values)  # noqa: S608


@dataclass(frozen=True, slots=True)
class Memory:
    """A box's memory with the overlay on its list."""

    database: Database
    shelf: ListShelf
    overlay: Overlay
    store: Store

    async def install(self, rows: Iterable[Row], version: int, revision: int | None, **more: int) -> None:
        """Put a list in use."""
        part = self.shelf.new_part()
        digest = write_list(part, rows, version=version, revision=revision, **more)  # type: ignore[arg-type]
        await self.shelf.install(part, version, digest)

    async def answer(self, credential: Credential, at_ms: int, decision: Decision) -> Answer:
        """Present a credential, with a given decision instead of one from the facts."""
        attempt = Attempt(credential, "1", at_ms, 0, "test")
        return await self.store.answer(attempt, lambda _: decision)

    async def facts(self, credential: Credential) -> Facts:
        """What is known about a credential, learnt by way of a decision that is then undone."""
        seen: list[Facts] = []

        def judge(facts: Facts) -> Decision:
            seen.append(facts)
            raise _SeenEnoughError

        try:
            await self.store.answer(Attempt(credential, "1", 0, 0, "test"), judge)
        except _SeenEnoughError:
            return seen[0]
        raise AssertionError("the judge was not asked")

    async def count(self, table: str) -> int:
        """The number of rows in a table."""
        query = f"SELECT COUNT(*) FROM {table}"  # noqa: S608
        return int(await self.database.read(lambda sql: sql.execute(query).fetchone()[0]))


class _SeenEnoughError(Exception):
    pass


@asynccontextmanager
async def opened_memory(folder: Path, site_id: str = SITE) -> AsyncIterator[Memory]:
    """Open the memory in `folder` as the program does."""
    database = await Database.open(folder)
    shelf = ListShelf(folder / "lists", site_id, database)
    ids = (number.to_bytes(16) for number in count(1))
    try:
        await shelf.load()
        overlay = Overlay(site_id, database, lambda: shelf.revision)
        await overlay.load()
        store = Store(database, shelf, box_id=BOX, site_id=site_id, new_id=lambda: next(ids))
        yield Memory(database, shelf, overlay, store)
    finally:
        await shelf.close()
        await database.close()
