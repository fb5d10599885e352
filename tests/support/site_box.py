"""A box of a site as far as its neighbours are concerned: memory, ledger, key, and uses made on demand."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admission.answers import Decision, Spend
from admission.codes import TicketCode, Validity
from admission.facts import Attempt, Facts
from admission.keys import SigningKey, new_signing_key
from admission.reasons import Reason
from admission.tickets import Basis, Outcome, Risk
from offline_cache.database import Database
from offline_cache.journal import Outbox
from offline_cache.lists import ListShelf
from offline_cache.neighbours import Heard, Neighbours
from offline_cache.store import Store
from sync.centre_link import BoxIdentity
from sync.protocol import Batch, BoxTopics, Head, Stream

SITE = "fairy"
LANE = "1"
NOW_MS = 1_782_000_000_000
DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class SiteBox:
    """One box's memory, opened."""

    box_id: str
    key: SigningKey
    database: Database
    store: Store
    outbox: Outbox
    neighbours: Neighbours

    @property
    def identity(self) -> BoxIdentity:
        """As whom it speaks."""
        return BoxIdentity(BoxTopics(SITE, self.box_id), self.key, "session")

    async def begin(self) -> None:
        """Begin a process's life."""
        await self.store.open_epoch(secrets.token_bytes(8), NOW_MS)

    async def use(self, key: bytes, *, risk: Risk = Risk.NONE, keep_until_s: int = 1 << 40) -> bytes:
        """Admit on a ticket and return the admission's id."""
        spend = Spend(key, Basis.TICKET, keep_until_s, risk=risk)
        answer = await self.store.answer(self._attempt(key), lambda _: Decision(Reason.TICKET, spend))
        assert answer.admission_id is not None
        return answer.admission_id

    async def close(self, admission_id: bytes, outcome: Outcome = Outcome.PASSED) -> None:
        """Record how an admission ended."""
        await self.store.close_admission(admission_id, outcome, NOW_MS)

    async def facts(self, key: bytes) -> Facts:
        """What the box knows about a ticket; asking for it leaves a refusal in the diary."""
        seen: list[Facts] = []

        def judge(facts: Facts) -> Decision:
            seen.append(facts)
            return Decision(Reason.ALREADY_USED)

        await self.store.answer(self._attempt(key), judge)
        return seen[0]

    async def batch(self, after: int = 0, limit: int = 1000) -> Batch:
        """Entries of its ledger."""
        tail = await self.outbox.ledger_after(after, limit)
        return Batch(
            stream=Stream.LEDGER,
            box_id=self.box_id,
            first=tail.first,
            previous_hash=tail.previous_hash,
            entries=tail.entries,
        )

    async def head(self) -> Head:
        """Where its ledger stands."""
        head = await self.outbox.ledger_head()
        return Head(
            box_id=self.box_id, floor=head.floor, seq_no=head.seq_no, hash=head.hash, epoch=head.epoch
        )

    async def heard(self, other: SiteBox) -> Heard:
        """How far it knows another box's ledger."""
        return await self.neighbours.heard(other.box_id)

    async def sets(self) -> tuple[list[Any], list[Any]]:
        """All uses and closings that it knows, its own and its neighbours'."""
        return await self.rows("SELECT * FROM uses ORDER BY 1"), await self.rows(
            "SELECT * FROM closings ORDER BY 1, 2"
        )

    async def rows(self, query: str) -> list[Any]:
        """The rows of a query."""
        return await self.database.read(lambda sql: sql.execute(query).fetchall())

    def _attempt(self, key: bytes) -> Attempt:
        credential = TicketCode(key, "DAY1", Validity(0, 1 << 40, 0))
        return Attempt(credential, LANE, NOW_MS, day_start_ms=0, policy_version="test")


@asynccontextmanager
async def site_box(folder: Path, box_id: str) -> AsyncIterator[SiteBox]:
    """Open the box's memory below `folder`; its key is the same in every run."""
    database = await Database.open(folder / box_id)
    try:
        shelf = ListShelf(folder / box_id / "lists", SITE, database)
        store = Store(database, shelf, box_id=box_id, site_id=SITE, new_id=lambda: secrets.token_bytes(16))
        private_key = Ed25519PrivateKey.from_private_bytes(box_id.encode().ljust(32, b"."))
        key = new_signing_key(private_key)
        yield SiteBox(box_id, key, database, store, Outbox(database), Neighbours(database))
    finally:
        await database.close()


async def eventually(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Return once the condition holds; AssertionError when that takes too long."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await holds():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {DEADLINE_S} s") from None
