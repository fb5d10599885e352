"""What a visitor notices while the lists move: decisions idle, beside a differential of 10,000 rows, beside a new list.

A steady stream of scans is decided and committed; the times with something going on stand beside idle ones of the same
run, before and after. The new list of 400,000 tickets is fetched from another process. How soon a refund reaches a
box is timed by bench/refund.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admission.changes import ListChanges, TicketRow, pieces, with_rows
from admission.codes import TicketCode, Validity
from admission.decision import decide
from admission.facts import Attempt
from admission.keys import SigningKey, new_signing_key
from admission.tickets import Outcome, TicketStatus
from bench._lists import LIST_REVISION, sha256, write_list
from bench._times import at_share, summed_up
from config.policy_file import load_policy
from demo.processes import run_until_done
from demo.world import PROJECT, SITE_ID
from gate_agent.app import spare_collector
from offline_cache.database import Database
from offline_cache.lists import ListShelf
from offline_cache.overlay import Overlay
from offline_cache.store import Store
from sync.changes import ChangeFeed
from sync.downlink import Downlink
from sync.fetch import Fetcher
from sync.protocol import (
    CHANGES_PER_MESSAGE,
    LIST_FORMAT,
    ListManifest,
    encode_changes,
    encode_manifest,
)

TICKETS = 400_000
CHANGED = 10_000
SCAN_EVERY_S = 0.004
IDLE_S = 4.0
ROUNDS = 5
"""So often each is done: the worst one in a hundred decisions is to be seen, and not only chance."""
POLICY = load_policy(PROJECT / "config" / "policies" / "default.toml")
SERVER = """
import asyncio, sys
from pathlib import Path
from aiohttp import web
from central.web.ranges import send_file
async def serve(request):
    return await send_file(request, Path(sys.argv[1]), '"list"', "application/vnd.sqlite3")
async def main():
    app = web.Application()
    app.router.add_get("/list", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@dataclass(slots=True)
class Scans:
    """A stream of scans and how long each waited for its committed decision, milliseconds."""

    store: Store
    codes: Sequence[TicketCode]
    waits_ms: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """Decide one scan after the other at a steady pace, until cancelled."""
        number = 0
        while True:
            due_s = time.monotonic() + SCAN_EVERY_S
            await self._scan(self.codes[number % len(self.codes)])
            number += 1
            await asyncio.sleep(max(0, due_s - time.monotonic()))

    async def _scan(self, code: TicketCode) -> None:
        at_ms = time.time_ns() // 1_000_000
        began_ns = time.perf_counter_ns()
        answer = await self.store.answer(
            Attempt(code, "1", at_ms, 0, "bench"), lambda facts: decide(code, facts, POLICY, at_ms)
        )
        self.waits_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
        if answer.admission_id is not None:
            await self.store.close_admission(answer.admission_id, Outcome.PASSED, at_ms)

    def take(self) -> list[float]:
        """Return the times since the last look."""
        waits_ms, self.waits_ms = self.waits_ms, []
        return waits_ms


async def measure(folder: Path) -> dict[str, Any]:
    """Return decision times idle, beside changes and beside a new list, with their ratios."""
    key = new_signing_key(Ed25519PrivateKey.generate(), demo=True)
    ids = [secrets.token_bytes(16) for _ in range(TICKETS)]
    await asyncio.to_thread(write_list, folder / "small", ids[:1000], 1)
    await asyncio.to_thread(write_list, folder / "large", ids, 2)
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", SERVER, str(folder / "large"), stdout=asyncio.subprocess.PIPE
    )
    database = await Database.open(folder / "box")
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(await server.stdout.readline())}"
        return await _measure(folder, database, key, ids, url)
    finally:
        server.terminate()
        await server.wait()
        await database.close()


