"""`make run` as a person sees it: the real programs, watched and disturbed through the page."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect, sync_playwright

from admission.passage import State
from admission.reasons import Reason
from tests.e2e.demo_program import PROJECT, Demo, descendants, running, until
from tests.scanner.mjpeg import MjpegCamera

pytestmark = [pytest.mark.browser, pytest.mark.e2e]
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One running demo for all tests; each leaves the network as it was."""
    with running(tmp_path_factory.mktemp("demo") / "run") as demo:
        yield demo


@pytest.fixture
def page() -> Iterator[Page]:
    """A page that fails the test with whatever it writes to its console."""
    said: list[str] = []
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS)
        opened = browser.new_page(viewport={"width": 1440, "height": 900})
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        yield opened
        browser.close()
    assert said == []


def test_all_lanes_are_seen_at_work(demo: Demo, page: Page) -> None:
    """Each lane of both boxes shows moving pictures and, in both languages, what its box answered."""
    page.goto(demo.url)
    for lane, box in (("1", "B1"), ("2", "B1"), ("3", "B2")):
        card = page.locator(f"#lane-{lane}")
        expect(card.locator("canvas")).to_have_attribute("data-pictures", re.compile(r"\d{2,}"))
        expect(card.locator(".verdict")).to_have_attribute("data-verdict", re.compile("ADMIT|REFER|DENY"))
        expect(card.locator(".record")).to_contain_text(f"{box}-")
        expect(card.locator(".words .zh")).to_have_text(re.compile("[一-鿿]{2,}"))
        expect(card.locator(".words .en")).to_have_text(re.compile("[A-Za-z ]{5,}"))
        expect(card.locator(".reasons li").first).to_be_visible()
    expect(page.locator("#accord")).to_have_attribute("data-kind", "agree")


def test_gates_go_on_through_a_cut(demo: Demo, page: Page) -> None:
    """While the network is cut verdicts go on and the backlog grows; afterwards both sides agree."""
    page.goto(demo.url)
    page.locator("#cut").click()
    expect(page.locator("#accord")).to_have_attribute("data-kind", "cut")
    earlier = _answered(demo)
    for box in ("B1", "B2"):
        expect(page.locator(f"#box-{box} .link-centre")).to_have_attribute("data-link", "down")
    expect(page.locator("#backlog")).to_have_text(re.compile(r"^([4-9]|\d{2,})$"))
    until(lambda: all(at_ms > earlier[lane] for lane, at_ms in _answered(demo).items()))
    page.locator("#restore").click()
    expect(page.locator("#accord")).to_have_attribute("data-kind", "agree")
    expect(page.locator("#box-B1 .link-centre")).to_have_attribute("data-link", "up")
    until(lambda: demo.state()["ledger"]["agree"])


def test_boxes_hear_each_other_until_their_link_is_cut(demo: Demo, page: Page) -> None:
    """Each box shows that it knows its neighbour's uses; cut apart it says that it does not hear it, and goes on."""
    page.goto(demo.url)
    for box, neighbour in (("B1", "B2"), ("B2", "B1")):
        expect(page.locator(f"#box-{box} .box-behind")).to_have_text(f"{neighbour} 已同步 in step")
    page.locator("#cut-site").click()
    expect(page.locator("#link-site")).to_have_class(re.compile("is-cut"))
    expect(page.locator("#box-B2 .link-site")).to_have_attribute("data-link", "down")
    expect(page.locator("#box-B1 .box-behind")).to_contain_text("not heard")
    earlier = _answered(demo)
    until(lambda: _answered(demo)["3"] > earlier["3"])
    page.locator("#restore-site").click()
    expect(page.locator("#box-B2 .link-site")).to_have_attribute("data-link", "up")
    expect(page.locator("#box-B1 .box-behind")).to_have_text("B2 已同步 in step")


def test_killed_box_comes_back_with_everything(demo: Demo, page: Page) -> None:
    """The page says that the box restarts, then shows its new process; the centre's ledger has no gap."""
    page.goto(demo.url)
    pid = str(demo.state()["boxes"][1]["process"]["pid"])
    shown = page.locator("#box-B2 .box-pid")
    expect(shown).to_have_text(pid)
    page.locator("#kill-B2").click()
    expect(page.locator("#lane-3 .veil")).to_be_visible()
    expect(page.locator("#accord")).to_contain_text("restarting")
    expect(page.locator("#lane-3 .veil")).to_be_hidden()
    expect(shown).not_to_have_text(pid)
    written = demo.state()["boxes"][1]["ledger"]["box"]
    until(lambda: (ledger := demo.state()["boxes"][1]["ledger"])["agree"] and ledger["centre"] > written)
    numbers = _centre_numbers(demo.folder, "B2")
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > written


