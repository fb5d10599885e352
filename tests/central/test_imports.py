"""Files that the centre takes in: all of a file or nothing, and every mistake by row and field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Table, select

from admission.codes import external_key, subject_key
from admission.keys import public_key_text
from central.ingest import ingest
from central.reconcile import fold
from central.schema import boxes, conflicts, credit_lines, memberships, products, tickets
from sync.protocol import Stream
from tests.central.conftest import Client, World
from tests.central.world import KEYS, NOW_MS, POLICY, Box, admitted, register, signing_key

PRODUCT = {"code": "DAY", "name_zh": "日票", "name_en": "Day ticket", "site_ids": ["fairy", "bridges"]}
TICKETS = """issuer,code,product,quantity,valid_from,valid_until
ota,A1,DAY,1,2026-06-20,2026-06-21
ota,A2,DAY,3,2026-06-20T08:00:00+08:00,2026-06-21T18:00:00+08:00
"""


async def post(client: Client, kind: str, body: Any) -> tuple[int, dict[str, Any]]:
    """Import CSV text, or rows as JSON, and return status and answer."""
    if isinstance(body, str):
        data, content_type = body.encode(), "text/csv"
    else:
        data, content_type = json.dumps(body).encode(), "application/json"
    response = await client.post(f"/v1/imports/{kind}", data=data, headers={"Content-Type": content_type})
    return response.status, await response.json()


async def accepted(client: Client, kind: str, body: Any) -> tuple[int, int, int]:
    """Import what must be fine and return the rows created, updated and unchanged."""
    status, answer = await post(client, kind, body)
    assert status == 200, answer
    return answer["created"], answer["updated"], answer["unchanged"]


async def refused(client: Client, kind: str, body: Any) -> list[tuple[int, str, str]]:
    """Import what must be refused and return the mistakes as (row, field, problem)."""
    status, answer = await post(client, kind, body)
    assert (status, answer["error"]["code"]) == (422, "invalid_rows")
    return [(mistake["row"], mistake["field"], mistake["problem"]) for mistake in answer["errors"]]


async def rows(world: World, table: Table) -> list[Any]:
    """All rows of a table."""
    return await world.centre.store.read(lambda connection: list(connection.execute(select(table))))


@pytest.fixture
async def sold(client: Client) -> Client:
    """A client of a centre that has one product and two tickets of another issuer."""
    await accepted(client, "products", [PRODUCT])
    await accepted(client, "tickets", TICKETS)
    return client


async def test_same_file_twice_changes_nothing(sold: Client, world: World) -> None:
    """The second import says that everything is there, and no list is due for it."""
    before = await rows(world, tickets)
    changes = len(world.changes)
    assert await accepted(sold, "tickets", TICKETS) == (0, 0, 2)
    assert await rows(world, tickets) == before
    assert len(world.changes) == changes


async def test_csv_and_json_say_the_same(sold: Client) -> None:
    """A row is the same in either form."""
    row = {
        "issuer": "ota",
        "code": "A1",
        "product": "DAY",
        "quantity": 1,
        "valid_from": "2026-06-20",
        "valid_until": "2026-06-21",
    }
    assert await accepted(sold, "tickets", {"rows": [row]}) == (0, 0, 1)


async def test_ticket_is_stored_under_its_keyed_hash(sold: Client, world: World) -> None:
    """The plain code of another issuer is nowhere; dates are whole local days."""
    stored = {row.key: row for row in await rows(world, tickets)}
    ticket = stored[external_key("ota", "A1", KEYS.hash_key)]
    # 2026-06-20 00:00 and 2026-06-22 00:00 in Shanghai
    assert (ticket.valid_from_s, ticket.valid_until_s) == (1781884800, 1782057600)


async def test_changed_row_is_updated_and_numbered(sold: Client, world: World) -> None:
    """A later file may change a ticket; its row gets a higher revision, others keep theirs."""
    before = {row.key: row.revision for row in await rows(world, tickets)}
    changed = TICKETS.replace("A2,DAY,3", "A2,DAY,4")
    assert await accepted(sold, "tickets", changed) == (0, 1, 1)
    after = {row.key: row.revision for row in await rows(world, tickets)}
    key = external_key("ota", "A2", KEYS.hash_key)
    assert after[key] > before[key]
    assert {k: v for k, v in after.items() if k != key} == {k: v for k, v in before.items() if k != key}


async def test_all_mistakes_are_reported_and_nothing_is_stored(sold: Client, world: World) -> None:
    """One good row among bad ones is not taken either."""
    body = """issuer,code,product,quantity,valid_from,valid_until
