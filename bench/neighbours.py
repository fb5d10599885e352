"""From a use committed at one box to the same use known at its neighbour, over a real site broker.

Beside it, in the same run and in turn, what no link could do without: one message of the same size through the same
broker, and one small write with fdatasync on the same disk. Then how long decisions take while the neighbour tells
20,000 entries to a box that was off.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admission.answers import Decision, Spend
from admission.codes import TicketCode, Validity
from admission.facts import Attempt
from admission.keys import SigningKey, new_signing_key
from admission.reasons import Reason
from admission.tickets import Basis
from bench._times import at_share
from demo.processes import Child, find_program, free_port, until_listening
from demo.world import PROJECT, SITE_ID
from offline_cache.database import Database
from offline_cache.journal import Outbox
from offline_cache.lists import ListShelf
from offline_cache.neighbours import Batch, Neighbours, Taken
from offline_cache.store import Store
from sync.centre_link import BoxIdentity
from sync.mqtt import Broker, MqttLink
from sync.protocol import BoxTopics
from sync.site_link import SiteLink, Timepiece

ROUNDS = 400
PACE_S = 0.02
MESSAGE_BYTES = 330
"""About what one use makes as a signed batch."""
BACKLOG = 20_000
PROBE_EVERY_S = 0.005
SHARES = {"p50": 0.5, "p99": 0.99}


class Ear(Neighbours):
    """A box's memory of its neighbours that notes when something was taken in."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.taken_ns = 0
        self.taken = asyncio.Event()

    async def take(self, batch: Batch) -> Taken:
        """Take the batch, and note when that is committed."""
        taken = await super().take(batch)
        self.taken_ns = time.monotonic_ns()
        self.taken.set()
        return taken


@dataclass(frozen=True, slots=True)
class Box:
    """A box's memory and its link, which runs."""

    store: Store
    outbox: Outbox
    ear: Ear
    link: SiteLink


