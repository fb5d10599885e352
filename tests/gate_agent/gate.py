"""A lane on real memory, with the hardware and the clock in the test's hands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from admission.answers import Answer
from admission.codes import issue_credit_code, issue_ticket_code, ticket_key
from admission.events import (
    Admitted,
    Closed,
    Entry,
    Incident,
    LedgerEvent,
    Refusal,
    decode_entry,
    decode_refusal,
)
from admission.passage import State
from admission.reasons import Reason
from admission.scan import Scan
from admission.tickets import Outcome
from gate_agent.lane import Lane, Rules
from gate_agent.ports import AdmissionStore
from simulator.fakes import FakeClock, FakeDisplay, FakeReader, FakeTurnstile
from tests.admission.makers import BOOK, CREDIT_ISSUER, NOW_MS, POLICY, TICKET_ISSUER, VALIDITY, ticket
from tests.offline_cache.box import Box, opened_box
from tests.support.waiting import until

RELEASE_MS = 60_000
"""Longer than any test: unless a test says otherwise, the barrier closes when the test says so."""
TICKET_IDS = tuple(f"ticket-{n:05d}".encode() for n in range(8))


def ticket_code(number: int = 0) -> bytes:
    """The code of one of the tickets that the test's list knows."""
    return issue_ticket_code(TICKET_IDS[number], "DAY1", VALIDITY, TICKET_ISSUER).encode()


def credit_code(subject: str) -> bytes:
    """The credit code of a subject."""
    return issue_credit_code(subject, VALIDITY, CREDIT_ISSUER).encode()


def scan(payload: bytes) -> Scan:
    """One showing of a code."""
    return Scan(payload, "test", captured_ns=0)


@dataclass(slots=True)
class Post:
    """A lane with what stands around it."""

    lane: Lane
    turnstile: FakeTurnstile
    display: FakeDisplay
    reader: FakeReader
    watching: asyncio.Task[None]

    async def present(self, payload: bytes) -> Answer:
        """Show a code at the lane and return its answer."""
        return await self.lane.present(scan(payload))

    async def becomes(self, state: State) -> None:
        """Wait until the barrier is in this state."""
        await until(lambda: self.lane.state is state, f"{state.name} instead of {self.lane.state.name}")

    @property
    def shown(self) -> list[Reason]:
        """What the visitors read, in order."""
        return [answer.decision.reason for answer in self.display.shown]


@dataclass(slots=True)
class Gate:
    """Lanes that share one box's memory."""

    box: Box
    clock: FakeClock
    posts: list[Post] = field(default_factory=list)
    recorded: int = 0
    rules: Rules = field(default_factory=lambda: Rules(BOOK, POLICY))
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def add_lane(
        self,
        lane_id: str = "lane-1",
        *,
        release_ms: int = RELEASE_MS,
        store: AdmissionStore | None = None,
        turnstile: FakeTurnstile | None = None,
    ) -> Post:
        """Put up a lane and follow its turnstile."""
        turnstile = turnstile or FakeTurnstile()
        display = FakeDisplay()
        lane = Lane(
            lane_id,
            self.rules,
            store or self.box.store,
            turnstile,
            display,
            self.clock,
            release_timeout_ms=release_ms,
            on_recorded=self._note_record,
        )
        watching = asyncio.create_task(lane.watch())
        post = Post(lane, turnstile, display, FakeReader(), watching)
        self.posts.append(post)
        self._tasks.append(watching)
        return post

    def follow(self, lane: Lane) -> None:
        """Follow the turnstile of a lane that was put up elsewhere."""
        self._tasks.append(asyncio.create_task(lane.watch()))

    async def add_ready_lane(self, lane_id: str = "lane-1", *, release_ms: int = RELEASE_MS) -> Post:
        """Put up a lane and return it once its barrier is closed."""
        post = self.add_lane(lane_id, release_ms=release_ms)
        await post.becomes(State.CLOSED)
        return post

    def serve(self, post: Post) -> None:
        """Let the lane answer its reader."""
        self._tasks.append(asyncio.create_task(post.lane.serve(post.reader)))

    async def events(self) -> list[LedgerEvent]:
        """What the ledger holds, in order."""
        return [entry.event for entry in await self.entries()]

    async def entries(self) -> list[Entry]:
        """The ledger, in order."""
        return [decode_entry(row) for row in await self.box.rows("SELECT entry FROM ledger ORDER BY seq_no")]

    async def diary(self) -> list[Refusal]:
        """The diary, in order."""
        return [decode_refusal(row) for row in await self.box.rows("SELECT entry FROM diary ORDER BY number")]

    async def uses(self) -> int:
        """How many uses are recorded."""
        return sum(isinstance(event, Admitted) for event in await self.events())

    async def outcomes(self, admission_id: bytes | None) -> list[Outcome]:
        """How an admission ended, in the order of the records."""
        events = await self.events()
        return [e.outcome for e in events if isinstance(e, Closed) and e.admission_id == admission_id]

    async def incidents(self) -> list[Outcome]:
        """What happened with no admission behind it."""
        return [event.what for event in await self.events() if isinstance(event, Incident)]

    async def outcome_comes(self, admission_id: bytes | None, outcome: Outcome) -> None:
        """Wait until an admission has ended so."""
        async with asyncio.timeout(10):
            while outcome not in await self.outcomes(admission_id):
                await asyncio.sleep(0.005)

    async def incidents_come(self, expected: Sequence[Outcome]) -> None:
        """Wait until exactly these incidents are recorded."""
        async with asyncio.timeout(10):
            while await self.incidents() != list(expected):
                await asyncio.sleep(0.005)

    async def ends_with(self, post: Post, error: type[Exception]) -> None:
        """Wait until the lane's watch, and with it the process, has ended with this error."""
        self._tasks.remove(post.watching)
        with pytest.raises(ExceptionGroup) as caught:
            await post.watching
        assert caught.group_contains(error)

    async def stop(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _note_record(self) -> None:
        self.recorded += 1


@asynccontextmanager
async def opened_gate(folder: Path) -> AsyncIterator[Gate]:
    """A box in `folder` whose list knows the test's tickets, at noon of a fixed day."""
    async with opened_box(folder) as box:
        if not box.lists.version:
            await box.install(tickets={ticket_key(ticket_id): ticket() for ticket_id in TICKET_IDS})
        gate = Gate(box, FakeClock(NOW_MS))
        try:
            yield gate
        finally:
            await gate.stop()