async def _measure(
    folder: Path, database: Database, key: SigningKey, ids: list[bytes], url: str
) -> dict[str, Any]:
    shelf = ListShelf(folder / "lists", SITE_ID, database)
    overlay = Overlay(SITE_ID, database, lambda: shelf.revision)
    store = Store(database, shelf, box_id="B1", site_id=SITE_ID, new_id=lambda: secrets.token_bytes(16))
    await overlay.load()
    await asyncio.to_thread((folder / "small").rename, part := shelf.new_part())
    await shelf.install(part, 1, await asyncio.to_thread(sha256, part))
    keys = {key.key_id: key.public.key}
    fetcher = Fetcher(url)
    feed = ChangeFeed(overlay, fetcher.get, SITE_ID, keys.get, lambda: 0.0)
    downlink = Downlink(shelf, fetcher.fetch, SITE_ID, keys.get, lambda: 0.0)
    spare_collector()  # as the agent does when it is ready
    scans = Scans(store, [TicketCode(name, "DAY1", Validity(0, 1 << 40, 1)) for name in ids[:1000]])
    tasks = [asyncio.create_task(work) for work in (scans.run(), feed.run(), downlink.run())]
    try:
        return await _compare(scans, folder, key, feed, overlay, downlink, shelf, ids)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await shelf.close()


async def _compare(
    scans: Scans,
    folder: Path,
    key: SigningKey,
    feed: ChangeFeed,
    overlay: Overlay,
    downlink: Downlink,
    shelf: ListShelf,
    ids: list[bytes],
) -> dict[str, Any]:
    await _idle(scans)
    idle_ms: list[float] = []
    changes_ms: list[float] = []
    swap_ms: list[float] = []
    applied_s = swapped_s = 0.0
    for number in range(1, ROUNDS + 1):
        first = LIST_REVISION + (number - 1) * CHANGED
        payloads = await asyncio.to_thread(_differential, ids, key, first)
        idle_ms += await _idle(scans)

        async def is_applied(last: int = first + CHANGED) -> bool:
            return await overlay.position() >= last

        began_s = time.monotonic()
        for payload in payloads:
            feed.receive(payload)
        await _until(is_applied)
        applied_s += time.monotonic() - began_s
        changes_ms += scans.take()
    for number in range(2, ROUNDS + 2):
        manifest = await asyncio.to_thread(_renew, folder / "large", number, key)
        idle_ms += await _idle(scans)

        async def is_swapped(version: int = number) -> bool:
            return shelf.version == version

        began_s = time.monotonic()
        downlink.receive(manifest)
        await _until(is_swapped)
        swapped_s += time.monotonic() - began_s
        swap_ms += scans.take()
    idle_p99 = at_share(idle_ms, 0.99)
    return {
        "rows": CHANGED,
        "tickets": TICKETS,
        "applied_s": round(applied_s / ROUNDS, 2),
        "swapped_s": round(swapped_s / ROUNDS, 2),
        "idle_ms": summed_up(idle_ms),
        "while_applying_ms": summed_up(changes_ms),
        "while_swapping_ms": summed_up(swap_ms),
        "ratio_p99_applying": round(at_share(changes_ms, 0.99) / idle_p99, 2),
        "ratio_p99_swapping": round(at_share(swap_ms, 0.99) / idle_p99, 2),
    }


async def _idle(scans: Scans) -> list[float]:
    """Return the decision times of a while in which nothing else goes on."""
    scans.take()
    await asyncio.sleep(IDLE_S)
    return scans.take()


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await is_so():
            await asyncio.sleep(0.05)


def _differential(ids: list[bytes], key: SigningKey, first: int) -> list[bytes]:
    """Return the messages of 10,000 tickets that changed, as the centre tells them."""
    rows = tuple(
        TicketRow(first + n, name, "DAY1", 1000, 0, 0, 1 << 40, TicketStatus.VALID)
        for n, name in enumerate(ids[:CHANGED], 1)
    )
    return [
        encode_changes(
            with_rows(
                ListChanges(
                    site_id=SITE_ID, from_revision=piece[0].revision - 1, to_revision=piece[-1].revision
                ),
                piece,
            ),
            key,
        )
        for piece in pieces(rows, CHANGES_PER_MESSAGE)
    ]


def _renew(path: Path, version: int, key: SigningKey) -> bytes:
    """Make the list at `path` one of another version and return its manifest."""
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("UPDATE meta SET value = ? WHERE name = 'version'", (version,))
        sql.commit()
    manifest = ListManifest(
        format=LIST_FORMAT,
        site_id=SITE_ID,
        version=version,
        as_of_s=1,
        sha256=sha256(path),
        size_bytes=path.stat().st_size,
        path="/list",
        revision=LIST_REVISION,
    )
    return encode_manifest(manifest, key)


async def _run() -> dict[str, Any]:
    (PROJECT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECT / "var") as scratch:
        os.sync()
        return await measure(Path(scratch))


if __name__ == "__main__":
    print(json.dumps(run_until_done(_run())))
