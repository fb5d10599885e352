"""A holiday's busiest hours, replayed: real boxes, brokers and centre; only the people are simulated, and hurry.

No camera is involved, so people may move faster than life: with `--speed 30` an hour takes two minutes, and the boxes
are asked thirty times as often as on the day itself. What the boxes take is measured in real time, from the code
submitted to the release at the barrier; what people take is drawn from a seed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import sqlite3
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp

from demo.box import Lane
from demo.holiday_chart import Chart, draw_chart
from demo.processes import StartError, run_until_done
from demo.world import PROJECT, World

BEFORE_MIN, AFTER_MIN = 60, 75
"""What is played of the morning, around the middle of its busiest hour."""
WIDTH_MIN = 55.0
"""How wide the morning's wave is: its standard deviation."""
CUT_MIN = (-10, 25)
"""The network is gone when the most people come."""
BUS_SHARE, BUS_PERSONS = 0.35, (15, 45)
"""So many of the visitors come by bus, all at once."""
SALE_SIZE = 500
SILENT_MS = 500
DRAINED = 50
"""With fewer entries waiting the outage is over: so many are always under way at this pace."""
FUMBLE_S, WALK_S, CLOSE_S, TURNED_AWAY_S = (0.5, 1.1), (0.6, 1.1), 0.3, 2.0
"""Finding the code, walking through, the barrier closing; and explaining a refusal. Never above 40 persons a minute."""
REUSED = 50
"""One in so many shows a code that was used before."""
DRAIN_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 20.0
MOST_WAIT_MS = 300.0
"""No visitor waits for the box longer than that."""


class HolidayError(Exception):
    """A box did not answer as it must."""


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the load table: the visitors of the hot site's peak hour, and its lanes by box."""

    name: str
    title: str
    peak_hour: int
    boxes: Mapping[str, Sequence[str]]


def _lanes(count: int) -> Mapping[str, Sequence[str]]:
    names = [str(number + 1) for number in range(count)]
    return {"B1": names[:4], "B2": names[4:]} if count > 4 else {"B1": names}


CASES = {
    "new-year": Case("new-year", "元旦 New Year", 2800, _lanes(3)),
    "spring-festival": Case("spring-festival", "春节 Spring Festival", 4000, _lanes(4)),
    "may-day": Case("may-day", "五一 May Day", 7300, _lanes(8)),
}


def arrivals(case: Case, minutes: tuple[int, int], rng: random.Random) -> Iterator[float]:
    """Yield when visitors come, seconds from the start, in order: a wave of single people and of buses."""
    start_min, end_min = minutes
    in_peak = sum(_wave(minute + 0.5) for minute in range(-30, 30))
    for minute in range(start_min, end_min):
        expected = case.peak_hour * _wave(minute + 0.5) / in_peak
        begin_s = (minute - start_min) * 60.0
        persons = _poisson(expected * (1 - BUS_SHARE), rng)
        times = [begin_s + rng.random() * 60 for _ in range(persons)]
        mean_bus = sum(BUS_PERSONS) / 2
        for _ in range(_poisson(expected * BUS_SHARE / mean_bus, rng)):
            times += [begin_s + rng.random() * 60] * rng.randint(*BUS_PERSONS)
        yield from sorted(times)


def _wave(minute: float) -> float:
    return math.exp(-((minute / WIDTH_MIN) ** 2) / 2)


def _poisson(mean: float, rng: random.Random) -> int:
    """Return a number drawn around `mean`; the sum of exponential waits that fit into one unit."""
    count, waited = 0, rng.expovariate(1.0)
    while waited < mean:
        count, waited = count + 1, waited + rng.expovariate(1.0)
    return count


@dataclass(slots=True)
class Minute:
    """What one minute of the holiday was like."""

    at_min: int
    arrived: int = 0
    admitted: int = 0
    queue: int = 0
    backlog: int = 0
    is_cut: bool = False
    waits_ms: list[float] = field(default_factory=list)


