"""What the centre takes back when its own clock was wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from central.changes import changes_since, mark
from central.rights import current_revision
from central.time_repairs import repair_time, time_repairs
from sync.protocol import TimeRepair
from tests.central.conftest import Client, World
from tests.central.test_reconcile import connection
from tests.central.world import NOW_MS, Box, register

__all__ = ["connection"]
SITE_ID = Box().site_id


def test_nothing_is_told_while_nothing_was_repaired(connection: Connection) -> None:
    """A site with boxes hears no word."""
    register(connection, Box())
    assert time_repairs(connection) == []


def test_the_last_repair_is_told(connection: Connection) -> None:
    """To every site that has boxes."""
    register(connection, Box(), Box(box_id="bridges-1", site_id="bridges"))
    repair_time(connection, NOW_MS - 5)
    number = repair_time(connection, NOW_MS).number
    assert time_repairs(connection) == [
        TimeRepair(site_id=site_id, number=number, at_ms=NOW_MS) for site_id in ("bridges", SITE_ID)
    ]


def test_what_is_told_after_a_repair_goes_beyond_it(connection: Connection) -> None:
    """Boxes tell by the revision what was signed before: no right changed, and it is another one."""
    before = current_revision(connection)
    repair = repair_time(connection, NOW_MS)
    told = changes_since(connection, SITE_ID, before, mark(connection, lambda: NOW_MS))
    assert before < repair.number == told.to_revision
    assert (told.rows, told.as_of_s) == ((), NOW_MS // 1000)


async def repair(client: Client, now: datetime | str) -> tuple[int, dict[str, Any]]:
    """Ask for a repair and return status and answer."""
    text = now if isinstance(now, str) else now.isoformat()
    response = await client.post("/v1/time/repair", json={"now": text})
    return response.status, await response.json()


NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)


async def test_a_repair_is_told_at_once(client: Client, world: World) -> None:
    """And leads to a new list, although no right has changed."""
    status, answer = await repair(client, NOW + timedelta(minutes=4))
    assert (status, answer["at_ms"]) == (200, NOW_MS)
    assert world.changes == ["time", "rights"]


@pytest.mark.parametrize(
    ("now", "status", "code", "words"),
    [
        (NOW + timedelta(minutes=6), 409, "clock_differs", "set that clock first"),
        (NOW - timedelta(days=3650), 409, "clock_differs", "set that clock first"),
        (NOW.replace(tzinfo=None), 422, "invalid_request", "now"),
        ("today", 422, "invalid_request", "now"),
    ],
)
async def test_a_centre_whose_clock_is_wrong_still_repairs_nothing(
    client: Client, world: World, now: datetime | str, status: int, code: str, words: str
) -> None:
    """Whoever asks says what time it is: the boxes are not told another wrong time."""
    got, answer = await repair(client, now)
    assert (got, answer["error"]["code"]) == (status, code)
    assert words in str(answer)
    assert world.changes == []
