"""What box, network and centre say at this moment, gathered for the live page from outside the box."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from demo.crowd import Crowd
from demo.processes import resident_mb
from demo.world import BOX_ID, SITE_ID, World

LOOK_EVERY_S = 0.2
SAMPLE_EVERY_S = 1.0
SAMPLES = 120
BOX_TIMEOUT = aiohttp.ClientTimeout(total=2)


@dataclass(frozen=True, slots=True)
class Sample:
    """The backlog at a moment, monotonic seconds; None while the box could not be asked."""

    at_s: float
    backlog: int | None
    is_cut: bool


class Observer:
    """Looks at everything a few times a second; who shows the page does not matter to the box."""

    def __init__(self, world: World, crowd: Crowd, camera_lane: str | None) -> None:
        self._world = world
        self._crowd = crowd
        self._camera_lane = camera_lane
        self._box: dict[str, Any] | None = None
        self._lanes: list[dict[str, Any]] = []
        self._centre: dict[str, Any] | None = None
        self._last_seq_no = 0
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)

    async def run(self) -> None:
        """Look until cancelled."""
        async with aiohttp.ClientSession(timeout=BOX_TIMEOUT) as session, asyncio.TaskGroup() as looking:
            for look in (self._look_at_box, self._look_at_centre):
                looking.create_task(_repeat(look, session))

    async def picture(self, session: aiohttp.ClientSession, lane_id: str, width: int) -> bytes | None:
        """Return the newest picture of a lane's camera as JPEG; None while the box has none."""
        url = f"http://127.0.0.1:{self._world.box_port}/v1/lanes/{lane_id}/picture"
        try:
            async with session.get(url, params={"width": width}, timeout=BOX_TIMEOUT) as response:
                return await response.read() if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    def snapshot(self) -> dict[str, Any]:
        """Return the newest of everything as JSON values; the lanes stay as they were while the box is down."""
        agent = self._world.agent
        return {
            "at_ms": time.time_ns() // 1_000_000,
            "box": self._box,
            "lanes": self._lanes,
            "process": {"pid": agent.pid, "starts": agent.starts, "rss_mb": _memory_mb(agent.pid)},
            "centre": self._centre,
            "network": {"is_cut": self._world.is_cut},
            "ledger": self._ledger(),
            "history": self._history(),
            "waiting": self._crowd.waiting,
            "camera_lane": self._camera_lane,
        }

    async def _look_at_box(self, session: aiohttp.ClientSession) -> None:
        self._last_seq_no = await asyncio.to_thread(_last_seq_no, self._world.box_store)
        try:
            async with session.get(f"http://127.0.0.1:{self._world.box_port}/v1/state") as response:
                state = await response.json()
            self._box, self._lanes = state["box"], state["lanes"]
        except (aiohttp.ClientError, TimeoutError):
            self._box = None
        self._take_sample()

    async def _look_at_centre(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(f"http://127.0.0.1:{self._world.centre_port}/v1/summary") as response:
                self._centre = _abridged(await response.json())
        except (aiohttp.ClientError, TimeoutError):
            self._centre = None

    def _take_sample(self) -> None:
        now_s = time.monotonic()
        if not self._samples or now_s - self._samples[-1].at_s >= SAMPLE_EVERY_S:
            backlog = self._box["backlog"] if self._box else None
            self._samples.append(Sample(now_s, backlog, self._world.is_cut))

    def _ledger(self) -> dict[str, Any]:
        """Compare the last number on the box's disk with the last that the centre has received."""
        received = self._centre["events_received"] if self._centre else None
        nothing_waits = self._box is not None and self._box["backlog"] == 0
        return {
            "box": self._last_seq_no,
            "centre": received,
            "agree": nothing_waits and received == self._last_seq_no,
        }

    def _history(self) -> list[list[Any]]:
        now_s = time.monotonic()
        return [[round(now_s - past.at_s, 1), past.backlog, past.is_cut] for past in self._samples]


async def _repeat(
    look: Callable[[aiohttp.ClientSession], Awaitable[None]], session: aiohttp.ClientSession
) -> None:
    while True:
        await look(session)
        await asyncio.sleep(LOOK_EVERY_S)


def _abridged(summary: dict[str, Any]) -> dict[str, Any]:
    """Keep of the centre's summary what concerns the box and its site."""
    box: dict[str, Any] = next((box for box in summary["boxes"] if box["box_id"] == BOX_ID), {})
    site = next(site for site in summary["sites"] if site["site_id"] == SITE_ID)
    return {
        "site": {"zh": site["name_zh"], "en": site["name_en"]},
        "list_version": site["list_version"],
        "sold": summary["tickets"]["sold"],
        "online": box.get("online", False),
        "last_seen_ms": box.get("last_seen_ms"),
        "events_received": box.get("events_received", 0),
        "admitted": sum(box.get("admitted", {}).values()),
        "refused": sum(box.get("refused", {}).values()),
        "passages": box.get("passages", 0),
        "conflicts": summary["conflicts"]["count"],
        "charges": summary["charges"]["count"],
        "charges_fen": summary["charges"]["fen"],
    }


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