class Barrier:
    """A controller and the people who walk through it; the box's own driver speaks to it."""

    def __init__(self, lane: str, speed: float, rng: random.Random) -> None:
        self.lane = lane
        self.port = 0
        self.released_s = 0.0
        self.is_released = asyncio.Event()
        self.is_closed = asyncio.Event()
        self.is_closed.set()
        self.released: list[str] = []
        self._speed = speed
        self._rng = rng
        self._client: asyncio.StreamWriter | None = None
        self._walks: set[asyncio.Task[None]] = set()

    async def start(self, stack: contextlib.AsyncExitStack) -> None:
        """Listen for the box."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        stack.callback(server.close)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = writer
        self._tell(event="state", barrier="closed", sensor="ok")
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                command = json.loads(line)
                if command["op"] == "ping":
                    self._tell(event="pong")
                elif command["op"] == "release":
                    self._release(command["admission_id"])
        writer.close()

    def _release(self, admission_id: str) -> None:
        self.released_s = time.monotonic()
        self.released.append(admission_id)
        self.is_closed.clear()
        self.is_released.set()
        walk = asyncio.create_task(self._walk(admission_id))
        self._walks.add(walk)
        walk.add_done_callback(self._walks.discard)

    async def _walk(self, admission_id: str) -> None:
        await asyncio.sleep(self._rng.uniform(*WALK_S) / self._speed)
        self._tell(event="passed", admission_id=admission_id)
        await asyncio.sleep(CLOSE_S / self._speed)
        self._tell(event="closed", admission_id=admission_id)
        self.is_closed.set()

    def _tell(self, **report: str) -> None:
        if self._client is not None:
            self._client.write(json.dumps(report).encode() + b"\n")


class Gate:
    """One lane: its queue, and whoever stands at its head."""

    def __init__(self, barrier: Barrier, box_port: int, speed: float, rng: random.Random) -> None:
        self.queue: deque[str] = deque()
        self.is_wanted = asyncio.Event()
        self._barrier = barrier
        self._url = f"http://127.0.0.1:{box_port}/v1/scans"
        self._speed = speed
        self._rng = rng

    def join(self, code: str) -> None:
        """Stand at the end of the queue."""
        self.queue.append(code)
        self.is_wanted.set()

    async def run(self, session: aiohttp.ClientSession, holiday: Holiday) -> None:
        """Let one after the other present their code, until cancelled."""
        while True:
            while not self.queue:
                self.is_wanted.clear()
                await self.is_wanted.wait()
            await asyncio.sleep(self._rng.uniform(*FUMBLE_S) / self._speed)
            verdict, wait_ms = await self._present(session, self.queue[0])
            holiday.served(verdict, wait_ms)
            if verdict == "ADMIT":
                await self._barrier.is_closed.wait()
            else:
                await asyncio.sleep(TURNED_AWAY_S / self._speed)
            self.queue.popleft()

    async def _present(self, session: aiohttp.ClientSession, code: str) -> tuple[str, float]:
        """Return the verdict, and how long this visitor waited for the box: to the release, or to the refusal."""
        body = {"lane": self._barrier.lane, "payload": code}
        self._barrier.is_released.clear()
        began_s = time.monotonic()
        while True:
            async with session.post(self._url, json=body) as response:
                answer = await response.json()
            if response.status == HTTPStatus.OK:
                break
            if response.status != HTTPStatus.CONFLICT or time.monotonic() - began_s > ANSWER_TIMEOUT_S:
                raise HolidayError(f"box answered {response.status}: {answer}")
            await asyncio.sleep(0.005)  # it has not heard of the closing yet; the visitor waits all the same
        if answer["verdict"] != "ADMIT":
            return answer["verdict"], (time.monotonic() - began_s) * 1000
        await self._barrier.is_released.wait()
        return answer["verdict"], (self._barrier.released_s - began_s) * 1000


class Holiday:
    """The morning as it goes by, minute by minute."""

    def __init__(self, world: HolidayWorld, case: Case, minutes: tuple[int, int], speed: float) -> None:
        self._world = world
        self._case = case
        self._minutes = minutes
        self._speed = speed
        self._gates: list[Gate] = []
        self.days = [Minute(number) for number in range(*minutes)]
        self.now = self.days[0]
        self.drained_s: float | None = None
        self._restored_s: float | None = None

    def served(self, verdict: str, wait_ms: float) -> None:
        """Count a visitor whom a box has answered."""
        self.now.admitted += verdict == "ADMIT"
        self.now.waits_ms.append(wait_ms)

    async def play(self, codes: Sequence[str], rng: random.Random) -> int:
        """Let everyone come, and return how many came, once the last has been answered."""
        times = list(arrivals(self._case, self._minutes, rng))
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            running = []
            for box in self._world.boxes.values():
                for lane_id in box.lane_ids:
                    gate = Gate(
                        self._world.barriers[lane_id], box.port, self._speed, random.Random(rng.random())
                    )
                    self._gates.append(gate)
                    running.append(tasks.create_task(gate.run(session, self)))
            watching = tasks.create_task(self._watch())
            await self._send(times, codes, rng)
            while any(gate.queue for gate in self._gates):
                await asyncio.sleep(0.05)
            for task in (*running, watching):
                task.cancel()
        return len(times)

    async def _send(self, times: Sequence[float], codes: Sequence[str], rng: random.Random) -> None:
        fresh = iter(codes)
        shown: list[str] = []
        began_s = time.monotonic()
        for at_s in times:
            await asyncio.sleep(max(0.0, began_s + at_s / self._speed - time.monotonic()))
            self._turn_to(int(at_s // 60))
            reused = bool(shown) and rng.randrange(REUSED) == 0
            code = rng.choice(shown[-200:-50] or shown) if reused else next(fresh)
            shown.append(code)
            self.now.arrived += 1
            shortest = min(self._gates, key=lambda gate: len(gate.queue))
            shortest.join(code)

    def _turn_to(self, number: int) -> None:
        """Begin a minute; at the outage's first and last the cable is cut and mended."""
        self.now = self.days[number]
        is_out = CUT_MIN[0] <= self.now.at_min < CUT_MIN[1]
        if is_out and not self._world.is_cut:
            self._world.cut(silent_ms=SILENT_MS)
        elif not is_out and self._world.is_cut:
            self._world.restore()
            self._restored_s = time.monotonic()
        self.now.is_cut = is_out

    async def _watch(self) -> None:
        while True:
            self.now.queue = max(self.now.queue, sum(len(gate.queue) for gate in self._gates))
            states = [await box.state() for box in self._world.boxes.values()]
            waiting = sum(state["box"]["backlog"] for state in states if state)
            self.now.backlog = max(self.now.backlog, waiting)
            self._note_drain(waiting)
            await asyncio.sleep(0.2)

    def _note_drain(self, waiting: int) -> None:
        """Note when the backlog of the outage has gone, as far as visitors who go on coming let it."""
        if self.drained_s is None and self._restored_s is not None and waiting < DRAINED:
            self.drained_s = round(time.monotonic() - self._restored_s, 1)


