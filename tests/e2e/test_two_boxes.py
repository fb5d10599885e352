"""A copy at the other box: refused while the site's network lives, reported with its cost when it did not."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import aiohttp
import pytest

from demo.cast import Casting, Guest
from demo.street import draw_empty, draw_one
from demo.witness_log import WitnessLog
from demo.world import World
from tests.support.site_box import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
SILENT_MS = 500


async def test_copy_is_refused_at_the_other_box_without_the_centre(world: World) -> None:
    """The neighbours hear of a use over the site's own broker, also with the centre gone."""
    await _open(world)
    world.cut(silent_ms=SILENT_MS)
    world.broker.kill()
    assert await _answers(world) == ["TICKET", "ALREADY_USED"]


async def test_copy_in_bare_isolation_is_reported_with_both_gates_and_its_cost(world: World) -> None:
    """With both networks cut a copy may pass; the centre then names both gates and what it cost."""
    await _open(world)
    world.cut(silent_ms=SILENT_MS)
    world.boxes["B2"].cut_site(silent_ms=SILENT_MS)
    assert await _answers(world) == ["TICKET", "TICKET"]
    world.restore()
    world.boxes["B2"].restore_site()
    conflicts: list[dict[str, Any]] = []

    async def is_reported() -> bool:
        conflicts[:] = await _conflicts(world)
        return bool(conflicts)

    await eventually(is_reported, "the report")
    (conflict,) = conflicts
    gates = [(conflict[use]["box_id"], conflict[use]["lane_id"]) for use in ("first", "excess")]
    assert (gates, conflict["cost_fen"]) == ([("B1", "1"), ("B2", "2")], 5000)


async def _open(world: World) -> None:
    """Sell a ticket, have it and its copy drawn, and start the boxes."""
    async with world.back_office as office:
        ((original, copy),) = await Casting(office, random.Random(1)).stories({"copy_elsewhere": 1})
    guests = [
        Guest("original", "original", original.code, (), lane="1"),
        Guest("copy", "copy", copy.code, (), follows="original", lane="2"),
    ]
    lines = [draw_one(guest, world.folder, seed) for seed, guest in enumerate(guests)]
    await world.start_box()
    await eventually(world.is_listed, "the list")
    await eventually(world.is_in_touch, "the boxes hearing each other")
    (world.folder / "visitors").write_text("\n".join([draw_empty(world.folder, 1), *lines]))


async def _answers(world: World) -> list[str]:
    """Let the visitors come and return the reasons they were given, in their order."""
    lines = (world.folder / "visitors").read_text()
    with world.script.open("a") as script:
        script.write(f"{lines}\n{json.dumps({'end': True})}\n")
    log = WitnessLog(world.witness_log)
    reasons: list[str] = []
    is_over = False
    async with asyncio.timeout(40):
        while not is_over:
            await asyncio.sleep(0.05)
            for fact in log.news():
                reasons += [fact["reason"]] if fact["what"] == "verdict" else []
                is_over |= fact["what"] == "finished"
    return reasons


async def _conflicts(world: World) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{world.centre_port}/v1/conflicts"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        found: list[dict[str, Any]] = (await response.json())["conflicts"]
        return found
