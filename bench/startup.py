"""How soon a box works after its process starts, and how much memory it takes, with a list of 400,000 tickets.

A camera shows a valid ticket before the box is started; the turnstile's own process tells when it is released. The
same start with an empty list stands beside it, so that what the list costs can be told from what the machine costs.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from demo.cast import Casting, Guest, line_up
from demo.processes import resident_mb, run_until_done
from demo.street import draw, draw_empty
from demo.world import BOX_ID, OTA, PROJECT, World

TICKETS = 400_000
STARTS = 5
SEED = 7


async def measure(folder: Path) -> dict[str, Any]:
    """Return first-decision times and resident memory, without and with the large list."""
    async with World(folder, ("1",), release_timeout_ms=2000) as world:
        await world.start()
        rng = random.Random(SEED)
        async with world.back_office as office:
            guests = list(line_up(await Casting(office, rng).stories({"valid": 2 * STARTS}), ("1",), rng))
            script = [draw_empty(folder, SEED), *draw(guests, folder, SEED)]
            await asyncio.to_thread(_append, world.script, script[:1])
            await world.start_box()
            await _until_version(world, at_least=1)
            small = [await _first_decision(world, *pair) for pair in _pairs(guests, script, 0)]
            version = (await _state(world))["box"]["list_version"]
            await _import_tickets(world)
            await _until_version(world, at_least=version + 1)
            installing_rss_mb = resident_mb(world.boxes[BOX_ID].agent.pid or 0)
            large = [await _first_decision(world, *pair) for pair in _pairs(guests, script, STARTS)]
    return {
        "tickets": TICKETS,
        "rss_mb": max(rss_mb for _, rss_mb in large),
        "rss_mb_small_list": max(rss_mb for _, rss_mb in small),
        "rss_mb_while_installing": installing_rss_mb,
        "first_decision_s": round(median(seconds for seconds, _ in large), 3),
        "first_decision_s_worst": round(max(seconds for seconds, _ in large), 3),
        "first_decision_s_small_list": round(median(seconds for seconds, _ in small), 3),
        "ratio_to_small_list": round(median(s for s, _ in large) / median(s for s, _ in small), 2),
    }


async def _first_decision(world: World, guest: Guest, line: str) -> tuple[float, float]:
    """Stop the box, put a visitor before its camera, start it, and return seconds to release and MB resident."""
    await world.boxes[BOX_ID].agent.stop()
    await asyncio.to_thread(_append, world.script, [line])
    await _until_logged(world.witness_log, guest, "shown")
    began = time.monotonic()
    await world.start_agent()
    released_ms = await _until_logged(world.witness_log, guest, "released")
    seconds = released_ms / 1000 - began
    await _until_logged(world.witness_log, guest, "closed")
    return seconds, resident_mb(world.boxes[BOX_ID].agent.pid or 0)


async def _until_logged(log: Path, guest: Guest, what: str) -> float:
    """Return when, on the monotonic clock in milliseconds, the witness saw this of the guest."""
    async with asyncio.timeout(60):
        while True:
            for line in (await asyncio.to_thread(log.read_text, "utf-8")).splitlines():
                fact = json.loads(line)
                if fact["what"] == what and fact.get("visitor") == guest.id:
                    return float(fact["t_ms"])
            await asyncio.sleep(0.02)


async def _import_tickets(world: World) -> None:
    """Import 400,000 tickets of another seller, as a back office would: one CSV file."""
    rows = "".join(f"{OTA},OTA-{n:010d},DAY1,1,2026-01-01,2035-12-31\n" for n in range(TICKETS))
    text = "issuer,code,product,quantity,valid_from,valid_until\n" + rows
    url = f"http://127.0.0.1:{world.centre_port}/v1/imports/tickets"
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session,
        session.post(url, data=text.encode(), headers={"Content-Type": "text/csv"}) as response,
    ):
        print(f"startup: import: {await response.json()}", file=sys.stderr)
        response.raise_for_status()


async def _until_version(world: World, at_least: int) -> None:
    async with asyncio.timeout(180):
        while (await _state(world))["box"]["list_version"] < at_least:
            await asyncio.sleep(0.1)


async def _state(world: World) -> dict[str, Any]:
    return await world.boxes[BOX_ID].state() or {"box": {"list_version": 0}}


def _pairs(guests: list[Guest], script: list[str], first: int) -> list[tuple[Guest, str]]:
    return list(zip(guests, script[1:], strict=True))[first : first + STARTS]


def _append(script: Path, lines: list[str]) -> None:
    with script.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    print(json.dumps(run_until_done(measure(PROJECT / "var" / "bench-startup"))))