class HolidayWorld(World):
    """The demo's site with barriers of our own in place of cameras and witness."""

    def __init__(self, folder: Path, case: Case, speed: float, rng: random.Random) -> None:
        first, *others = case.boxes
        neighbours = {name: case.boxes[name] for name in others}
        super().__init__(folder, case.boxes[first], release_timeout_ms=5000, neighbours=neighbours)
        self.barriers = {lane: Barrier(lane, speed, random.Random(rng.random())) for lane in self.lanes}

    async def _start_hardware(self) -> dict[str, dict[str, int]]:
        for barrier in self.barriers.values():
            await barrier.start(self._stack)
        return {lane: {"controller": barrier.port} for lane, barrier in self.barriers.items()}

    def _lane(self, lane_id: str, ports: Mapping[str, int]) -> Lane:
        return Lane(lane_id, "", ports["controller"])


async def holiday(
    case: Case, minutes: tuple[int, int], speed: float, seed: int, folder: Path
) -> tuple[dict[str, Any], Chart]:
    """Play a case; return its report and its picture."""
    rng = random.Random(seed)
    began_s = time.monotonic()
    async with HolidayWorld(folder, case, speed, rng) as world:
        await world.start()
        codes = await _sell(
            world, sum(1 for _ in arrivals(case, minutes, random.Random(seed))) + case.peak_hour
        )
        await world.start_box()
        await _until(world.is_listed)
        day = Holiday(world, case, minutes, speed)
        visitors = await day.play(codes, rng)
        world.restore()
        await _settled(world)
        released = Counter(admission for barrier in world.barriers.values() for admission in barrier.released)
        booked = Counter(_booked(world.centre_store))
    waits = sorted(wait for minute in day.days for wait in minute.waits_ms)
    report = {
        "case": case.name,
        "lanes": len(world.lanes),
        "boxes": len(world.boxes),
        "speed": speed,
        "visitors": visitors,
        "answered": len(waits),
        "admitted": released.total(),
        "lost": (released - booked).total(),
        "doubled": (booked - released).total(),
        "box_wait_ms": {"p50": _at(waits, 0.5), "p99": _at(waits, 0.99), "max": round(waits[-1], 1)},
        "peak_per_hour": max(_per_hour(day.days), default=0),
        "longest_queue": max(minute.queue for minute in day.days),
        "largest_backlog": max(minute.backlog for minute in day.days),
        "drained_s": day.drained_s,
        "seconds": round(time.monotonic() - began_s, 1),
    }
    return report, Chart(
        title=f"{case.title}: {case.peak_hour:,} / h, {len(world.lanes)} 通道 lanes",
        at_min=[minute.at_min for minute in day.days],
        arrived=[minute.arrived for minute in day.days],
        admitted=[minute.admitted for minute in day.days],
        queue=[minute.queue for minute in day.days],
        wait_p50_ms=[_at(sorted(minute.waits_ms), 0.5) for minute in day.days],
        wait_max_ms=[max(minute.waits_ms, default=0.0) for minute in day.days],
        backlog=[minute.backlog for minute in day.days],
        cut=[minute.is_cut for minute in day.days],
    )


