"""What it costs to decide and never forget: one client, thirty-two together, and the processor's part of it.

Beside each stands, in the same run and turn by turn, what no store could do without: one overwrite with fdatasync on
the same disk, and the very statements of the decisions in plain sqlite3, one transaction each or thirty-two to one.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from admission.answers import Answer
from admission.codes import TicketCode, Validity
from admission.decision import decide
from admission.facts import Attempt
from bench._lists import sha256, write_list
from bench._times import at_share
from config.policy_file import load_policy
from demo.processes import run_until_done
from demo.world import PROJECT, SITE_ID
from gate_agent.app import spare_collector
from offline_cache.database import Database
from offline_cache.lists import ListFile, ListShelf
from offline_cache.opening import FILE_NAME
from offline_cache.store import Store

TICKETS = 100_000
DECISIONS = 2_000
ROUNDS = 10
CLIENTS = 32
PAGE_BYTES = 4096
BARS = {
    "p50_over_disk": "<= 1.25 x overwrite p50 + 200 us",
    "p99_over_disk": "<= 1.5 x overwrite p99 + 1 ms",
    "cpu_ratio": "<= 1.8",
    "group_ratio": ">= 0.7",
}
POLICY = load_policy(PROJECT / "config" / "policies" / "default.toml")
Statement = tuple[int, str, Sequence[Any]]
"""On which connection, 0 the box's and 1 the list's; the text; the values."""


@dataclass(slots=True)
class Recorder:
    """Stands before a connection and notes what is executed through it."""

    connection: sqlite3.Connection
    number: int
    said: list[Statement]

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Execute, and note it."""
        self.said.append((self.number, sql, values))
        return self.connection.execute(sql, values)


@dataclass(slots=True)
class Box:
    """A box's memory with a list of tickets, and whoever shows them in turn."""

    database: Database
    store: Store
    shelf: ListShelf
    codes: Iterator[TicketCode]
    waits_ns: list[int] = field(default_factory=list)

    async def decide(self) -> None:
        """Let the next visitor in."""
        code = next(self.codes)
        at_ms = time.time_ns() // 1_000_000
        began_ns = time.perf_counter_ns()
        answer = await self.store.answer(
            Attempt(code, "1", at_ms, 0, "bench"), lambda facts: decide(code, facts, POLICY, at_ms)
        )
        self.waits_ns.append(time.perf_counter_ns() - began_ns)
        assert answer.admission_id is not None


async def measure(folder: Path) -> dict[str, Any]:
    """Return all parts with what they are compared with."""
    ids = [secrets.token_bytes(16) for _ in range(TICKETS)]
    statements = await _record(folder / "recorded", ids)
    spare_collector()  # as the agent does; here it would go through the recorded statements again and again
    alone = await _alone(folder / "alone", ids)
    cpu = await _cpu(folder / "cpu", ids, statements)
    group = await _group(folder / "group", ids, statements)
    return alone | cpu | group | {"statements_per_decision": len(statements[-1]), "bars": BARS}


@asynccontextmanager
async def _opened(folder: Path, ids: Sequence[bytes]) -> AsyncIterator[Box]:
    database = await Database.open(folder)
    shelf = ListShelf(folder / "lists", SITE_ID, database)
    part = shelf.new_part()
    await asyncio.to_thread(write_list, part, ids, 1)
    await shelf.install(part, 1, await asyncio.to_thread(sha256, part))
    store = Store(database, shelf, box_id="B1", site_id=SITE_ID, new_id=lambda: secrets.token_bytes(16))
    codes = (TicketCode(name, "DAY1", Validity(0, 1 << 40, 1)) for name in ids)
    try:
        yield Box(database, store, shelf, codes)
    finally:
        await shelf.close()
        await database.close()


async def _record(folder: Path, ids: Sequence[bytes]) -> list[list[Statement]]:
    """Return the statements of so many decisions."""
    found: list[list[Statement]] = []
    async with _opened(folder, ids) as box:
        listed = box.shelf.in_use
        assert isinstance(listed, ListFile)
        original = box.store._answer  # noqa: SLF001 - to stand before its connections

        def answer(sql: sqlite3.Connection, *arguments: Any) -> Answer:
            said: list[Statement] = []
            kept, listed._sql = listed._sql, Recorder(listed._sql, 1, said)  # type: ignore[assignment]  # noqa: SLF001
            try:
                return original(Recorder(sql, 0, said), *arguments)  # type: ignore[arg-type]
            finally:
                listed._sql = kept  # noqa: SLF001
                found.append(said)

        setattr(box.store, "_answer", answer)  # noqa: B010 - a method of this one store alone
        for _ in range(DECISIONS):
            await box.decide()
    return found


