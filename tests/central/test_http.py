"""The API: sales, codes, reports, and who may use it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
import zxingcpp
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import update

from admission.codes import CodeBook, CreditCode, IssuerKey, KeyUse, ShortCode, TicketCode, parse, subject_key
from admission.reasons import Reason
from admission.tickets import Basis, Outcome
from central.images import code_png
from central.ingest import ingest
from central.reconcile import fold
from central.schema import sold_tickets
from central.settings import HttpTable
from central.store import Store
from central.web.server import make_app
from sync.protocol import Health, Presence, Stream, encode_json
from tests.central.conftest import Client, World
from tests.central.world import KEYS, NOW_MS, POLICY, Box, admitted, closed, refusal, register

PRODUCT = {"code": "DAY", "name_zh": "日票", "name_en": "Day ticket", "site_ids": ["fairy"]}
SALE = {"product": "DAY", "valid_from": "2026-06-20", "valid_until": "2026-06-21", "count": 2}
TOKEN = "t" * 20
LIST_TOKEN = "l" * 20
BOOK = CodeBook(
    {
        KEYS.issuer.key_id: IssuerKey(
            KEYS.issuer.key_id, KEYS.issuer.public.key, frozenset((KeyUse.TICKET, KeyUse.CREDIT))
        )
    },
    (),
    b"",
)


@pytest.fixture
async def shop(client: Client) -> Client:
    """A client of a centre that sells one product."""
    assert (await client.post("/v1/imports/products", json=[PRODUCT])).status == 200
    return client


async def sell(client: Client, idempotency_key: str = "", **changes: Any) -> tuple[int, dict[str, Any]]:
    """Sell tickets and return status and answer."""
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    response = await client.post("/v1/tickets", json=SALE | changes, headers=headers)
    return response.status, await response.json()


async def test_sold_code_is_what_the_gate_reads(shop: Client, world: World) -> None:
    """The code of a sold ticket parses to the key, the product and the validity of the sale."""
    status, answer = await sell(shop)
    assert (status, len(answer["tickets"])) == (201, 2)
    ticket = answer["tickets"][0]
    code = parse(ticket["code"].encode(), BOOK)
    assert isinstance(code, TicketCode)
    assert (code.key.hex(), code.product) == (ticket["key"], "DAY")
    assert (code.validity.from_s, code.validity.until_s) == (1781884800, 1782057600)
    assert code.validity.issued_s == NOW_MS // 1000
    assert world.changes == ["rights", "rights"]


async def test_vouchers_name_their_merchant_each_time(shop: Client) -> None:
    """At the sale, and whenever the code is shown again."""
    _, answer = await sell(shop, "given-away", merchant="m-17")
    ticket = answer["tickets"][0]
    again = await (await shop.get(f"/v1/tickets/{ticket['key']}/code")).json()
    for text in (ticket["code"], again["code"]):
        code = parse(text.encode(), BOOK)
        assert isinstance(code, TicketCode)
        assert code.merchant == subject_key("m-17")
    status, _ = await sell(shop, "given-away")
    assert status == 409


async def test_short_code_of_a_sold_ticket_names_that_ticket(shop: Client) -> None:
    """Typed or scanned, it is one right; what is shown again later is the same code."""
    _, answer = await sell(shop, "order-1")
    for ticket in answer["tickets"]:
        credential = parse(ticket["short_code"].encode(), replace(BOOK, hash_key=KEYS.hash_key))
        assert isinstance(credential, ShortCode)
        assert credential.key.hex() == ticket["key"]
    assert (await sell(shop, "order-1"))[1] == answer


async def test_ticket_from_before_there_were_short_codes_has_none(shop: Client, store: Store) -> None:
    """It is shown as it was sold."""
    _, answer = await sell(shop, "order-1")
    await store.run(lambda connection: connection.execute(update(sold_tickets).values(short_code=None)))
    again = (await sell(shop, "order-1"))[1]
    assert [ticket["short_code"] for ticket in again["tickets"]] == [None, None]
    assert [ticket["code"] for ticket in again["tickets"]] == [ticket["code"] for ticket in answer["tickets"]]


async def test_sale_with_the_same_key_is_the_same_sale(shop: Client) -> None:
    """A client that lost the answer asks again and gets it, word for word."""
    first = await sell(shop, "order-1")
    assert await sell(shop, "order-1") == first
    assert await sell(shop, "order-2") != first
    assert (await (await shop.get("/v1/summary")).json())["tickets"]["sold"] == 4


async def test_key_of_another_sale_is_refused(shop: Client) -> None:
    """An idempotency key stands for one order."""
    await sell(shop, "order-1")
    status, answer = await sell(shop, "order-1", count=3)
    assert (status, answer["error"]["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"product": "NONE"}, "product"),
        ({"count": 0}, "count"),
        ({"count": "2"}, "count"),
        ({"valid_from": "20.6.2026"}, "valid_from"),
        ({"valid_until": "2026-06-19"}, "valid_until"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_wrong_field_is_named(shop: Client, changes: dict[str, Any], field: str) -> None:
    """An error says which field is wrong."""
    status, answer = await sell(shop, **changes)
    assert (status, answer["error"]["field"]) == (422, field)


async def test_json_must_say_that_it_is(shop: Client) -> None:
    """A form of another page cannot sell tickets."""
    response = await shop.post("/v1/tickets", data=b"{}", headers={"Content-Type": "text/plain"})
    assert response.status == 415


async def test_credit_code_holds_for_a_day(client: Client) -> None:
    """The code names the subject's key and is valid now."""
    answer = await (await client.post("/v1/credit-codes", json={"subject": "anna"})).json()
    code = parse(answer["code"].encode(), BOOK)
    assert isinstance(code, CreditCode)
    assert code.key == subject_key("anna")
    assert code.validity.from_s <= NOW_MS // 1000 < code.validity.until_s == NOW_MS // 1000 + 86400


