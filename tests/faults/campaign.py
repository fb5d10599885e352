"""Faults without mercy: agent, broker and centre die with -9 or stand still, cables fail, the box's disk fills up.

`make faults AGENT_KILLS=1000 BROKER_KILLS=200 CENTRE_KILLS=100 OTHERS=30` plays it whole. The last line is one JSON
object; the status is 1 when the barrier opened for anybody whom the centre does not know (lost), twice for one ticket
(doubled), or without a record on the box (unrecorded). What the barrier did is kept by a witness that knows nothing of
ours; its raw log and both memories stay in var/faults, so that anybody can look again. Disks fill up where the user
may mount a small one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from central.keys import create_keys
from demo.processes import free_port
from demo.world import PROJECT
from simulator.proxy import Proxy
from tests.central.programs import Centre, Mosquitto
from tests.contracts.site import PRODUCT, TOKEN, BoxProgram, new_box, write_centre_settings
from tests.faults import barrier
from tests.support.small_disk import fill, mount, unmount

TICKETS_PER_SALE = 10_000
KILLS_PER_SALE = 300
PACE_S = 0.1
BETWEEN_S = (0.2, 1.2)
AGREE_S = 120.0
ANSWER_S = 5.0
PAUSE = "stop "
PAUSE_S = (0.5, 4.0)
CABLE_FAULTS = ("late", "half open", "torn", "reset")
CABLE_S = (0.3, 5.0)
FULL_DISK = "full disk"
FULL_S = (1.0, 4.0)
DISK_MIB = 400


@dataclass(slots=True)
class Street:
    """Everything that runs, and the log of who went in."""

    folder: Path
    broker: Mosquitto
    cable: Proxy
    """Between the box and the broker."""
    centre: Centre
    box: BoxProgram
    witness: subprocess.Popen[bytes]
    log: Path
    has_small_disk: bool
    codes: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    turned_away: list[str] = field(default_factory=list)
    visitors: int = 0
    _seen: dict[str, list[str]] = field(default_factory=lambda: {"opened": [], "passed": []})
    _read_bytes: int = 0

    def facts(self, what: str) -> list[str]:
        """The admissions of which the witness saw this, in order."""
        if self.log.exists():
            with self.log.open("rb") as file:
                file.seek(self._read_bytes)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read_bytes += len(whole)
            for fact in map(json.loads, whole.splitlines()):
                self._seen[fact["what"]].append(fact["admission_id"])
        return self._seen[what]

    def opened(self) -> int:
        """How often the barrier has opened."""
        return len(self.facts("opened"))


async def lay_cable(folder: Path) -> tuple[Mosquitto, Proxy]:
    """Start the broker, and the cable from it to the box."""
    broker = Mosquitto(folder)
    await asyncio.to_thread(broker.start)
    cable = Proxy(0, "127.0.0.1", broker.port)
    await cable.start()
    return broker, cable


def build(folder: Path, broker: Mosquitto, cable: Proxy) -> Street:
    """Start the witness, the centre and the box."""
    keys = create_keys(folder / "keys", demo=True)
    write_centre_settings(folder, broker.port, http_port=free_port())
    centre = Centre(folder / "centre.toml")
    centre.start()
    controller, log = free_port(), folder / "witness.jsonl"
    witness = subprocess.Popen([sys.executable, "-I", barrier.__file__, str(controller), str(log)])
    (folder / "box").mkdir()
    problem = mount(folder / "box" / "state", DISK_MIB)
    if problem:
        print(f"faults: no disk fills up: {problem}", file=sys.stderr, flush=True)
    lane = f'[[lanes]]\nid = "1"\n[lanes.turnstile]\ndriver = "tcp"\nport = {controller}\nrelease_timeout_ms = 1000\n'
    box = new_box(folder / "box", keys, cable.port, centre.url, "B1", lanes=lane)
    return Street(folder, broker, cable, centre, box, witness, log, has_small_disk=not problem)


async def sell(street: Street, sales: int) -> None:
    """Sell the tickets, and wait until the box has a list."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    today = datetime.now(UTC).date()
    sale = {
        "product": PRODUCT["code"],
        "count": TICKETS_PER_SALE,
        "valid_from": str(today - timedelta(days=1)),
    }
    async with aiohttp.ClientSession(street.centre.url, headers=headers) as session:
        for path, body in (
            ("/v1/imports/products", [PRODUCT]),
            (
                "/v1/imports/boxes",
                [{"box_id": "B1", "site_id": "fairy", "public_key": street.box.public_key}],
            ),
            *[("/v1/tickets", sale | {"valid_until": str(today + timedelta(days=2))})] * sales,
        ):
            async with session.post(path, json=body) as response:
                assert response.ok, await response.text()
                if path == "/v1/tickets":
                    street.codes += [ticket["code"] for ticket in (await response.json())["tickets"]]
    await asyncio.to_thread(street.box.start)
    async with asyncio.timeout(60), aiohttp.ClientSession(street.box.caller.url) as session:
        while True:
            async with session.get("/readyz") as response:
                if response.ok:
                    return
            await asyncio.sleep(0.1)