ota,B1,DAY,1,2026-06-20,2026-06-21
ota,B2,DAY,many,202261-2023531,2026-06-21
ota,B3,NONE,0,2026-06-20T08:00:00,2026-02-30
ota,B4,DAY,1,2026-06-22,2026-06-21
"""
    assert await refused(sold, "tickets", body) == [
        (2, "quantity", "not a whole number"),
        (2, "valid_from", _NOT_A_DATE),
        (3, "quantity", "not from 1 to 10000"),
        (3, "valid_from", _NOT_A_DATE),
        (3, "valid_until", "no such date or time: day is out of range for month"),
        (4, "valid_until", "not after valid_from"),
    ]
    assert len(await rows(world, tickets)) == 2


_NOT_A_DATE = "not an ISO 8601 date (2026-07-01) or time with offset (2026-07-01T08:00:00+08:00)"


async def test_mistake_carries_its_value(sold: Client) -> None:
    """Whoever mends the file sees what stood there."""
    _, answer = await post(sold, "refunds", "issuer,code,refunded\nota,A1,1.5\n")
    assert answer["errors"] == [
        {"row": 1, "field": "refunded", "problem": "not a whole number", "value": "1.5"}
    ]


async def test_unknown_product_is_refused(sold: Client) -> None:
    """A ticket of a product that nobody knows would admit nowhere."""
    body = TICKETS.replace("A2,DAY", "A2,NONE")
    assert await refused(sold, "tickets", body) == [(2, "product", "no such product")]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "the file has no header"),
        (b"issuer,issuer\na,b\n", "a column appears twice"),
        ("票号\n".encode("gbk"), "the file is not UTF-8"),
        (b'issuer,"code\na,b\n', "the file is not CSV: unexpected end of data"),
    ],
)
async def test_file_that_is_no_table_is_refused(client: Client, body: bytes, problem: str) -> None:
    """What cannot be taken apart into rows is one mistake of the file."""
    response = await client.post("/v1/imports/tickets", data=body, headers={"Content-Type": "text/csv"})
    assert response.status == 422
    assert (await response.json())["error"] == {"code": "invalid_file", "message": problem}


async def test_unknown_and_missing_columns_are_named(client: Client) -> None:
    """A file of another kind is told which fields this one has."""
    mistakes = await refused(client, "groups", "subject,grupo\nanna,good\n")
    assert [(row, field) for row, field, _ in mistakes] == [
        (1, "grupo"),
        (1, "group"),
        (1, "valid_from"),
        (1, "valid_until"),
    ]


async def test_repeated_row_is_harmless_and_contradiction_is_not(sold: Client) -> None:
    """The same row twice in a file says nothing new; two rows that differ are a mistake."""
    line = "ota,A1,1\n"
    assert await accepted(sold, "refunds", f"issuer,code,refunded\n{line}{line}") == (0, 1, 1)
    body = "issuer,code,refunded\nota,A2,1\nota,A2,2\n"
    assert await refused(sold, "refunds", body) == [(2, "issuer", "row 1 says something else of the same")]


async def test_refunds_are_cumulative(sold: Client, world: World) -> None:
    """The most that was reported stands, an older file changes nothing."""
    head = "issuer,code,refunded\n"
    assert await accepted(sold, "refunds", f"{head}ota,A2,2\n") == (0, 1, 0)
    assert await accepted(sold, "refunds", f"{head}ota,A2,1\n") == (0, 0, 1)
    stored = {row.key: row.refunded for row in await rows(world, tickets)}
    assert stored[external_key("ota", "A2", KEYS.hash_key)] == 2


async def test_refund_above_the_quantity_is_refused(sold: Client) -> None:
    """No more can be given back than was sold."""
    body = "issuer,code,refunded\nota,A1,2\nota,A9,1\n"
    assert await refused(sold, "refunds", body) == [
        (1, "refunded", "more than the ticket's quantity of 1"),
        (2, "code", "no such ticket"),
    ]


async def test_quantity_below_the_refunds_is_refused(sold: Client) -> None:
    """A ticket cannot shrink to less than was refunded of it."""
    await accepted(sold, "refunds", "issuer,code,refunded\nota,A2,2\n")
    body = TICKETS.replace("A2,DAY,3", "A2,DAY,1")
    assert await refused(sold, "tickets", body) == [(2, "quantity", "less than the 2 refunded already")]


async def test_refund_of_a_used_ticket_becomes_a_conflict(sold: Client, world: World) -> None:
    """The import judges the ticket's uses again."""
    box = Box()
    box.append(admitted(1, external_key("ota", "A1", KEYS.hash_key)))
    store = world.centre.store
    await store.run(lambda connection: register(connection, box))
    await store.run(lambda c: ingest(c, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS))
    await store.run(lambda connection: fold(connection, POLICY))
    assert await rows(world, conflicts) == []
    await accepted(sold, "refunds", "issuer,code,refunded\nota,A1,1\n")
    assert [row.kind for row in await rows(world, conflicts)] == ["used_and_refunded"]


