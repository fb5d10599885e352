"""Credit orders at the centre: taken in, told, listed with what was used of them, and cancelled."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from admission.changes import CreditOrderRow
from admission.codes import subject_key
from admission.tickets import Basis, Outcome
from central.changes import changed_rows
from central.ingest import ingest
from central.lists import build_list
from central.reconcile import fold
from sync.protocol import Stream
from tests.central.conftest import Client, World
from tests.central.test_imports import accepted, refused
from tests.central.world import NOW_MS, POLICY, Box, admitted, closed, register

ORDER: dict[str, Any] = {
    "subject": "anna",
    "order": "A-1",
    "site_id": "fairy",
    "fare_fen": 4500,
    "quantity": 2,
    "valid_from": "2026-06-20",
    "valid_until": "2026-06-22",
}


async def test_orders_are_listed_with_their_uses(client: Client, world: World, tmp_path: Path) -> None:
    """As the boxes count them, order by order."""
    await accepted(client, "credit-orders", [ORDER, ORDER | {"order": "B-2"}])
    box = Box()
    box.append(admitted(1, subject_key("anna"), Basis.CREDIT_ORDER, scope="A-1", fare_fen=4500))
    box.append(closed(1, Outcome.PASSED))

    def told(connection: Any) -> None:
        register(connection, box)
        ingest(connection, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS)
        fold(connection, POLICY)

    await world.centre.store.run(told)
    path = tmp_path / "list"
    await world.centre.store.read(
        lambda sql: build_list(sql, path, POLICY, site_id="fairy", version=1, as_of_s=NOW_MS // 1000)
    )
    with closing(sqlite3.connect(path)) as sql:
        rows = sql.execute("SELECT order_id, fare_fen, quantity, used FROM credit_orders").fetchall()
    assert rows == [("A-1", 4500, 2, 1), ("B-2", 4500, 2, 0)]


async def test_cancelled_order_is_told_ahead_of_bulk(client: Client, world: World) -> None:
    """A quantity of 0 takes it away."""
    await accepted(client, "credit-orders", [ORDER])
    assert await accepted(client, "credit-orders", [ORDER | {"quantity": 0}]) == (0, 1, 0)
    urgent = await world.centre.store.read(lambda sql: changed_rows(sql, 0, 10, urgent_only=True))
    assert [(row.order_id, row.quantity) for row in urgent if isinstance(row, CreditOrderRow)] == [("A-1", 0)]


async def test_order_for_an_unknown_site_is_refused(client: Client) -> None:
    """With its field."""
    found = await refused(client, "credit-orders", [ORDER | {"site_id": "lake"}])
    assert [(row, field) for row, field, _ in found] == [(1, "site_id")]
