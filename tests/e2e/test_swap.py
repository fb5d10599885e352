"""A box is lost, and a spare with an empty memory takes its lanes by one command."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.cast import Guest
from demo.street import draw_empty, draw_one
from demo.world import World
from tests.e2e.street import Street, all_sent
from tests.support.site_box import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
AT_MOST_S = 600
SILENT_MS = 500


async def test_a_spare_doubles_nothing_that_the_lost_box_let_in(world: World) -> None:
    """What only the centre knows of and what only the neighbour heard is refused; what nobody used is admitted."""
    today = datetime.now(UTC).date()
    async with world.back_office as office:
        days = (str(today - timedelta(days=1)), str(today + timedelta(days=1)))
        told, heard, fresh = await office.sell("DAY1", *days, 3)
    lines = {
        name: draw_one(Guest(name, name, sold.code, (), lane="1"), world.folder, seed)
        for seed, (name, sold) in enumerate(
            {"told": told, "heard": heard, "told_again": told, "heard_again": heard, "fresh": fresh}.items()
        )
    }
    await world.start_box()
    await eventually(world.is_listed, "the list")
    await eventually(world.is_in_touch, "the boxes hearing each other")
    street = Street(world)
    street.send(draw_empty(world.folder, 1), lines["told"])
    await eventually(street.has(["TICKET"]), "the first visitor")
    await eventually(all_sent(world), "the centre hearing of it")
    world.boxes["B1"].cut_centre(silent_ms=SILENT_MS)
    street.send(lines["heard"])
    await eventually(street.has(["TICKET"] * 2), "the second visitor")
    await eventually(world.boxes["B2"].hears_its_neighbours, "the neighbour hearing of it")
    began_s = time.monotonic()
    await world.replace_box("B1", "B1a")
    await eventually(world.is_listed, "the list on the spare")
    await eventually(world.is_in_touch, "the spare hearing its neighbour")
    await eventually(nothing_open(world), "the neighbour telling what it heard")
    street.send(lines["told_again"], lines["heard_again"])
    await eventually(street.has(["TICKET", "TICKET", "ALREADY_USED", "ALREADY_USED"]), "the copies")
    await eventually(has_room(world), "a share of the capacity for the spare")
    street.send(lines["fresh"], json.dumps({"end": True}))
    await eventually(street.has(["TICKET", "TICKET", "ALREADY_USED", "ALREADY_USED", "TICKET"]), "the rest")
    assert time.monotonic() - began_s < AT_MOST_S


def has_room(world: World) -> Callable[[], Any]:
    """Whether the spare says in its ledger that it has taken a share of the room that is left."""

    async def holds() -> bool:
        with closing(sqlite3.connect(f"file:{world.centre_store}?mode=ro", uri=True, timeout=10)) as sql:
            query = "SELECT 1 FROM taken_shares NATURAL JOIN shares WHERE box_id = 'B1a' AND inside > 0 AND today > 0"
            return sql.execute(query).fetchone() is not None

    return holds


def nothing_open(world: World) -> Callable[[], Any]:
    """Whether the spare has nothing left to ask."""

    async def holds() -> bool:
        state = await world.boxes["B1a"].state()
        return state is not None and not any(
            "is being asked" in problem for problem in state["box"]["problems"]
        )

    return holds