def _per_hour(days: Sequence[Minute]) -> Iterator[int]:
    """Yield the visitors of every hour that was played whole."""
    for start in range(len(days) - 59):
        yield sum(minute.arrived for minute in islice(days, start, start + 60))


async def _sell(world: World, count: int) -> list[str]:
    today = time.strftime("%Y-%m-%d", time.localtime(time.time() + 8 * 3600 + time.timezone))
    codes: list[str] = []
    async with world.back_office as office:
        while len(codes) < count:
            codes += [sold.code for sold in await office.sell("DAY1", today, today, SALE_SIZE)]
    return codes


async def _settled(world: World) -> None:
    """Wait until the centre has everything, and has folded it."""

    async def is_settled() -> bool:
        states = [await box.state() for box in world.boxes.values()]
        if not all(state and state["box"]["backlog"] == 0 for state in states):
            return False
        async with world.back_office as office:
            totals = (await office.summary())["totals"]
        return bool(totals["events_folded"] == totals["events_received"])

    await _until(is_settled)


def _booked(store: Path) -> list[str]:
    """Return the admissions in the centre's books, read without any of its code."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as sql:
        return [admission.hex() for (admission,) in sql.execute("SELECT admission_id FROM uses")]


def failures(report: Mapping[str, Any]) -> list[str]:
    """Return what in a report must not be, for people; empty when the holiday went well."""
    found = [f"{name}: {report[name]}" for name in ("lost", "doubled") if report[name]]
    if report["answered"] != report["visitors"]:
        found.append(f"{report['visitors']} came and {report['answered']} were answered")
    if report["box_wait_ms"]["max"] > MOST_WAIT_MS:
        found.append(
            f"somebody waited {report['box_wait_ms']['max']} ms for the box, more than {MOST_WAIT_MS:.0f}"
        )
    return found


async def _until(holds: Any) -> None:
    async with asyncio.timeout(DRAIN_TIMEOUT_S):
        while not await holds():
            await asyncio.sleep(0.1)


def _at(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else 0.0


def main() -> int:
    """Play a case, draw its picture, and print its report as the last line."""
    parser = argparse.ArgumentParser(prog="demo.holiday", description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--speed", type=float, default=30.0, help="how much faster than life people move")
    parser.add_argument(
        "--minutes", type=int, nargs=2, default=(-BEFORE_MIN, AFTER_MIN), metavar=("FROM", "TO")
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="where to draw it (SVG); nowhere when not given")
    parser.add_argument("--folder", type=Path, default=PROJECT / "var" / "holiday", help="written anew")
    options = parser.parse_args()
    case = CASES[options.case]
    played: tuple[dict[str, Any], Chart] | None = None
    playing = holiday(case, tuple(options.minutes), options.speed, options.seed, options.folder.resolve())
    try:
        played = run_until_done(playing)
    except* (StartError, HolidayError, TimeoutError, OSError) as problems:
        print(f"holiday: could not be played: {problems.exceptions[0]!r}", file=sys.stderr)
    if played is None:
        return 2
    report, chart = played
    if options.picture:
        options.picture.write_text(draw_chart(chart), "utf-8")
    for failure in failures(report):
        print(f"holiday: {failure}", file=sys.stderr)
    print(json.dumps(report, ensure_ascii=False))
    return 1 if failures(report) else 0


if __name__ == "__main__":
    sys.exit(main())
