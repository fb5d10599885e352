"""The staff's page in a real browser, at a real box: camera, scanner, typing, and what can go wrong."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import zxingcpp
from playwright.async_api import Page, async_playwright, expect

from admission.short_codes import grouped, short_code
from offline_cache.opening import FILE_NAME
from tests.faults.box import Box, running, ticket_code
from tests.support.waiting import until_asked

pytestmark = [pytest.mark.browser, pytest.mark.e2e]
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_PATIENCE_MS = 20_000
STAFF = {"w12": "steward", "s1": "supervisor"}
UNKNOWN = "OTA-0123456789"


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    """A box with a lane that staff attend."""
    async with running(Box(tmp_path, staff=dict(STAFF))) as box:
        yield box


@asynccontextmanager
async def phone(*flags: str) -> AsyncIterator[Page]:
    """A browser as large as a phone; what it writes to its console, but for refused requests, fails the test."""
    said: list[str] = []
    expect.set_options(timeout=_PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=[*_FLAGS, *flags]
        )
        context = await browser.new_context(viewport={"width": 412, "height": 915}, permissions=["camera"])
        page = await context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        yield page
        await browser.close()
    assert [line for line in said if "Failed to load resource" not in line] == []


async def enter(page: Page, box: Box, staff_id: str = "w12") -> None:
    """Open the page and give one's token."""
    await page.goto(f"http://127.0.0.1:{box.web_port}/handheld")
    await page.locator("#token").fill(f"token of {staff_id}")
    await page.locator("#token-form button").click()
    await expect(page.locator("#work")).to_be_visible()


async def typed(page: Page, text: str) -> None:
    """Type a code into the field, as somebody reads it out."""
    await page.locator("#code").fill(text)
    await page.locator("#code-form button").click()


async def shows(page: Page, verdict: str) -> None:
    """Wait for this verdict."""
    await expect(page.locator("#verdict")).to_have_attribute("data-verdict", verdict)


async def test_a_visitor_goes_in(box: Box) -> None:
    """A code is admitted, in both languages and with its record; the attendant's word makes it a passage."""
    async with phone() as page:
        await enter(page, box)
        await typed(page, ticket_code(0).decode())
        await shows(page, "ADMIT")
        await expect(page.locator("#word")).to_contain_text("欢迎光临")
        await expect(page.locator("#word")).to_contain_text("Welcome")
        await expect(page.locator("#record")).to_contain_text("box-1-")
        await page.locator("#passed").click()
        await shows(page, "none")

        async def has_passed() -> bool:
            _, state = await box.get("/v1/state")
            return bool(state["lanes"][1]["passed"] == 1)

        await until_asked(has_passed, "the passage")


async def test_a_wedge_scanner_needs_no_field(box: Box) -> None:
    """A scanner that types into the page is read; the same ticket a second time is refused."""
    async with phone() as page:
        await enter(page, box)
        await page.locator("#who").click()
        await page.keyboard.type(ticket_code(1).decode())
        await page.keyboard.press("Enter")
        await shows(page, "ADMIT")
        await page.keyboard.type(ticket_code(1).decode())
        await page.keyboard.press("Enter")
        await shows(page, "DENY")
        await expect(page.locator("#detail")).to_contain_text("lane H1")
        await expect(page.locator("#needs")).to_contain_text("主管")
        await expect(page.locator("#list li")).to_have_count(2)


async def test_a_referral_is_confirmed(box: Box) -> None:
    """What the box cannot know staff look up, and let in with the reason."""
    async with phone() as page:
        await enter(page, box)
        await typed(page, UNKNOWN)
        await shows(page, "REFER")
        await page.locator("#codes button[data-code=order_checked]").click()
        await shows(page, "ADMIT")
        await expect(page.locator("#why")).to_contain_text("Let in by staff")


async def test_a_mistyped_short_code_is_asked_for_again(box: Box) -> None:
    """One wrong character is found at once; the right code is looked up, which here needs a list."""
    code = grouped(short_code(20_261_127))
    async with phone() as page:
        await enter(page, box)
        await typed(page, code.replace(code[5], "Z" if code[5] != "Z" else "Y", 1))
        await shows(page, "DENY")
        await expect(page.locator("#word")).to_contain_text("enter it again")
        await typed(page, code.lower())
        await shows(page, "REFER")
        await expect(page.locator("#why")).to_contain_text("no list")


async def test_the_camera_reads_a_code(box: Box, tmp_path: Path) -> None:
    """The phone's camera sees a ticket once, and the visitor is let in."""
    film = _film(tmp_path / "phone.mjpeg", ticket_code(2).decode())
    flags = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    )
    async with phone(*flags) as page:
        await enter(page, box)
        await page.locator("#camera").click()
        await shows(page, "ADMIT")
        await page.locator("#camera").click()
        await expect(page.locator("#finder")).to_be_hidden()
        await expect(page.locator("#list li")).to_have_count(1)