@pytest.mark.parametrize("headers", [{}, {"Host": "gate.example", "X-Scenic-Gate": "live-page"}])
def test_foreign_page_cannot_press_a_button(demo: Demo, headers: dict[str, str]) -> None:
    """Without the page's own header, or under another name for this machine, nothing is done."""
    request = Request(f"{demo.url}api/cut/centre", method="POST", headers=headers)  # noqa: S310  # our own address
    with pytest.raises(HTTPError) as refused:
        urlopen(request)  # noqa: S310
    refused.value.close()
    assert refused.value.code == HTTPStatus.FORBIDDEN
    assert not demo.state()["network"]["is_cut"]


def test_page_fits_a_phone(demo: Demo, page: Page) -> None:
    """On a phone nothing reaches beyond the screen's width."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(demo.url)
    expect(page.locator("#lane-2")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_every_reason_and_barrier_state_has_its_words() -> None:
    """What the box can report has a short name on the page."""
    words = (PROJECT / "demo" / "page" / "words.js").read_text("utf-8")
    named = set(re.findall(r"^ {2}([A-Z_]+): \[", words, re.MULTILINE))
    assert {reason.value for reason in Reason} | {state.name for state in State} <= named


def test_real_camera_and_interrupt(tmp_path: Path, page: Page) -> None:
    """A sample ticket before a real camera is admitted; as nobody passes, it can be shown again. Ctrl-C ends all."""
    empty = _jpeg(_wall())
    with MjpegCamera(empty) as camera, running(tmp_path / "run", "--camera", camera.address) as demo:
        page.goto(f"{demo.url}samples")
        assert page.locator("article").count() == 14
        ticket = _held_up(page.locator("article").first.screenshot())
        page.goto(demo.url)
        lane = page.locator("#lane-1")
        expect(lane.locator(".note")).to_be_visible()
        for times in (1, 2):
            camera.picture = ticket
            expect(lane.locator(".admitted")).to_have_text(str(times))
            camera.picture = empty
            expect(lane.locator(".abandoned")).to_have_text(str(times))
        page.goto("about:blank")
        started = descendants(demo.process.pid)
        assert len(started) >= 5
        assert demo.stop() == 0
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


def test_a_phones_code_admits_and_a_picture_of_it_does_not(tmp_path: Path, page: Page) -> None:
    """Held up live it opens the lane; as nobody passes, the right comes back, and the same picture is referred."""
    empty = _jpeg(_wall())
    with MjpegCamera(empty) as camera, running(tmp_path / "run", "--camera", camera.address) as demo:
        page.goto(f"{demo.url}samples")
        page.get_by_role("link", name="防复制票").click()
        expect(page.locator("#symbol")).to_be_visible()
        picture = _held_up(page.locator("#symbol").screenshot())
        camera.picture = picture
        until(lambda: _first_lane(demo)["reasons"].get(Reason.TICKET) == 1)
        camera.picture = empty
        until(lambda: _first_lane(demo)["abandoned"] == 1)
        camera.picture = picture
        until(lambda: _first_lane(demo)["reasons"].get(Reason.NOT_LIVE) == 1)


def _first_lane(demo: Demo) -> dict[str, Any]:
    lane: dict[str, Any] = demo.state()["lanes"][0]
    return lane


def _answered(demo: Demo) -> dict[str, int]:
    """When each lane answered last; 0 before its first visitor."""
    return {lane["id"]: lane["last"]["at_ms"] if lane["last"] else 0 for lane in demo.state()["lanes"]}


def _centre_numbers(folder: Path, box_id: str) -> list[int]:
    query = "SELECT seq_no FROM ledger WHERE box_id = ? ORDER BY seq_no"
    with closing(sqlite3.connect(f"file:{folder / 'centre' / 'centre.db'}?mode=ro", uri=True)) as sql:
        return [number for (number,) in sql.execute(query, (box_id,))]


def _held_up(png: bytes) -> bytes:
    """A camera's picture of the page's sample."""
    sample = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert sample is not None
    scale = 640 / sample.shape[0]
    small = cv2.resize(sample, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = _wall()
    picture[40 : 40 + small.shape[0], 400 : 400 + small.shape[1]] = small
    return _jpeg(picture)


def _wall() -> NDArray[np.uint8]:
    """What the camera sees with nobody before it; an even grey would be a covered lens."""
    shade = np.linspace(160, 220, 1280).astype(np.uint8)
    return np.repeat(np.tile(shade, (720, 1))[..., None], 3, axis=2)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", picture)[1].tobytes()