@pytest.mark.parametrize("accept", ["image/png", "image/svg+xml"])
async def test_code_comes_as_a_picture(shop: Client, accept: str) -> None:
    """A ticket's picture is of the type that was asked for."""
    ticket = (await sell(shop))[1]["tickets"][0]
    response = await shop.get(f"/v1/tickets/{ticket['key']}/code", headers={"Accept": accept})
    assert response.content_type == accept
    if accept == "image/png":
        assert read_picture(await response.read()) == ticket["code"]


@pytest.mark.parametrize("text", ["SG1:" + "A" * 150, "SG1:" + "A" * 400])
def test_picture_reads_back(text: str) -> None:
    """Short and long codes can be read from their pictures."""
    assert read_picture(code_png(text)) == text


def read_picture(data: bytes) -> str:
    """What a reader sees in a PNG."""
    picture = cv2.imdecode(np.frombuffer(BytesIO(data).getvalue(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return zxingcpp.read_barcodes(picture)[0].bytes.decode()


async def test_unknown_ticket_is_not_found(client: Client) -> None:
    """No ticket, no code; what is not hex is no key."""
    for path in ("/v1/tickets/00ff", "/v1/tickets/00ff/code", "/v1/tickets/xyz", "/v1/nothing"):
        response = await client.get(path)
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "not_found"


@pytest.fixture
async def busy(shop: Client, world: World) -> Client:
    """A client of a centre to which a box has told its day."""
    box = Box()
    key = bytes.fromhex((await sell(shop))[1]["tickets"][0]["key"])
    box.open_epoch()
    for number in (1, 2):
        box.append(admitted(number, key), NOW_MS + number)
        box.append(closed(number, Outcome.PASSED), NOW_MS + 100 * number)
    box.append(admitted(3, b"s" * 16, Basis.CREDIT_LINE, fare_fen=5000), NOW_MS + 3)
    box.append(closed(3, Outcome.ABANDONED))
    health = Health(list_version=3, list_age_s=4, backlog=5, lanes={"lane-1": "closed"}, problems=[])
    messages = (
        (box.topics.up(Stream.LEDGER), box.batch()),
        (box.topics.up(Stream.DIARY), box.diary([refusal(1), refusal(2, Reason.EXPIRED)])),
        (box.topics.presence, encode_json(Presence(session="s", online=True, at_ms=NOW_MS, health=health))),
    )
    store = world.centre.store
    await store.run(lambda connection: register(connection, box))
    for topic, message in messages:
        await store.run(partial(ingest, topic=topic, message=message, now_ms=NOW_MS))
    await store.run(lambda connection: fold(connection, POLICY))
    return shop


async def test_summary_counts(busy: Client) -> None:
    """The summary says what was sold, admitted, refused, passed and disputed."""
    found = await (await busy.get("/v1/summary")).json()
    assert found["tickets"]["sold"] == 2
    assert found["totals"] == {
        "events_received": 7,
        "events_folded": 7,
        "resumed": 0,
        "held_uses": 2,
        "passages": 2,
        "forks": 0,
        "admitted": {"TICKET": 2, "CREDIT_LINE": 1},
        "refused": {"ALREADY_USED": 1, "EXPIRED": 1},
    }
    assert found["conflicts"] == {"count": 1, "fen": 5000, "kinds": {"ticket_overused": 1}}
    assert found["charges"] == {"count": 0, "fen": 0}
    box = found["boxes"][0]
    assert (box["online"], box["health"]["backlog"], box["last_seen_ms"]) == (True, 5, NOW_MS)


@pytest.mark.parametrize(
    ("since", "admissions", "conflicts"),
    [(f"{NOW_MS + 2}", 2, 1), (f"{NOW_MS + 86_400_000}", 0, 0), ("today", 3, 1)],
)
async def test_summary_of_a_time(busy: Client, since: str, admissions: int, conflicts: int) -> None:
    """From a moment on, or of the sites' day; what was sold is told in all."""
    found = await (await busy.get(f"/v1/summary?since={since}")).json()
    assert sum(found["totals"]["admitted"].values()) == admissions
    assert found["conflicts"]["count"] == conflicts
    assert found["tickets"]["sold"] == 2
    assert found["since_ms"] == (POLICY.day_start_ms(NOW_MS) if since == "today" else int(since))


async def test_summary_of_no_time(busy: Client) -> None:
    """It says what is wrong with the question."""
    assert (await busy.get("/v1/summary?since=yesterday")).status == 422


async def test_admissions_tell_how_they_ended(busy: Client) -> None:
    """The newest admission comes first."""
    found = (await (await busy.get("/v1/admissions")).json())["admissions"]
    assert [(row["basis"], row["outcomes"], row["held"]) for row in found] == [
        ("credit_line", ["abandoned"], False),
        ("ticket", ["passed"], True),
        ("ticket", ["passed"], True),
    ]


async def test_admissions_can_be_asked_for(busy: Client) -> None:
    """By key, from a time on, and so many."""
    for query, expected in (("key=" + b"s".hex() * 16, 1), (f"since={NOW_MS + 2}", 2), ("limit=1", 1)):
        found = (await (await busy.get(f"/v1/admissions?{query}")).json())["admissions"]
        assert len(found) == expected
    for query in ("key=xyz", "since=-1", "limit=1000000"):
        assert (await busy.get(f"/v1/admissions?{query}")).status == 422


async def test_conflict_names_both_uses(busy: Client) -> None:
    """Where and when the right was used, and where and when once more."""
    row = (await (await busy.get("/v1/conflicts")).json())["conflicts"][0]
    assert (row["kind"], row["cost_fen"]) == ("ticket_overused", 5000)
    assert [row[name]["at_ms"] - NOW_MS for name in ("first", "excess")] == [1, 2]
    assert row["excess"]["box_id"] == "fairy-1"


async def test_refusals_carry_words_for_staff(busy: Client) -> None:
    """Every refusal says why, in both languages."""
    found = (await (await busy.get("/v1/refusals")).json())["refusals"]
    assert [(row["number"], row["reason"], row["verdict"]) for row in found] == [
        (2, "EXPIRED", "DENY"),
        (1, "ALREADY_USED", "DENY"),
    ]
    assert found[0]["staff_en"] == Reason.EXPIRED.wording.staff_en


async def test_health_probe_answers(client: Client) -> None:
    """The centre is well while its store can be used."""
    assert await (await client.get("/healthz")).json() == {"ok": True}


async def test_console_brings_everything_itself(client: Client) -> None:
    """The page allows no source but the centre."""
    for path in ("/", "/console/console.css", "/console/console.js", "/console/icon.svg"):
        response = await client.get(path)
        assert response.status == 200
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    assert (await client.get("/console/index.html")).status == 404


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [
        ("", "/v1/summary", 401),
        ("wrong", "/v1/summary", 401),
        (LIST_TOKEN, "/v1/summary", 401),
        (TOKEN, "/v1/summary", 200),
        (LIST_TOKEN, "/v1/lists/fairy/1", 404),
        ("", "/v1/lists/fairy/1", 401),
        ("", "/healthz", 200),
        ("", "/", 200),
    ],
)
async def test_token_opens_what_it_is_for(world: World, token: str, path: str, status: int) -> None:
    """One token opens everything, the boxes' token opens lists, the console's page holds nothing."""
    http = HttpTable(token=TOKEN, list_token=LIST_TOKEN)
    async with TestClient(TestServer(make_app(world.centre, http))) as client:
        response = await client.get(path, headers={"Authorization": f"Bearer {token}"})
        assert response.status == status