async def test_a_wrong_token_opens_nothing(box: Box) -> None:
    """Whoever has no token sees why, and no page to work with."""
    async with phone() as page:
        await page.goto(f"http://127.0.0.1:{box.web_port}/handheld/")
        await page.locator("#token").fill("guess")
        await page.locator("#token-form button").click()
        await expect(page.locator("#trouble")).to_contain_text("口令不对")
        await expect(page.locator("#work")).to_be_hidden()


async def test_a_box_that_is_gone_gives_no_verdict(box: Box) -> None:
    """The page never pretends: no answer, no verdict, and what to do; when the box is back it works on."""
    async with phone() as page:
        await enter(page, box)
        await typed(page, ticket_code(3).decode())
        await shows(page, "ADMIT")
        assert box.process is not None
        box.process.kill()
        await box.process.wait()
        await typed(page, ticket_code(4).decode())
        await expect(page.locator("#trouble")).to_contain_text("未核验")
        await shows(page, "none")
        await box.start()
        await typed(page, ticket_code(4).decode())
        await shows(page, "ADMIT")
        await expect(page.locator("#trouble")).to_be_hidden()


async def test_everything_that_is_touched_is_large(box: Box) -> None:
    """Buttons and fields can be hit with gloves: 48 pixels at least, each way."""
    async with phone() as page:
        await enter(page, box, "s1")
        await typed(page, "no ticket")
        await shows(page, "DENY")
        for kind in ("button", "input", "select"):
            for target in await page.locator(f"{kind}:visible").all():
                place = await target.bounding_box()
                assert place is not None
                assert min(place["width"], place["height"]) >= 48


def _film(path: Path, text: str) -> Path:
    """A film for Chromium's camera: a code on a phone in somebody's hand, a little out of focus.

    A still of perfectly sharp modules is what no camera makes, and some of them no reader can read once they are JPEG.
    """
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode)
    picture = np.asarray(zxingcpp.write_barcode_to_image(code, scale=6, add_quiet_zones=True), np.uint8)
    height, width = picture.shape
    frames = []
    for number in range(30):
        scene = np.full((720, 1280, 3), 90, np.uint8)
        top, left = 100 + number % 7, 400 + 3 * (number % 5)
        scene[top : top + height, left : left + width] = picture[..., None]
        frames.append(cv2.imencode(".jpg", cv2.GaussianBlur(scene, (5, 5), 0))[1].tobytes())
    path.write_bytes(b"".join(frames))
    return path


async def test_a_group_is_counted_at_the_page(box: Box) -> None:
    """How many come in is said before the code, told back when they are too many, and is one again afterwards."""
    async with phone() as page:
        await enter(page, box)
        await expect(page.locator("#count")).to_contain_text("1 人")
        for _ in range(3):
            await page.locator("#more").click()
        await page.locator("#fewer").click()
        await expect(page.locator("#count")).to_contain_text("3 人")
        await typed(page, ticket_code(3).decode())
        await shows(page, "DENY")
        await expect(page.locator("#word")).to_contain_text("fewer")
        await expect(page.locator("#detail")).to_contain_text("1 left for 3 persons")
        await expect(page.locator("#count")).to_contain_text("1 人")
        await typed(page, ticket_code(3).decode())
        await shows(page, "ADMIT")
        await page.locator("#lane").select_option("1")
        await expect(page.locator("#persons")).to_be_hidden()


async def test_a_supervisor_sets_the_gate_by_the_phone(tmp_path: Path) -> None:
    """A box that was switched on with a clock that is days behind: staff are told, and one press makes it right."""
    box = Box(tmp_path, staff=dict(STAFF))
    async with running(box):
        await box.stop()
        later_ms = int(time.time() * 1000) + 3 * 86_400_000
        with closing(sqlite3.connect(box.state_path / FILE_NAME)) as sql, sql:
            sql.execute("INSERT OR REPLACE INTO state VALUES ('proved_ms', ?)", (later_ms,))
        await box.start()
        await box.says("the clock is behind")
        async with phone() as page:
            await enter(page, box)
            await expect(page.locator("#clock-word")).to_contain_text("ask a supervisor")
            await expect(page.locator("#set-clock")).to_be_hidden()
        async with phone() as page:
            await enter(page, box, "s1")
            await page.locator("#set-clock").click()
            await expect(page.locator("#trouble")).to_contain_text("behind the centre")
        async with phone() as page:
            await page.add_init_script(f"Date.now = () => {later_ms + 60_000}")  # a phone that is right
            await enter(page, box, "s1")
            await page.locator("#set-clock").click()
            await expect(page.locator("#clock")).to_be_hidden()
            await expect(page.locator("#trouble")).to_be_hidden()
        await box.no_longer_says("the clock is behind")
