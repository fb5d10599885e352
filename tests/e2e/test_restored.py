"""The centre is lost and comes back from a backup: what it knew since then it learns from the boxes again."""

from __future__ import annotations

import json
import sqlite3
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


async def test_a_restored_centre_loses_and_doubles_nothing(world: World) -> None:
    """Uses since the backup are there again, once; its lists are newer than those before, and boxes take them."""
    today = datetime.now(UTC).date()
    async with world.back_office as office:
        days = (str(today - timedelta(days=1)), str(today + timedelta(days=1)))
        before, since, fresh = await office.sell("DAY1", *days, 3)
    lines = {
        name: draw_one(Guest(name, name, sold.code, (), lane="1"), world.folder, seed)
        for seed, (name, sold) in enumerate(
            {"before": before, "since": since, "before_2": before, "since_2": since, "fresh": fresh}.items()
        )
    }
    await world.start_box()
    await eventually(world.is_listed, "the list")
    await eventually(world.is_in_touch, "the boxes hearing each other")
    street = Street(world)
    street.send(draw_empty(world.folder, 1), lines["before"])
    await eventually(folded(world, 1), "the centre counting the first visitor")
    backup = world.folder / "backup.db"
    await world.back_up_centre(backup)
    street.send(lines["since"])
    await eventually(folded(world, 2), "the centre counting the second visitor")
    await eventually(all_sent(world), "the receipt of that")
    lists = await list_versions(world)
    await world.restore_centre(backup)
    await eventually(folded(world, 2), "the restored centre counting both")
    await eventually(all_sent(world), "its receipts")
    await eventually(world.is_listed, "its list")
    assert all(new > old for old, new in zip(lists, await list_versions(world), strict=True))
    street.send(lines["before_2"], lines["since_2"], lines["fresh"], json.dumps({"end": True}))
    answers = ["TICKET", "TICKET", "ALREADY_USED", "ALREADY_USED", "TICKET"]
    await eventually(street.has(answers), "the copies and one more visitor")
    await eventually(folded(world, 3), "the centre counting that one")
    assert count(world, "conflicts") == 0


def count(world: World, table: str) -> int:
    """How many rows the centre has in a table."""
    with closing(sqlite3.connect(f"file:{world.centre_store}?mode=ro", uri=True, timeout=10)) as sql:
        return int(sql.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - this test's own


def folded(world: World, uses: int) -> Callable[[], Any]:
    """Whether the centre counts exactly so many uses."""

    async def holds() -> bool:
        return count(world, "uses") == uses

    return holds


async def list_versions(world: World) -> list[int]:
    """The lists that the boxes decide by."""
    states = [await box.state() for box in world.boxes.values()]
    return [state["box"]["list_version"] for state in states if state]
