"""The console in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace
from playwright.sync_api import Page, expect, sync_playwright

from admission.tickets import Outcome
from sync.protocol import Stream
from tests.central.programs import listening
from tests.central.test_program import SALE, Scene, scene
from tests.central.world import admitted, closed, refusal

__all__ = ["scene"]
pytestmark = [pytest.mark.browser, pytest.mark.e2e]
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture
def page() -> Iterator[Page]:
    """A page that fails the test with whatever it writes to its console."""
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        opened = browser.new_page()
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        yield opened
        browser.close()
    assert said == []


def test_console_shows_what_arrives(scene: Scene, page: Page) -> None:
    """Sales, passages, refusals and conflicts appear without a reload, and no source but the centre is used."""
    key = bytes.fromhex(scene.centre.post("/v1/tickets", SALE)["tickets"][0]["key"])
    page.goto(scene.centre.url)
    expect(page.locator("#sold")).to_have_text("1")
    expect(page.locator("#passages")).to_have_text("0")
    box, now_ms = scene.box, time.time_ns() // 1_000_000
    for number in (1, 2):
        box.append(admitted(number, key), now_ms)
        box.append(closed(number, Outcome.PASSED), now_ms)
    with listening(scene.broker.port, box.topics.receipt) as ear:
        ear.say(box.topics.up(Stream.LEDGER), box.batch())
        ear.say(box.topics.up(Stream.DIARY), box.diary([replace(refusal(1), at_ms=now_ms)]))
    expect(page.locator("#passages")).to_have_text("2")
    expect(page.locator("#refused")).to_have_text("1")
    expect(page.locator("#conflict-rows")).to_contain_text("ticket used too often")
    sites_time = datetime.fromtimestamp(now_ms / 1000, ZoneInfo("Asia/Shanghai"))
    expect(page.locator("#conflict-rows")).to_contain_text(f"{sites_time:%H:%M:%S}")
    expect(page.locator("#boxes")).to_contain_text("fairy-1")
    scene.centre.post(f"/v1/boxes/{box.box_id}/bar", {})
    expect(page.locator("#boxes")).to_contain_text("已停用")
