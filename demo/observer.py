"""What boxes, networks and centre say at this moment, gathered for the live page from outside the boxes."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from demo.box import Box
from demo.crowd import Crowd
from demo.processes import resident_mb
from demo.world import SITE_ID, World

LOOK_EVERY_S = 0.2
SAMPLE_EVERY_S = 1.0
SAMPLES = 120
CONFLICTS = 3
BOX_TIMEOUT = aiohttp.ClientTimeout(total=2)


@dataclass(frozen=True, slots=True)
class Sample:
    """The backlog of all boxes at a moment, monotonic seconds; None while one could not be asked."""

    at_s: float
    backlog: int | None
    is_cut: bool


class BoxWatch:
    """What one box says of itself, and what lies on its disk; its lanes stay as they were while it is down."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.said: dict[str, Any] | None = None
        self.lanes: list[dict[str, Any]] = []
        self.last_seq_no = 0

    @property
    def backlog(self) -> int | None:
        """How many of its entries the centre has not confirmed; None while it cannot be asked."""
        return self.said["backlog"] if self.said else None

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Ask it once."""
        self.last_seq_no = await asyncio.to_thread(_last_seq_no, self.box.store)
        try:
            async with session.get(f"http://127.0.0.1:{self.box.port}/v1/state") as response:
                state = await response.json()
            self.said, self.lanes = state["box"], state["lanes"]
        except (aiohttp.ClientError, TimeoutError):
            self.said = None

    def snapshot(self, received: int | None) -> dict[str, Any]:
        """Return it as JSON values; `received` is the last of its entries at the centre."""
        agent = self.box.agent
        return {
            "id": self.box.box_id,
            "said": self.said,
            "process": {"pid": agent.pid, "starts": agent.starts, "rss_mb": _memory_mb(agent.pid)},
            "ledger": {
                "box": self.last_seq_no,
                "centre": received,
                "agree": self.backlog == 0 and received == self.last_seq_no,
            },
        }


class Observer:
    """Looks at everything a few times a second; who shows the page does not matter to the boxes."""

    def __init__(self, world: World, crowd: Crowd, camera_lane: str | None) -> None:
        self._world = world
        self._crowd = crowd
        self._camera_lane = camera_lane
        self._watches = [BoxWatch(box) for box in world.boxes.values()]
        self._centre: dict[str, Any] | None = None
        self._conflicts: list[dict[str, Any]] = []
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)

    async def run(self) -> None:
        """Look until cancelled."""
        async with aiohttp.ClientSession(timeout=BOX_TIMEOUT) as session, asyncio.TaskGroup() as looking:
            for look in (*(watch.look for watch in self._watches), self._look_at_centre, self._take_sample):
                looking.create_task(_repeat(look, session))

    async def picture(self, session: aiohttp.ClientSession, lane_id: str, width: int) -> bytes | None:
        """Return the newest picture of a lane's camera as JPEG; None while its box has none."""
        box = next(box for box in self._world.boxes.values() if lane_id in box.lane_ids)
        url = f"http://127.0.0.1:{box.port}/v1/lanes/{lane_id}/picture"
        try:
            async with session.get(url, params={"width": width}, timeout=BOX_TIMEOUT) as response:
                return await response.read() if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    def snapshot(self) -> dict[str, Any]:
        """Return the newest of everything as JSON values."""
        received = self._centre["received"] if self._centre else {}
        boxes = [watch.snapshot(received.get(watch.box.box_id)) for watch in self._watches]
        return {
            "at_ms": time.time_ns() // 1_000_000,
            "boxes": boxes,
            "lanes": [
                {**lane, "box_id": watch.box.box_id, "is_up": watch.said is not None}
                for watch in self._watches
                for lane in watch.lanes
                if lane["camera"]
            ],
            "centre": self._centre,
            "conflicts": self._conflicts,
            "network": {"is_cut": self._world.is_cut, "is_site_cut": self._world.is_site_cut},
            "ledger": _summed([box["ledger"] for box in boxes]),
            "history": self._history(),
            "waiting": self._crowd.waiting,
            "camera_lane": self._camera_lane,
        }

    async def _look_at_centre(self, session: aiohttp.ClientSession) -> None:
        url = f"http://127.0.0.1:{self._world.centre_port}/v1"
        try:
            async with session.get(f"{url}/summary") as response:
                self._centre = _abridged(await response.json())
            async with session.get(f"{url}/conflicts?limit={CONFLICTS}") as response:
                self._conflicts = [_told(row) for row in (await response.json())["conflicts"]]
        except (aiohttp.ClientError, TimeoutError):
            self._centre = None

    async def _take_sample(self, session: aiohttp.ClientSession) -> None:
        now_s = time.monotonic()
        if not self._samples or now_s - self._samples[-1].at_s >= SAMPLE_EVERY_S:
            waiting = [watch.backlog for watch in self._watches]
            known = [backlog for backlog in waiting if backlog is not None]
            backlog = sum(known) if len(known) == len(waiting) else None
            self._samples.append(Sample(now_s, backlog, self._world.is_cut))

    def _history(self) -> list[list[Any]]:
        now_s = time.monotonic()
        return [[round(now_s - past.at_s, 1), past.backlog, past.is_cut] for past in self._samples]


def _summed(ledgers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the last numbers on the boxes' disks against those that the centre has received, all together."""
    received = [ledger["centre"] for ledger in ledgers]
    return {
        "box": sum(ledger["box"] for ledger in ledgers),
        "centre": None if None in received else sum(received),
        "agree": all(ledger["agree"] for ledger in ledgers),
    }


async def _repeat(
    look: Callable[[aiohttp.ClientSession], Awaitable[None]], session: aiohttp.ClientSession
) -> None:
    while True:
        await look(session)
        await asyncio.sleep(LOOK_EVERY_S)


def _abridged(summary: dict[str, Any]) -> dict[str, Any]:
    """Keep of the centre's summary what concerns the site."""
    site = next(site for site in summary["sites"] if site["site_id"] == SITE_ID)
    totals = summary["totals"]
    return {
        "site": {"zh": site["name_zh"], "en": site["name_en"]},
        "list_version": site["list_version"],
        "received": {box["box_id"]: box["events_received"] for box in summary["boxes"]},
        "online": {box["box_id"]: box["online"] for box in summary["boxes"]},
        "events_received": totals["events_received"],
        "admitted": sum(totals["admitted"].values()),
        "refused": sum(totals["refused"].values()),
        "passages": totals["passages"],
        "conflicts": summary["conflicts"]["count"],
        "conflicts_fen": summary["conflicts"]["fen"],
        "charges": summary["charges"]["count"],
        "charges_fen": summary["charges"]["fen"],
    }


def _told(conflict: dict[str, Any]) -> dict[str, Any]:
    """Keep of a conflict where both visitors went in, and what it cost."""
    gates = [
        {"box_id": use["box_id"], "lane_id": use["lane_id"], "at_ms": use["at_ms"]}
        for use in (conflict["first"], conflict["excess"])
        if use
    ]
    return {"kind": conflict["kind"], "cost_fen": conflict["cost_fen"], "gates": gates}


def _last_seq_no(store: Path) -> int:
    """Return the last ledger number on the box's disk, read without any of its code; 0 before its first start."""
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as sql:
            return int(sql.execute("SELECT coalesce(max(seq_no), 0) FROM ledger").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def _memory_mb(pid: int | None) -> float | None:
    try:
        return resident_mb(pid) if pid else None
    except (OSError, StopIteration):
        return None  # it has just ended
