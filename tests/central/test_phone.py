"""The phone that holds codes: what is bound to it, and its page in a real browser, with and without a network."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from admission.codes import CodeBook, CreditCode, IssuerKey, KeyUse, Rejected, TicketCode, parse, show
from admission.decision import decide
from admission.facts import Facts
from admission.holders import Showing, ShownBefore, prove, public_half
from admission.policy import LiveCodes
from admission.reasons import Reason
from admission.terms import Terms
from admission.tickets import Product, Ticket, TicketStatus
from central.keys import CentreKeys, load_keys
from central.settings import HttpTable
from central.web.server import make_app
from scanner.decoder import decode_frame
from tests.central.conftest import Client, World
from tests.central.test_http import BOOK, TOKEN, sell, shop
from tests.central.test_program import SALE, Scene, scene
from tests.central.world import NOW_MS, POLICY

__all__ = ["scene", "shop"]
PHONE, OTHER_PHONE = (ec.derive_private_key(number, ec.SECP256R1()) for number in (7, 8))
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LIVE = Terms(live=True)
CLOCKED = replace(POLICY, live_codes=LiveCodes())


def point(phone: ec.EllipticCurvePrivateKey) -> str:
    """A phone's public key as the page sends it."""
    return base64.b64encode(public_half(phone)).decode()


async def bind(client: Client, code: str, phone: ec.EllipticCurvePrivateKey = PHONE) -> tuple[int, Any]:
    """Ask for a code that is bound to a phone."""
    response = await client.post("/phone/codes", json={"code": code, "holder_key": point(phone)})
    return response.status, await response.json()


# What the centre binds ------------------------------------------------------------------------------------


async def test_a_bound_code_is_the_same_ticket_and_shows_its_phone(shop: Client) -> None:
    """Key, product and times are those of the sale; what the phone adds is believed."""
    _, answer = await sell(shop)
    sold = answer["tickets"][0]
    status, bound = await bind(shop, sold["code"])
    assert (status, bound["key"], bound["kind"], bound["name_zh"]) == (200, sold["key"], "ticket", "日票")
    at_s = NOW_MS // 1000
    live = show(bound["code"], lambda envelope: prove(envelope, at_s, PHONE)).encode()
    read = parse(live, BOOK)
    assert read == parse(sold["code"].encode(), BOOK)
    assert isinstance(read, TicketCode)
    assert read.showing == Showing(public_half(PHONE), at_s)


async def test_a_credit_code_is_bound_too(shop: Client) -> None:
    """The next day's code of the same person goes to the same phone."""
    for _ in range(2):
        issued = await (await shop.post("/v1/credit-codes", json={"subject": "s-1"})).json()
        status, bound = await bind(shop, issued["code"])
        assert (status, bound["kind"]) == (200, "credit")
        read = parse(bound["code"].encode(), BOOK)
        assert isinstance(read, CreditCode)
        assert read.showing == Showing(public_half(PHONE))


async def test_a_code_is_on_one_phone_until_it_is_released(shop: Client) -> None:
    """Whoever copied it comes too late; whoever changes phones asks at the counter."""
    _, answer = await sell(shop)
    sold = answer["tickets"][0]
    _, bound = await bind(shop, sold["code"])
    for code in (sold["code"], bound["code"]):
        status, refused = await bind(shop, code, OTHER_PHONE)
        assert (status, refused["error"]["code"]) == (409, "bound_elsewhere")
    assert (await bind(shop, sold["code"]))[0] == 200
    assert (await shop.delete(f"/v1/holders/{sold['key']}")).status == 200
    assert (await bind(shop, sold["code"], OTHER_PHONE))[0] == 200
    assert (await shop.delete(f"/v1/holders/{'00' * 16}")).status == 404


@pytest.mark.parametrize(
    ("changes", "status", "error", "field"),
    [
        ({"code": "OTA0123456789"}, 422, "not_a_code", "code"),
        ({"code": "23456789ABCDE"}, 422, "not_a_code", "code"),
        ({"code": "SG1:"}, 422, "not_a_code", "code"),
        ({"holder_key": "AAAA"}, 422, "invalid_request", "holder_key"),
        ({"holder_key": "?"}, 422, "invalid_request", "holder_key"),
        (
            {"holder_key": base64.b64encode(b"\x02" + b"\xff" * 32).decode()},
            422,
            "invalid_request",
            "holder_key",
        ),
    ],
)
async def test_what_cannot_be_bound_is_named(
    shop: Client, changes: dict[str, str], status: int, error: str, field: str
) -> None:
    """And nothing is noted of it."""
    _, answer = await sell(shop)
    wanted = {"code": answer["tickets"][0]["code"], "holder_key": point(PHONE)} | changes
    response = await shop.post("/phone/codes", json=wanted)
    said = (await response.json())["error"]
    assert (response.status, said["code"], said["field"]) == (status, error, field)