async def measure(folder: Path) -> dict[str, Any]:
    """Return the delay with its parts beside it, and decisions idle and during a neighbour's telling."""
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    broker = Child("mosquitto", [find_program("mosquitto"), "-c", str(config)], folder / "mosquitto.log")
    await broker.start()
    try:
        await until_listening("mosquitto", port)
        keys = {name: new_signing_key(Ed25519PrivateKey.generate(), demo=True) for name in ("B1", "B2")}
        async with box(folder, port, "B1", keys) as one:
            async with box(folder, port, "B2", keys) as two:
                report = await _measure_delay(folder, port, one, two)
            for _ in range(BACKLOG // 200):
                await asyncio.gather(*(_use(one) for _ in range(200)))
            return report | await _measure_decisions(folder, port, one, keys)
    finally:
        await broker.stop()


async def _measure_delay(folder: Path, port: int, one: Box, two: Box) -> dict[str, Any]:
    await _until_known(one, two)
    whole: list[float] = []
    raw: list[float] = []
    fsync: list[float] = []
    async with _raw(port) as round_trip:
        with (folder / "probe").open("wb") as probe:
            for number in range(ROUNDS):
                two.ear.taken.clear()
                await _use(one)
                committed_ns = time.monotonic_ns()
                one.link.wake()
                await two.ear.taken.wait()
                whole.append((two.ear.taken_ns - committed_ns) / 1e6)
                raw.append(await round_trip.measure())
                began_ns = time.monotonic_ns()
                os.pwrite(probe.fileno(), number.to_bytes(8) * 512, 0)
                os.fdatasync(probe.fileno())
                fsync.append((time.monotonic_ns() - began_ns) / 1e6)
                await asyncio.sleep(PACE_S)
    parts_ms = at_share(raw, 0.5) + at_share(fsync, 0.5)
    return {
        "uses": len(whole),
        "commit_to_neighbour_ms": {share: at_share(whole, at) for share, at in SHARES.items()},
        "raw_mqtt_ms": {share: at_share(raw, at) for share, at in SHARES.items()},
        "fdatasync_p50_ms": at_share(fsync, 0.5),
        "ratio_to_raw_mqtt_p50": round(at_share(whole, 0.5) / at_share(raw, 0.5), 2),
        "ratio_to_parts_p50": round(at_share(whole, 0.5) / parts_ms, 2),
    }


async def _measure_decisions(
    folder: Path, port: int, one: Box, keys: dict[str, SigningKey]
) -> dict[str, Any]:
    """Let the second box decide in step, first left alone and then while it hears what it missed."""
    async with box(folder, port, "B2", keys, is_linked=False) as two:
        idle = [await _timed_use(two) for _ in range(ROUNDS)]
    busy: list[float] = []
    async with box(folder, port, "B2", keys) as two:
        began = time.monotonic()
        head = await one.outbox.ledger_head()
        while (await two.ear.heard("B1")).seq_no < head.seq_no:
            busy.append(await _timed_use(two))
        seconds = time.monotonic() - began
    return {
        "entries_caught_up": BACKLOG,
        "catch_up_s": round(seconds, 2),
        "decision_idle_ms": {share: at_share(idle, at) for share, at in SHARES.items()},
        "decision_meanwhile_ms": {share: at_share(busy, at) for share, at in SHARES.items()},
        "ratio_meanwhile_to_idle_p99": round(at_share(busy, 0.99) / at_share(idle, 0.99), 2),
    }


async def _timed_use(box: Box) -> float:
    await asyncio.sleep(PROBE_EVERY_S)
    began_ns = time.monotonic_ns()
    await _use(box)
    return (time.monotonic_ns() - began_ns) / 1e6


async def _use(box: Box) -> None:
    key = secrets.token_bytes(16)
    spend = Spend(key, Basis.TICKET, keep_until_s=1 << 40)
    credential = TicketCode(key, "DAY1", Validity(0, 1 << 40, 0))
    await box.store.answer(Attempt(credential, "1", 0, 0, "bench"), lambda _: Decision(Reason.TICKET, spend))


async def _until_known(one: Box, two: Box) -> None:
    async with asyncio.timeout(10):
        while (await two.ear.heard("B1")).seq_no < (await one.outbox.ledger_head()).seq_no:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def box(
    folder: Path, port: int, box_id: str, keys: dict[str, SigningKey], *, is_linked: bool = True
) -> AsyncIterator[Box]:
    """Open a box, and run its link."""
    database = await Database.open(folder / box_id)
    shelf = ListShelf(folder / box_id / "lists", SITE_ID, database)
    store = Store(database, shelf, box_id=box_id, site_id=SITE_ID, new_id=lambda: secrets.token_bytes(16))
    await store.open_epoch(secrets.token_bytes(8), 0)
    outbox, ear = Outbox(database), Ear(database)
    link = SiteLink(
        Broker(host="127.0.0.1", port=port, client_id=f"side-{box_id}"),
        BoxIdentity(BoxTopics(SITE_ID, box_id), keys[box_id], "bench"),
        [(name, key.public) for name, key in keys.items() if name != box_id],
        outbox,
        ear,
        Timepiece(time.monotonic, lambda: None, lambda _: None),
        lambda: 0.0,
    )
    running = asyncio.create_task(link.run()) if is_linked else None
    try:
        yield Box(store, outbox, ear, link)
    finally:
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))
        await database.close()


class RoundTrip:
    """A message through the broker to another connection of the same kind."""

    def __init__(self, port: int) -> None:
        self._heard = asyncio.Event()
        self._up = asyncio.Semaphore(0)
        self._speaker = self._link(port, "speaker", ())
        self._listener = self._link(port, "listener", ("raw",))

    async def run(self) -> None:
        """Stay connected."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._speaker.run())
            tasks.create_task(self._listener.run())

    async def until_up(self) -> None:
        """Return once both ends are connected."""
        await self._up.acquire()
        await self._up.acquire()

    async def measure(self) -> float:
        """Return how long one message takes, ms."""
        self._heard.clear()
        began_ns = time.monotonic_ns()
        self._speaker.publish("raw", secrets.token_bytes(MESSAGE_BYTES))
        await self._heard.wait()
        return (time.monotonic_ns() - began_ns) / 1e6

    def _link(self, port: int, name: str, topics: tuple[str, ...]) -> MqttLink:
        return MqttLink(
            Broker(host="127.0.0.1", port=port, client_id=name),
            subscriptions=topics or ("none",),
            on_message=lambda _topic, _payload: self._heard.set(),
            on_up=self._up.release,
            random=lambda: 0.0,
        )


@asynccontextmanager
async def _raw(port: int) -> AsyncIterator[RoundTrip]:
    round_trip = RoundTrip(port)
    running = asyncio.create_task(round_trip.run())
    try:
        await round_trip.until_up()
        yield round_trip
    finally:
        running.cancel()
        await asyncio.wait((running,))


if __name__ == "__main__":
    (PROJECT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECT / "var") as scratch:
        print(json.dumps(asyncio.run(measure(Path(scratch)))))
