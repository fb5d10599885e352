"""A box's whole memory in a folder, opened as the program opens it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from admission.answers import Answer, Decision
from admission.codes import Credential, Rejected
from admission.decision import decide
from admission.facts import Attempt, Facts
from admission.policy import Policy
from offline_cache.database import Database
from offline_cache.journal import Outbox
from offline_cache.lists import ListShelf
from offline_cache.opening import FILE_NAME
from offline_cache.store import Store
from tests.admission.makers import BOX, LANE, NOW_MS, POLICY, SITE
from tests.offline_cache.list_files import build_list


@dataclass(frozen=True, slots=True)
class Box:
    """What a box remembers with."""

    database: Database
    lists: ListShelf
    store: Store
    outbox: Outbox

    async def install(self, version: int = 7, **content: Any) -> None:
        """Put a list with this content in use."""
        part = self.lists.new_part()
        await self.lists.install(part, version, build_list(part, version=version, **content))

    async def show(
        self,
        credential: Credential | Rejected,
        *,
        lane_id: str = LANE,
        at_ms: int = NOW_MS,
        policy: Policy = POLICY,
        monotonic_ms: int = 0,
    ) -> Answer:
        """Present a credential and have it decided as at a gate."""

        def judge(facts: Facts) -> Decision:
            if isinstance(credential, Rejected):
                return Decision(credential.reason, detail=credential.detail)
            return decide(credential, facts, policy, at_ms)

        return await self.answer(judge, credential, lane_id=lane_id, at_ms=at_ms, monotonic_ms=monotonic_ms)

    async def answer(
        self,
        judge: Callable[[Facts], Decision],
        credential: Credential | Rejected,
        *,
        lane_id: str = LANE,
        at_ms: int = NOW_MS,
        day_start_ms: int = 0,
        monotonic_ms: int = 0,
    ) -> Answer:
        """Present a credential and decide it by `judge`."""
        attempt = Attempt(credential, lane_id, at_ms, day_start_ms, "test", monotonic_ms=monotonic_ms)
        return await self.store.answer(attempt, judge)

    async def facts(self, credential: Credential | Rejected, *, day_start_ms: int = 0) -> Facts:
        """What the box knows about a credential, learnt by way of a decision that is then undone."""
        seen: list[Facts] = []

        def judge(facts: Facts) -> Decision:
            seen.append(facts)
            raise _SeenEnoughError

        try:
            await self.answer(judge, credential, day_start_ms=day_start_ms)
        except _SeenEnoughError:
            return seen[0]
        raise AssertionError("the judge was not asked")

    async def rows(self, query: str) -> list[Any]:
        """The rows of a query; single columns are unpacked."""
        rows = await self.database.read(lambda sql: sql.execute(query).fetchall())
        return [row[0] if len(row) == 1 else row for row in rows]


class _SeenEnoughError(Exception):
    pass


KEPT = sorted((Path(__file__).parent / "kept").glob("*.sql"))
"""Memories as the releases of each schema left them."""


def restore_kept(folder: Path, kept: Path) -> None:
    """Make such a memory in a folder."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as sql:
        sql.executescript(kept.read_text("utf-8"))


@asynccontextmanager
async def opened_box(folder: Path, new_id: Callable[[], bytes] | None = None) -> AsyncIterator[Box]:
    """Open the memory in `folder`, and close it in the end; ids count from where the ledger stands."""
    database = await Database.open(folder)
    closers: list[Callable[[], Awaitable[None]]] = [database.close]
    try:
        lists = ListShelf(folder / "lists", SITE, database)
        await lists.load()
        closers.insert(0, lists.close)
        start = await database.read(lambda sql: sql.execute("SELECT COUNT(*) FROM ledger").fetchone()[0])
        ids = (number.to_bytes(16) for number in count(start + 1))
        store = Store(database, lists, box_id=BOX, site_id=SITE, new_id=new_id or (lambda: next(ids)))
        yield Box(database, lists, store, Outbox(database))
    finally:
        for close in closers:
            await close()