async def test_a_code_whose_time_is_over_is_not_bound(shop: Client) -> None:
    """It would admit nowhere."""
    _, answer = await sell(shop, valid_from="2020-01-01", valid_until="2020-01-02")
    status, refused = await bind(shop, answer["tickets"][0]["code"])
    assert (status, refused["error"]["code"]) == (410, "expired")


async def test_a_phone_needs_no_token_and_a_release_does(world: World) -> None:
    """The code itself is what a visitor has."""
    async with TestClient(TestServer(make_app(world.centre, HttpTable(token=TOKEN)))) as client:
        assert (await client.get("/phone/")).status == 200
        assert (await bind(client, "x"))[0] == 422
        assert (await client.delete(f"/v1/holders/{'00' * 16}")).status == 401


# The page -------------------------------------------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A real browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        yield browser
        browser.close()


def phone(browser: Browser) -> BrowserContext:
    """A phone with a browser of its own."""
    return browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=2)


def book(keys: CentreKeys) -> CodeBook:
    """What a box trusts."""
    issuer = IssuerKey(keys.issuer.key_id, keys.issuer.public.key, frozenset(KeyUse))
    return CodeBook({issuer.key_id: issuer}, (), keys.hash_key)


def photographed(page: Page) -> bytes:
    """What a camera reads of the phone's screen."""
    picture = np.frombuffer(page.screenshot(), np.uint8)
    gray = cv2.imdecode(picture, cv2.IMREAD_GRAYSCALE)
    texts = decode_frame(np.asarray(gray, np.uint8))
    assert len(texts) == 1
    return texts[0].encode()


def next_code(page: Page, after: bytes) -> bytes:
    """The phone's next code, photographed once the page shows it."""
    expect(page.locator("#symbol")).not_to_have_attribute("data-text", after.decode(), timeout=20_000)
    return photographed(page)


def decided(payload: bytes, trusted: CodeBook, before: ShownBefore | None = None) -> Reason:
    """What a box says of a phone now, when the list has its ticket and its product has to be live."""
    credential = parse(payload, trusted)
    assert not isinstance(credential, Rejected)
    now_ms = time.time_ns() // 1_000_000
    row = Ticket(TicketStatus.VALID, "DAY", 1, 0, 0, 0, 1 << 39)
    product = Product("DAY", "日票", "Day ticket", frozenset({"fairy"}), LIVE)
    facts = Facts("fairy", "1", None, product, row, shown_before=before)
    return decide(credential, facts, CLOCKED, now_ms).reason


@pytest.mark.e2e
@pytest.mark.browser
def test_a_phone_shows_live_codes_without_a_network_and_a_picture_of_one_admits_nobody(
    scene: Scene, browser: Browser, tmp_path: Path
) -> None:
    """Bound once, then reloaded offline: every code is new, read by the camera, and good for one showing."""
    trusted = book(load_keys(tmp_path / "keys"))
    sold = scene.centre.post("/v1/tickets", SALE)["tickets"][0]
    assert decided(sold["code"].encode(), trusted) is Reason.NOT_LIVE
    with phone(browser) as context:
        page = context.new_page()
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{scene.centre.url}/phone/#{quote(sold['code'])}")
        expect(page.locator("#name-zh")).to_have_text("日票")
        assert "#" not in page.url
        first = next_code(page, b"")
        assert decided(first, trusted) is Reason.TICKET
        page.evaluate("navigator.serviceWorker.ready")
        context.set_offline(True)
        page.reload()
        expect(page.locator("#network")).to_have_text("离线可用 works offline")
        reloaded = next_code(page, first)  # perhaps of the same second
        second = next_code(page, reloaded)
        assert decided(second, trusted, seen(first, trusted)) is Reason.TICKET
        assert decided(first, trusted, seen(second, trusted)) is Reason.NOT_LIVE
        assert said == []


def seen(payload: bytes, trusted: CodeBook) -> ShownBefore:
    """What a box remembers of a code that it has admitted on."""
    credential = parse(payload, trusted)
    assert isinstance(credential, TicketCode)
    assert credential.showing is not None
    assert credential.showing.shown_s is not None
    return ShownBefore(credential.showing.shown_s, None)


@pytest.mark.e2e
@pytest.mark.browser
def test_a_second_phone_is_told_that_the_code_is_on_another(scene: Scene, browser: Browser) -> None:
    """In both languages, with what to do; and what is no code is told apart."""
    sold = scene.centre.post("/v1/tickets", SALE)["tickets"][0]
    with phone(browser) as mine, phone(browser) as other:
        page = mine.new_page()
        page.goto(f"{scene.centre.url}/phone/#{quote(sold['code'])}")
        expect(page.locator("#symbol")).to_be_visible()
        page = other.new_page()
        page.goto(f"{scene.centre.url}/phone/#{quote(sold['code'])}")
        expect(page.locator("#trouble")).to_contain_text("请到服务台办理")
        expect(page.locator("#trouble")).to_contain_text("Please come to the service counter")
        page.locator("#code").fill("SG1:NOT A CODE")
        page.locator("#add button").click()
        expect(page.locator("#trouble")).to_contain_text("Please paste it again")
        expect(page.locator("#shown")).to_be_hidden()
