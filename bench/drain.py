"""What comes after a day without the network: 100,000 ledger entries from a box to the centre's last receipt.

Real Mosquitto and a real centre on loopback, the box's own memory and uplink. Beside it, in the same run: the naive
loop that reads one entry, publishes it, waits for the broker and deletes it, and the centre's own bulk insert of the
same rows. Then, while as many again drain, how long decisions take, against idle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import insert

from admission.answers import Decision, Spend
from admission.codes import TicketCode, Validity
from admission.events import Admitted, Closed
from admission.facts import Attempt
from admission.keys import SigningKey, new_signing_key, public_key_text
from admission.reasons import Reason
from admission.tickets import Basis, Outcome, Risk
from bench._times import at_share, summed_up
from central.keys import create_keys
from central.schema import ledger
from central.store import open_store
from demo.processes import Child, find_program, free_port, python, run_until_done, until_listening
from demo.world import PROJECT, SITE_ID
from offline_cache.database import Database
from offline_cache.journal import Outbox, append
from offline_cache.lists import ListShelf
from offline_cache.store import Store
from sync.mqtt import Broker, MqttLink
from sync.protocol import BoxTopics
from sync.uplink import Uplink

ENTRIES = 100_000
AT_ONCE = 500
NAIVE = 1_000
BULK_ROWS = 6_400
IDLE_S = 4.0
DECIDE_EVERY_S = 0.005
BOX_ID = "B1"
BARS = {
    "ratio_naive": ">= 100",
    "ratio_bulk": ">= 0.5",
    "box_cpu_us_per_entry": "<= 5",
    "bytes_per_entry": "<= 60",
    "ratio_p99_live": "<= 1.5",
}


@dataclass(slots=True)
class Box:
    """A box's memory and the link to the centre, which the benchmark starts when it likes."""

    database: Database
    store: Store
    outbox: Outbox
    port: int
    key: SigningKey
    sent_bytes: int = 0
    wake: Callable[[], None] = lambda: None

    async def fill(self, entries: int) -> None:
        """Record admissions and passages, as a day without the network leaves them."""
        for first in range(0, entries, AT_ONCE):
            await self.database.write(lambda sql, n=first: _append(sql, n), durable=False)  # type: ignore[misc]

    async def drain(self) -> float:
        """Send everything that is there now and return how long its last receipt took, seconds."""
        last = (await self.outbox.ledger_head()).seq_no
        began_s = time.monotonic()
        async with self._link():
            while (await self.outbox.confirmed()).seq_no < last:
                await asyncio.sleep(0.02)
        return time.monotonic() - began_s

    @asynccontextmanager
    async def _link(self) -> AsyncIterator[None]:
        topics = BoxTopics(SITE_ID, BOX_ID)

        def publish(topic: str, payload: bytes) -> bool:
            self.sent_bytes += len(payload)
            return link.publish(topic, payload)

        uplink = Uplink(self.outbox, publish, topics, self.key)
        link = MqttLink(
            Broker(host="127.0.0.1", port=self.port, client_id=f"box-{BOX_ID}"),
            subscriptions=(topics.receipt,),
            on_message=lambda _, payload: uplink.receive(payload),
            on_up=uplink.restart,
            random=lambda: 0.0,
        )
        self.wake = uplink.wake
        tasks = [asyncio.create_task(work) for work in (uplink.run(), link.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def decide(self) -> float:
        """Let one visitor in and return how long the committed decision took, ms."""
        key = secrets.token_bytes(16)
        spend = Spend(key, Basis.TICKET, keep_until_s=1 << 40)
        attempt = Attempt(TicketCode(key, "DAY1", Validity(0, 1 << 40, 0)), "1", 0, 0, "bench")
        began_ns = time.perf_counter_ns()
        await self.store.answer(attempt, lambda _: Decision(Reason.TICKET, spend))
        took_ms = (time.perf_counter_ns() - began_ns) / 1e6
        self.wake()
        return took_ms


def _append(sql: sqlite3.Connection, first: int) -> None:
    at_ms = 1_782_000_000_000 + first * 50
    for number in range(0, AT_ONCE, 2):
        admission_id = secrets.token_bytes(16)
        key = secrets.token_bytes(16)
        admitted = Admitted(
            admission_id,
            key,
            Basis.TICKET,
            "",
            str(number % 8),
            1,
            0,
            Risk.NONE,
            at_ms // 1000 + 40_000,
            7,
            "2026.1",
        )
        append(sql, at_ms + number * 50, admitted)
        append(sql, at_ms + number * 50 + 3000, Closed(admission_id, Outcome.PASSED))


async def measure(folder: Path, entries: int) -> dict[str, Any]:
    """Return rates, costs and delays with what they are compared with."""
    port, http_port = free_port(), free_port()
    async with _programs(folder, port, http_port), _opened(folder, port) as box:
        await _register(http_port, box.key)
        naive = await asyncio.to_thread(_naive, folder / "naive.db", port)
        await box.store.open_epoch(secrets.token_bytes(8), 0)
        await box.fill(entries)
        say(f"{entries} entries recorded")
        began_cpu = time.process_time()
        seconds = await box.drain()
        cpu_s = time.process_time() - began_cpu
        say(f"drained in {seconds:.1f} s")
        told = await _told(http_port)
        rows = await box.database.read(
            lambda sql: sql.execute("SELECT seq_no, entry, hash FROM ledger").fetchall()
        )
        bulk = await asyncio.to_thread(_bulk, folder / "bulk.db", rows)
        report = {
            "entries": len(rows),
            "drain_s": round(seconds, 2),
            "entries_per_s": round(len(rows) / seconds),
            "naive_per_s": round(naive),
            "bulk_per_s": round(bulk),
            "ratio_naive": round(len(rows) / seconds / naive, 1),
            "ratio_bulk": round(len(rows) / seconds / bulk, 2),
            "box_cpu_us_per_entry": round(cpu_s / len(rows) * 1e6, 2),
            "bytes_per_entry": round(box.sent_bytes / len(rows), 1),
            "lost": len(rows) - told,
        }
        return report | await _live(box, entries) | {"bars": BARS}


async def _live(box: Box, entries: int) -> dict[str, Any]:
    """Return how long decisions take idle, and while a backlog drains."""
    await box.fill(entries)
    say(f"{entries} more entries recorded; now with decisions meanwhile")
    idle = await _decisions(box, asyncio.create_task(asyncio.sleep(IDLE_S)))
    meanwhile = await _decisions(box, asyncio.create_task(box.drain()))
    return {
        "idle_ms": summed_up(idle),
        "while_draining_ms": summed_up(meanwhile),
        "ratio_p99_live": round(at_share(meanwhile, 0.99) / at_share(idle, 0.99), 2),
    }


async def _decisions(box: Box, until: asyncio.Task[Any]) -> list[float]:
    """Return the times of decisions at a steady pace until the task is done."""
    times: list[float] = []
    while not until.done():
        due_s = time.monotonic() + DECIDE_EVERY_S
        times.append(await box.decide())
        await asyncio.sleep(max(0, due_s - time.monotonic()))
    await until
    return times


@asynccontextmanager
async def _opened(folder: Path, port: int) -> AsyncIterator[Box]:
    database = await Database.open(folder / "box")
    shelf = ListShelf(folder / "lists", SITE_ID, database)
    store = Store(database, shelf, box_id=BOX_ID, site_id=SITE_ID, new_id=lambda: secrets.token_bytes(16))
    key = new_signing_key(Ed25519PrivateKey.generate(), demo=True)
    try:
        yield Box(database, store, Outbox(database), port, key)
    finally:
        await database.close()


@asynccontextmanager
async def _programs(folder: Path, port: int, http_port: int) -> AsyncIterator[None]:
    """Run a broker and a centre."""
    config, settings = folder / "mosquitto.conf", folder / "centre.toml"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    create_keys(folder / "keys", demo=True)
    policy = PROJECT / "config" / "policies" / "default.toml"
    settings.write_text(f"""
profile = "demo"
store = "centre.db"
lists = "centre-lists"
keys = "keys"
policy = "{policy}"
[broker]
host = "127.0.0.1"
port = {port}
client_id = "centre"
[http]
port = {http_port}
""")
    broker = Child("mosquitto", [find_program("mosquitto"), "-c", str(config)], folder / "mosquitto.log")
    centre = Child("centre", python("central", "run", str(settings)), folder / "centre.log")
    await broker.start()
    try:
        await until_listening("mosquitto", port)
        await centre.start()
        await until_listening("the centre", http_port)
        yield
    finally:
        await centre.stop()
        await broker.stop()


async def _register(http_port: int, key: SigningKey) -> None:
    row = {"box_id": BOX_ID, "site_id": SITE_ID, "public_key": public_key_text(key.public)}
    url = f"http://127.0.0.1:{http_port}/v1/imports/boxes"
    async with aiohttp.ClientSession() as session, session.post(url, json=[row]) as response:
        assert response.status == 200, await response.text()


async def _told(http_port: int) -> int:
    """Return up to which number the centre holds the box's ledger."""
    url = f"http://127.0.0.1:{http_port}/v1/summary"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        summary = await response.json()
    (box,) = [box for box in summary["boxes"] if box["box_id"] == BOX_ID]
    return int(box["events_received"])


def _naive(path: Path, port: int) -> float:
    """Return the entries a second of a loop that reads, publishes, waits for the broker, and deletes."""
    sql = sqlite3.connect(path, isolation_level=None)
    sql.execute("PRAGMA journal_mode = WAL")
    sql.execute("PRAGMA synchronous = FULL")
    sql.execute("CREATE TABLE outbox (number INTEGER PRIMARY KEY, entry BLOB)")
    sql.executemany(
        "INSERT INTO outbox (entry) VALUES (?)", [(secrets.token_bytes(90),) for _ in range(NAIVE)]
    )
    client = Client(CallbackAPIVersion.VERSION2, client_id="naive")
    client.connect("127.0.0.1", port)
    client.loop_start()
    began_s = time.monotonic()
    while row := sql.execute("SELECT number, entry FROM outbox ORDER BY number LIMIT 1").fetchone():
        client.publish("naive/entries", row[1], qos=1).wait_for_publish(10)
        sql.execute("DELETE FROM outbox WHERE number = ?", (row[0],))
    seconds = time.monotonic() - began_s
    client.disconnect()
    client.loop_stop()
    sql.close()
    return NAIVE / seconds


def _bulk(path: Path, rows: Sequence[tuple[int, bytes, bytes]]) -> float:
    """Return the rows a second that the centre's store takes when they are simply there."""
    store = open_store(path)
    records = [
        {
            "box_id": BOX_ID,
            "seq_no": seq_no,
            "site_id": SITE_ID,
            "epoch": bytes(8),
            "entry": entry,
            "hash": digest,
        }
        for seq_no, entry, digest in rows
    ]
    began_s = time.monotonic()
    for first in range(0, len(records), BULK_ROWS):
        with store._engine.begin() as connection:  # noqa: SLF001 - as fast as it can be had
            connection.execute(insert(ledger), records[first : first + BULK_ROWS])
    seconds = time.monotonic() - began_s
    store.close()
    return len(records) / seconds


def say(what: str) -> None:
    """Tell whoever waits how far it is."""
    print(f"bench: {what}", file=sys.stderr, flush=True)


async def _run(entries: int) -> dict[str, Any]:
    (PROJECT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECT / "var") as scratch:
        os.sync()
        return await measure(Path(scratch), entries)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    print(json.dumps(run_until_done(_run(parser.parse_args().entries))))