async def _alone(folder: Path, ids: Sequence[bytes]) -> dict[str, Any]:
    """Return one client's times beside those of one overwrite, in turn."""
    disk_ns: list[int] = []
    async with _opened(folder, ids) as box:
        descriptor = os.open(folder / "probe", os.O_RDWR | os.O_CREAT)
        os.pwrite(descriptor, bytes(PAGE_BYTES), 0)
        os.fsync(descriptor)
        for _ in range(DECISIONS):
            await box.decide()
            disk_ns.append(await asyncio.to_thread(_overwrite, descriptor))
        os.close(descriptor)
        waits_ns = box.waits_ns
    return {
        "decision_us": _summary(waits_ns),
        "overwrite_us": _summary(disk_ns),
        "p50_over_disk_us": round((at_share(waits_ns, 0.5) - 1.25 * at_share(disk_ns, 0.5)) / 1e3, 1),
        "p99_over_disk_us": round((at_share(waits_ns, 0.99) - 1.5 * at_share(disk_ns, 0.99)) / 1e3, 1),
    }


async def _cpu(folder: Path, ids: Sequence[bytes], statements: list[list[Statement]]) -> dict[str, Any]:
    """Return the processor's time of a decision and of its statements in plain sqlite3; neither waits for a disk."""
    ours: list[float] = []
    plain: list[float] = []
    async with _opened(folder / "ours", ids) as box:
        await box.database.read(lambda sql: sql.execute("PRAGMA synchronous = OFF"))
        async with _opened(folder / "plain", ids):
            pass
        with _plain(folder / "plain") as connections:
            connections[0].execute("PRAGMA synchronous = OFF")
            for some in _rounds(statements):
                began = time.process_time()
                for _ in some:
                    await box.decide()
                ours.append((time.process_time() - began) / len(some))
                began = time.process_time()
                for said in some:
                    _replay(connections, [said])
                plain.append((time.process_time() - began) / len(some))
    return {
        "cpu_us": round(median(ours) * 1e6, 1),
        "plain_cpu_us": round(median(plain) * 1e6, 1),
        "cpu_ratio": _ratio(ours, plain),
    }


async def _group(folder: Path, ids: Sequence[bytes], statements: list[list[Statement]]) -> dict[str, Any]:
    """Return the decisions a second of many clients, and of their statements in raw batches as large."""
    ours: list[float] = []
    raw: list[float] = []
    shared: list[float] = []
    async with _opened(folder / "ours", ids) as box:
        async with _opened(folder / "raw", ids):
            pass
        with _plain(folder / "raw") as connections:
            for some in _rounds(statements):
                groups = box.database.commits.groups
                began = time.perf_counter()
                await _together(box.decide, len(some))
                ours.append(len(some) / (time.perf_counter() - began))
                shared.append(len(some) / (box.database.commits.groups - groups))
                began = time.perf_counter()
                for first in range(0, len(some), CLIENTS):
                    _replay(connections, some[first : first + CLIENTS])
                raw.append(len(some) / (time.perf_counter() - began))
    return {
        "clients": CLIENTS,
        "decisions_per_commit": round(median(shared), 1),
        "group_per_s": round(median(ours)),
        "raw_batches_per_s": round(median(raw)),
        "group_ratio": _ratio(ours, raw),
    }


async def _together(work: Callable[[], Any], count: int) -> None:
    """Let so many clients share `count` turns."""

    async def client(turns: int) -> None:
        for _ in range(turns):
            await work()

    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(client(len(range(number, count, CLIENTS))))


@contextmanager
def _plain(folder: Path) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """The same files, opened by nothing but sqlite3."""
    box = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    (name,) = (folder / "lists").glob("*.list")
    listed = sqlite3.connect(f"{name.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    box.execute("PRAGMA synchronous = FULL")
    try:
        yield box, listed
    finally:
        listed.close()
        box.close()


def _replay(connections: tuple[sqlite3.Connection, sqlite3.Connection], batch: list[list[Statement]]) -> None:
    connections[0].execute("BEGIN IMMEDIATE")
    for said in batch:
        for number, sql, values in said:
            connections[number].execute(sql, values).fetchall()
    connections[0].execute("COMMIT")


def _rounds(statements: list[list[Statement]]) -> Iterator[list[list[Statement]]]:
    size = len(statements) // ROUNDS
    return (statements[first : first + size] for first in range(0, len(statements), size))


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the middle one of the rounds' ratios: a machine's speed changes from one moment to the next."""
    return round(median(our / their for our, their in zip(ours, theirs, strict=True)), 2)


def _overwrite(descriptor: int) -> int:
    began_ns = time.perf_counter_ns()
    os.pwrite(descriptor, secrets.token_bytes(PAGE_BYTES), 0)
    os.fdatasync(descriptor)
    return time.perf_counter_ns() - began_ns


def _summary(times_ns: Sequence[int]) -> dict[str, float]:
    return {f"p{share * 100:.0f}": round(at_share(times_ns, share) / 1e3, 1) for share in (0.5, 0.99)}


async def _run() -> dict[str, Any]:
    (PROJECT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECT / "var") as scratch:
        return await measure(Path(scratch))


if __name__ == "__main__":
    print(json.dumps(run_until_done(_run())))