async def visitors(street: Street, stopping: asyncio.Event) -> None:
    """One after the other shows a ticket, again and again until the barrier opens for them."""
    for code in street.codes:
        if stopping.is_set():
            return
        street.visitors += 1
        before = street.opened()
        while street.opened() == before:
            reason = await show(street, code)
            street.answers[reason] += 1
            if reason in ("ALREADY_USED", "UNLISTED_CODE", "UNLISTED_LIMIT"):
                await asyncio.sleep(0.3)  # perhaps it opened and the answer died on its way
                if street.opened() == before:
                    street.turned_away.append(code)
                    break
            await asyncio.sleep(0.02)
        await asyncio.sleep(PACE_S)


async def show(street: Street, code: str) -> str:
    """Show a ticket once; the reason of the answer, or what came instead of one."""
    try:
        async with (
            aiohttp.ClientSession(street.box.caller.url, timeout=aiohttp.ClientTimeout(ANSWER_S)) as session,
            session.post("/v1/scans", json={"lane": "1", "payload": code}) as response,
        ):
            if response.status == 409:
                return "busy"
            return str((await response.json())["reason"]) if response.ok else f"status {response.status}"
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        return "no answer"


async def faults(street: Street, wanted: Counter[str], rng: random.Random) -> Counter[str]:
    """Have one fault after the other, whichever's turn chance makes it; what is killed is started again at once."""
    done: Counter[str] = Counter()
    victims = [
        name
        for name, count in sorted(wanted.items())
        for _ in range(count)
        if name != FULL_DISK or street.has_small_disk
    ]
    rng.shuffle(victims)
    for number, victim in enumerate(victims, 1):
        await asyncio.sleep(rng.uniform(*BETWEEN_S))
        if victim in CABLE_FAULTS:
            await disturb(street.cable, victim, rng)
        elif victim.startswith(PAUSE):
            await pause(street, victim.removeprefix(PAUSE), rng)
        elif victim == FULL_DISK:
            await fill_up(street.box.folder / "state", rng)
        else:
            await asyncio.to_thread(_kill, street, victim)
        done[victim] += 1
        if number % 25 == 0:
            print(
                f"faults: {number} of {len(victims)}, {street.opened()} let in",
                file=sys.stderr,
                flush=True,
            )
    return done


async def pause(street: Street, name: str, rng: random.Random) -> None:
    """Stop a program where it stands, and have it go on after a while: SIGSTOP, SIGCONT."""
    programs = {"agent": street.box.process, "broker": street.broker.process, "centre": street.centre.process}
    process = programs[name]
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(rng.uniform(*PAUSE_S))
    process.send_signal(signal.SIGCONT)


async def fill_up(disk: Path, rng: random.Random) -> None:
    """Leave no room on the box's disk for a while, and none again when the box has given up its reserve."""
    end_s = time.monotonic() + rng.uniform(*FULL_S)
    ballast = disk / "ballast"
    while time.monotonic() < end_s:
        ballast = await asyncio.to_thread(fill, disk)
        await asyncio.sleep(0.2)
    ballast.unlink()


async def disturb(cable: Proxy, fault: str, rng: random.Random) -> None:
    """Spoil the way between box and broker for a while."""
    match fault:
        case "late":
            cable.delay(rng.randint(50, 800))
        case "half open":
            cable.silence()
        case "torn":
            cable.cut_within(rng.randint(1, 3000))
        case _:
            cable.reset()
    await asyncio.sleep(rng.uniform(*CABLE_S))
    cable.restore()


def _kill(street: Street, victim: str) -> None:
    match victim:
        case "agent":
            assert street.box.process is not None
            street.box.process.kill()
            street.box.process.wait()
            street.box.start()
        case "broker":
            street.broker.kill()
            street.broker.start()
        case _:
            assert street.centre.process is not None
            street.centre.process.kill()
            street.centre.process.communicate()
            street.centre.start()


