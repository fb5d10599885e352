"""A week without a network and one with it: how large the box's memory gets, and whether a long one makes it slower.

`make bench-week`, or with less: `python -m bench.week --admissions 4800`. Every day 48,000 visitors come on tickets of
seven days, each with an admission and a passage in the ledger, and one in twenty is refused. In the first week nothing
is confirmed; in the second the centre confirms everything at night. What may be forgotten is forgotten every ten
minutes of a day, as on a box. One JSON object: the decisions of one client on the last day without a network stand
beside those on the first, and what opening the memory takes beside reading its file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from admission.answers import Decision
from admission.codes import Rejected, TicketCode, Validity
from admission.decision import decide
from admission.facts import Attempt
from admission.reasons import Reason
from admission.tickets import Outcome
from bench._lists import FAR_S, sha256, write_list
from bench._times import summed_up
from config.policy_file import load_policy
from demo.processes import run_until_done
from demo.world import PROJECT, SITE_ID
from gate_agent.app import spare_collector
from offline_cache.database import Database
from offline_cache.journal import Outbox
from offline_cache.lists import ListShelf
from offline_cache.opening import FILE_NAME, LOG_NAME, connect_in
from offline_cache.retention import prune
from offline_cache.store import Store

POLICY = load_policy(PROJECT / "config" / "policies" / "default.toml")
WEEK = 7
ADMISSIONS = 48_000
SAMPLED = 1_000
"""So many of a day's visitors come alone, to be measured."""
REFUSED_EVERY = 20
CLIENTS = 32
STEPS = 84
"""The ten minutes of fourteen hours."""
STEP_MS = 600_000
DAY_MS = 24 * 3_600_000
MONDAY_MS = 1_782_691_200_000
"""2026-06-29, 08:00 at the site."""
_BARS = {"memory_mb": 500, "late_to_early": 1.25}


@dataclass(slots=True)
class Box:
    """A box's memory, and the visitors who come in their turn."""

    folder: Path
    database: Database
    store: Store
    codes: Iterator[TicketCode]
    log_bytes: int = 0
    forgetting_ms: list[float] = field(default_factory=list)

    async def visit(self, at_ms: int) -> float:
        """Let the next visitor in and through; return how long the answer took, in microseconds."""
        code = next(self.codes)
        attempt = Attempt(code, "1", at_ms, POLICY.day_start_ms(at_ms), POLICY.version)
        began_ns = time.perf_counter_ns()
        answer = await self.store.answer(attempt, lambda facts: decide(code, facts, POLICY, at_ms))
        took_us = (time.perf_counter_ns() - began_ns) / 1e3
        assert answer.admission_id is not None, answer
        await self.store.close_admission(answer.admission_id, Outcome.PASSED, at_ms)
        return took_us

    async def refuse(self, at_ms: int) -> None:
        """Answer somebody's payment code."""
        attempt = Attempt(Rejected(Reason.NOT_A_TICKET, ""), "1", at_ms, 0, POLICY.version)
        await self.store.answer(attempt, lambda _: Decision(Reason.NOT_A_TICKET))

    async def live_a_day(self, day: int, admissions: int) -> list[float]:
        """Let a day's visitors come, many at once, and the last ones alone; return how long those waited."""
        each = (admissions - SAMPLED) // STEPS
        for step in range(STEPS):
            at_ms = MONDAY_MS + day * DAY_MS + step * STEP_MS
            async with asyncio.TaskGroup() as tasks:
                for first in range(CLIENTS):
                    tasks.create_task(self._come(range(first, each, CLIENTS), at_ms))
            self.log_bytes = max(self.log_bytes, size_of(self.folder / LOG_NAME))
            await self._forget(at_ms)
        evening_ms = MONDAY_MS + day * DAY_MS + STEPS * STEP_MS
        return [await self.visit(evening_ms) for _ in range(SAMPLED)]

    async def _come(self, turns: range, at_ms: int) -> None:
        for number in turns:
            await self.visit(at_ms)
            if number % REFUSED_EVERY == 0:
                await self.refuse(at_ms)

    async def _forget(self, now_ms: int) -> None:
        """Forget all that may be, and note how long a visitor would have waited behind each piece."""
        is_more = True
        while is_more:
            began_ns = time.perf_counter_ns()
            is_more = bool(await prune(self.database, now_ms))
            if is_more:
                self.forgetting_ms.append((time.perf_counter_ns() - began_ns) / 1e6)

    async def confirm(self) -> None:
        """Let the centre have everything."""
        outbox = Outbox(self.database)
        head = await outbox.ledger_head()
        assert await outbox.confirm_ledger("bench", head.seq_no, head.hash)
        await outbox.confirm_diary(await outbox.diary_backlog() + (await outbox.confirmed()).diary_number)


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