async def test_own_ticket_is_named_by_its_id(sold: Client, world: World) -> None:
    """Tickets of this centre are refunded and blocked by ticket id, without an issuer."""
    sale = {"product": "DAY", "valid_from": "2026-06-20", "valid_until": "2026-06-21"}
    ticket = (await (await sold.post("/v1/tickets", json=sale)).json())["tickets"][0]
    await accepted(sold, "refunds", f"code,refunded\n{ticket['ticket_id']},1\n")
    await accepted(sold, "statuses", f"code,status\n{ticket['ticket_id']},blocked\n")
    state = await (await sold.get(f"/v1/tickets/{ticket['key']}")).json()
    assert (state["refunded"], state["status"]) == (1, "blocked")
    assert await refused(sold, "statuses", "code,status\nxyz,lost\n") == [
        (1, "status", "not one of valid, unpaid, blocked, revoked")
    ]


async def test_groups_are_stored_under_the_subjects_key(client: Client, world: World) -> None:
    """A member may be in several groups; who it is, is not stored."""
    body = """subject,group,valid_from,valid_until
anna,good,2026-01-01,2026-12-31
anna,重庆好人,2026-01-01,2026-12-31
"""
    assert await accepted(client, "groups", body) == (2, 0, 0)
    assert await accepted(client, "groups", body) == (0, 0, 2)
    assert await accepted(client, "groups", body.replace("12-31", "12-30")) == (0, 2, 0)
    stored = await rows(world, memberships)
    assert {row.key for row in stored} == {subject_key("anna")}


async def test_credit_lines_are_updated(client: Client, world: World) -> None:
    """A later file sets another limit."""
    head = "subject,limit_fen,per_visit_fen,valid_until\n"
    await accepted(client, "credit-lines", f"{head}anna,20000,10000,2026-12-31\n")
    assert await accepted(client, "credit-lines", f"{head}anna,30000,10000,2026-12-31\n") == (0, 1, 0)
    assert [row.limit_fen for row in await rows(world, credit_lines)] == [30000]
    assert [mistake[1] for mistake in await refused(client, "credit-lines", f"{head}anna,-1,x,\n")] == [
        "limit_fen",
        "per_visit_fen",
        "valid_until",
    ]


async def test_products_name_known_sites(client: Client, world: World) -> None:
    """In CSV the sites stand in one cell, with blanks between them."""
    head = "code,name_zh,name_en,site_ids\n"
    assert await accepted(client, "products", f"{head}DAY,日票,Day,fairy bridges\n") == (1, 0, 0)
    assert [row.site_ids for row in await rows(world, products)] == ['["bridges", "fairy"]']
    mistakes = await refused(client, "products", f"{head}DAY,日票,Day,moon\n")
    assert mistakes == [(1, "site_ids", "moon is not one of bridges, fairy")]


async def test_boxes_are_registered_with_their_keys(client: Client, world: World) -> None:
    """A box is known by its id, its site and its public key."""
    row = {"box_id": "fairy-1", "site_id": "fairy", "public_key": Box().public_text}
    assert await accepted(client, "boxes", [row]) == (1, 0, 0)
    assert [(r.box_id, r.site_id) for r in await rows(world, boxes)] == [("fairy-1", "fairy")]
    demo = public_key_text(signing_key("box", demo=True).public)
    bad = {"box_id": "a/b", "site_id": "moon", "public_key": demo}
    assert [
        (field, problem.split(",")[0]) for _, field, problem in await refused(client, "boxes", [bad])
    ] == [
        ("box_id", "not of the form [A-Za-z0-9_.-]+"),
        ("site_id", "not one of bridges"),
        ("public_key", "a demo key"),
    ]


async def test_import_of_an_unknown_kind_is_not_found(client: Client) -> None:
    """The answer names the kinds that there are."""
    status, answer = await post(client, "visitors", "a\n")
    assert (status, answer["error"]["code"]) == (404, "not_found")
    assert "credit-lines" in answer["error"]["message"]


async def test_import_of_another_type_is_refused(client: Client) -> None:
    """Only CSV and JSON are read, and only when they say so."""
    response = await client.post("/v1/imports/tickets", data=b"x", headers={"Content-Type": "text/plain"})
    assert response.status == 415