async def agree(street: Street) -> bool:
    """Wait until the centre has confirmed all that the box has; whether it did in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(AGREE_S), aiohttp.ClientSession(street.box.caller.url) as session:
            while True:
                async with session.get("/v1/state") as response:
                    box = (await response.json())["box"]
                if box["link_up"] and box["backlog"] == 0 and await asyncio.to_thread(_is_folded, street):
                    return True
                await asyncio.sleep(0.2)
    return False


def _rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as sql:
        return [row[0] if len(row) == 1 else row for row in sql.execute(query)]


def _is_folded(street: Street) -> bool:
    centre = street.folder / "centre.db"
    told = _rows(centre, "SELECT COALESCE(MAX(seq_no), 0) FROM ledger")
    return told == _rows(centre, "SELECT COALESCE(MAX(seq_no), 0) FROM fold_positions")


def audit(street: Street) -> dict[str, Any]:
    """Hold what the witness saw against what the box and the centre know."""
    opened, passed = street.facts("opened"), set(street.facts("passed"))
    box = dict(
        _rows(street.folder / "box" / "state" / "box.db", "SELECT hex(admission_id), hex(key) FROM uses")
    )
    centre = set(_rows(street.folder / "centre.db", "SELECT hex(admission_id) FROM uses"))
    box_ledger = _rows(street.folder / "box" / "state" / "box.db", "SELECT MAX(seq_no) FROM ledger")
    centre_ledger = _rows(street.folder / "centre.db", "SELECT COUNT(*) FROM ledger")
    tickets = Counter(box[one.upper()] for one in opened if one.upper() in box)
    conflicts = _rows(street.folder / "centre.db", "SELECT COUNT(*) FROM conflicts")
    closed = _rows(street.folder / "centre.db", "SELECT hex(admission_id), outcome FROM closings")
    seen_through = {admission_id for admission_id, outcome in closed if outcome == 1}
    return {
        "opened": len(opened),
        "lost": sum(one.upper() not in centre for one in opened) + box_ledger[0] - centre_ledger[0],
        "doubled": sum(count - 1 for count in tickets.values())
        + len(opened)
        - len(set(opened))
        + conflicts[0],
        "unrecorded": sum(one.upper() not in box for one in opened),
        "passages_unseen": sum(one.upper() not in seen_through for one in passed),
    }


async def campaign(folder: Path, wanted: Counter[str], seed: int) -> dict[str, Any]:
    """Play it in an empty folder and return the report."""
    began_s = time.monotonic()
    broker, cable = await lay_cable(folder)
    street = await asyncio.to_thread(build, folder, broker, cable)
    stopping = asyncio.Event()
    try:
        await sell(street, 1 + wanted.total() // KILLS_PER_SALE)
        coming = asyncio.create_task(visitors(street, stopping))
        done = await faults(street, wanted, random.Random(seed))
        stopping.set()
        await coming
        agreed = await agree(street)
        found = audit(street)
    finally:
        await asyncio.to_thread(_clear, street)
        await cable.stop()
    return {
        "seed": seed,
        "faults": dict(sorted(done.items())),
        "visitors": street.visitors,
        **found,
        "turned_away": len(street.turned_away),
        "agreed": agreed,
        "answers": dict(street.answers.most_common()),
        "seconds": round(time.monotonic() - began_s, 1),
    }


def _clear(street: Street) -> None:
    street.box.stop(9)
    if street.centre.process is not None:
        street.centre.stop(9)
    street.broker.kill()
    street.witness.kill()
    street.witness.wait()
    if street.has_small_disk:
        state = street.folder / "box" / "state"
        shutil.copytree(state, state.with_name("memory"), ignore=shutil.ignore_patterns("reserve*"))
        unmount(state)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign and print its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("agent", "broker", "centre"):
        parser.add_argument(f"--{name}-kills", type=int, default=5)
    parser.add_argument(
        "--others", type=int, default=2, help="of each: programs stopped, cables spoilt, disks full"
    )
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args(arguments)
    folder = PROJECT / "var" / "faults"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = Counter(agent=options.agent_kills, broker=options.broker_kills, centre=options.centre_kills)
    for name in (FULL_DISK, *CABLE_FAULTS, *(f"{PAUSE}{name}" for name in ("agent", "broker", "centre"))):
        wanted[name] = options.others
    report = asyncio.run(campaign(folder, wanted, options.seed))
    print(json.dumps(report))
    return 0 if report["agreed"] and not (report["lost"] or report["doubled"] or report["unrecorded"]) else 1


if __name__ == "__main__":
    sys.exit(main())