async def measure(folder: Path, admissions: int) -> dict[str, Any]:
    """Return what a week offline and one online made of the memory."""
    path = folder / FILE_NAME
    async with _opened(folder, admissions) as box:
        offline = [await box.live_a_day(day, admissions) for day in range(WEEK)]
        ledger, diary = await box.database.read(_count)
        memory_bytes = _memory_bytes(path)
        for day in range(WEEK, 2 * WEEK):
            await box.confirm()
            await box.live_a_day(day, admissions)
        online_bytes = _memory_bytes(path)
    early, late = summed_up(offline[0]), summed_up(offline[-1])
    return {
        "events": ledger,
        "refusals": diary,
        "memory_mb": _mb(memory_bytes),
        "bytes_per_event": round(memory_bytes / ledger),
        "memory_mb_online": _mb(online_bytes),
        "log_mb": _mb(box.log_bytes),
        "first_day_us": early,
        "last_day_us": late,
        "late_to_early": round(late["p50"] / early["p50"], 2),
        "forgetting_ms": summed_up(box.forgetting_ms),
        **await asyncio.to_thread(_opening, folder),
        "bars": _BARS,
    }


@asynccontextmanager
async def _opened(folder: Path, admissions: int) -> AsyncIterator[Box]:
    ids = [secrets.token_bytes(16) for _ in range(2 * WEEK * admissions)]
    day_of = {name: number // admissions for number, name in enumerate(ids)}
    database = await Database.open(folder)
    shelf = ListShelf(folder / "lists", SITE_ID, database)
    try:
        part = shelf.new_part()
        await asyncio.to_thread(
            write_list, part, ids, 1, lambda name: (MONDAY_MS + (day_of[name] + WEEK) * DAY_MS) // 1000
        )
        await shelf.install(part, 1, await asyncio.to_thread(sha256, part))
        store = Store(database, shelf, box_id="B1", site_id=SITE_ID, new_id=lambda: secrets.token_bytes(16))
        spare_collector()
        codes = (TicketCode(name, "DAY1", Validity(0, FAR_S, 1)) for name in ids)
        yield Box(folder, database, store, codes)
    finally:
        await shelf.close()
        await database.close()


def _count(sql: sqlite3.Connection) -> tuple[int, int]:
    ledger, diary = sql.execute(
        "SELECT (SELECT COUNT(*) FROM ledger), (SELECT COUNT(*) FROM diary)"
    ).fetchone()
    return ledger, diary


def _memory_bytes(path: Path) -> int:
    """Return what the file and its log take."""
    return size_of(path) + size_of(path.with_name(LOG_NAME))


def _opening(folder: Path) -> dict[str, float]:
    """Return how long the memory takes to open, its check included, and its file to be read."""
    began_s = time.perf_counter()
    (folder / FILE_NAME).read_bytes()
    read_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    connect_in(folder).close()
    open_s = time.perf_counter() - began_s
    return {"read_s": round(read_s, 2), "open_s": round(open_s, 2)}


def _mb(size_bytes: int) -> float:
    return round(size_bytes / 1e6, 1)


async def _run(admissions: int) -> dict[str, Any]:
    (PROJECT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECT / "var") as scratch:
        return await measure(Path(scratch), admissions)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--admissions", type=int, default=ADMISSIONS, help="how many visitors come every day")
    print(json.dumps(run_until_done(_run(parser.parse_args().admissions))))
