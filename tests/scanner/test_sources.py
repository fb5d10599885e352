"""From a real stream to scans: once per showing, off the event loop, and nothing lost by a cancelled wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import cv2
import numpy as np
import pytest

from scanner.camera import Camera, CameraSettings, CameraState, Frame
from scanner.decoder import CascadeDecoder, Decoder
from scanner.presentation import Presentation
from scanner.settings import Region
from scanner.sighting import Point, Sighting
from scanner.sources import CameraSource, View
from tests.scanner.mjpeg import MjpegCamera
from tests.scanner.pictures import Picture, coloured, jpeg, qr, scene, showing

EMPTY = jpeg(scene())


@pytest.fixture
def server() -> Iterator[MjpegCamera]:
    """A camera on the network that shows an empty scene."""
    with MjpegCamera(EMPTY) as camera:
        yield camera


@asynccontextmanager
async def running(server: MjpegCamera, decoder: Decoder | None = None) -> AsyncIterator[CameraSource]:
    """A source on the stream, running until the block ends."""
    camera = Camera(CameraSettings(server.address, open_timeout_ms=1000, read_timeout_ms=1000))
    source = CameraSource("lane-1", camera, decoder or CascadeDecoder(), Presentation(gone_after_ms=300))
    task = asyncio.create_task(source.run())
    try:
        yield source
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def within(source: CameraSource, seconds: float = 10.0) -> bytes:
    """The payload of the next scan."""
    return (await asyncio.wait_for(source.next_scan(), seconds)).payload


async def until(holds: Callable[[], bool]) -> None:
    """Polls until a condition holds that a thread brings about."""
    async with asyncio.timeout(10):
        while not holds():  # a thread sets no event of this loop
            await asyncio.sleep(0.01)


def sees(source: CameraSource, payload: bytes) -> bool:
    """Whether the source has just read a code."""
    view = source.view()
    return view is not None and payload in {seen.payload for seen in view.sightings}


def blank_ms(source: CameraSource) -> int:
    """How long ago the source last read any code."""
    view = source.view()
    return view.sightings_age_ms or 0 if view else 0


async def test_scan_names_payload_source_and_frame_time(server: MjpegCamera) -> None:
    """A shown code becomes a scan whose time is that of a frame which showed it."""
    async with running(server) as source:
        before_ns = time.monotonic_ns()
        server.picture = jpeg(showing(b"SG1:ONE"))
        scan = await asyncio.wait_for(source.next_scan(), 10)
    assert (scan.payload, scan.source) == (b"SG1:ONE", "lane-1")
    assert before_ns < scan.captured_ns < time.monotonic_ns()


async def test_held_code_is_one_scan_and_counts_again_after_leaving(server: MjpegCamera) -> None:
    """While it is held nothing more comes; shown again it does."""
    server.picture = jpeg(showing(b"SG1:TWICE"))
    async with running(server) as source:
        assert await within(source) == b"SG1:TWICE"
        with pytest.raises(TimeoutError):
            await within(source, 0.6)
        server.picture = EMPTY
        with pytest.raises(TimeoutError):
            await within(source, 0.6)
        server.picture = jpeg(showing(b"SG1:TWICE"))
        assert await within(source) == b"SG1:TWICE"


async def test_cancelled_wait_loses_nothing(server: MjpegCamera) -> None:
    """Waits that are cancelled at any moment leave the showing for the next one."""
    async with running(server) as source:
        server.picture = jpeg(showing(b"SG1:KEPT"))
        for _ in range(200):
            waiting = asyncio.create_task(source.next_scan())
            await asyncio.sleep(0)
            if waiting.cancel():
                await asyncio.gather(waiting, return_exceptions=True)
            if waiting.done() and not waiting.cancelled():
                assert waiting.result().payload == b"SG1:KEPT"
                return
            await asyncio.sleep(0.001)
        assert await within(source) == b"SG1:KEPT"


async def test_busy_lane_takes_the_code_later(server: MjpegCamera) -> None:
    """A code that appears while nobody waits is taken when the lane comes back, from a fresh frame."""
    async with running(server) as source:
        server.picture = jpeg(showing(b"SG1:LATER"))
        await until(lambda: sees(source, b"SG1:LATER"))
        busy_ns = time.monotonic_ns()
        await asyncio.sleep(0.5)
        scan = await asyncio.wait_for(source.next_scan(), 1)
    assert scan.payload == b"SG1:LATER"
    assert scan.captured_ns > busy_ns


async def test_code_that_left_meanwhile_is_gone(server: MjpegCamera) -> None:
    """A busy lane does not answer somebody who has walked away."""
    async with running(server) as source:
        server.picture = jpeg(showing(b"SG1:GONE"))
        await until(lambda: sees(source, b"SG1:GONE"))
        server.picture = EMPTY
        await until(lambda: blank_ms(source) > 300)
        with pytest.raises(TimeoutError):
            await within(source, 0.2)


async def test_view_shows_newest_frame_with_outline(server: MjpegCamera) -> None:
    """The page's picture has the asked width, and the outline lies where the code is."""
    server.picture = jpeg(showing(b"SG1:VIEW"))
    async with running(server) as source:
        assert source.view() is None
        await until(lambda: sees(source, b"SG1:VIEW"))
        view = source.view()
        assert view is not None
        picture = cv2.imdecode(np.frombuffer(view.jpeg(quality=90, width=640), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (360, 640, 3)
    blue, green, red = (picture[:, :, channel].astype(int) for channel in range(3))
    outline = np.argwhere((green - blue > 60) & (green - red > 60))
    (top, left), (bottom, right) = outline.min(axis=0), outline.max(axis=0)
    (x0, y0), _, (x1, y1), _ = view.sightings[0].corners
    assert np.allclose([left, top, right, bottom], np.array([x0, y0, x1, y1]) / 2, atol=6)


def test_outline_fades_and_the_frame_stays_untouched() -> None:
    """An old sighting is not drawn any more, and drawing never writes into the frame itself."""
    image = coloured(scene())
    corners = (Point(100, 100), Point(300, 100), Point(300, 300), Point(100, 300))
    seen = Sighting(b"OLD", corners, "test")
    fresh, old, never = (
        View(Frame(image, 1, 0), (seen,) if age_ms is not None else (), age_ms) for age_ms in (0, 5000, None)
    )
    assert fresh.jpeg(80, 1280) != old.jpeg(80, 1280) == never.jpeg(80, 1280)
    assert np.array_equal(image, coloured(scene()))


async def test_codes_are_looked_for_in_the_region_only(server: MjpegCamera) -> None:
    """What lies outside is not read; inside, the outline is where it is in the whole picture."""
    server.picture = jpeg(scene((qr(b"SG1:LEFT"), 100, 200), (qr(b"SG1:RIGHT"), 800, 300)))
    camera = Camera(CameraSettings(server.address))
    region = Region(left_pct=50, top_pct=25, width_pct=50, height_pct=75)
    source = CameraSource("lane-1", camera, CascadeDecoder(), Presentation(), region=region)
    task = asyncio.create_task(source.run())
    assert await within(source) == b"SG1:RIGHT"
    view = source.view()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert view is not None
    (seen,) = view.sightings
    assert seen.payload == b"SG1:RIGHT"
    assert np.allclose(seen.corners[0], (800 + 24, 300 + 24), atol=4)  # 24: the quiet zone


async def test_costly_pictures_are_skipped_to_keep_the_share() -> None:
    """A lane whose every picture costs much decodes fewer of them, and goes on decoding."""

    class Costly:
        name = "costly"

        def decode(self, gray: Picture) -> list[Sighting]:
            end_s = time.thread_time() + 0.05
            while time.thread_time() < end_s:
                pass
            return []

    with MjpegCamera(EMPTY) as server:
        camera = Camera(CameraSettings(server.address))
        source = CameraSource("lane-1", camera, Costly(), Presentation(), share_pct=20)
        task = asyncio.create_task(source.run())
        await until(lambda: source.health().decoded >= 5)
        began_s, before = time.monotonic(), source.health().decoded
        await until(lambda: source.health().decoded >= before + 8)
        took_s = time.monotonic() - began_s
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert took_s >= 7 * 0.05 / 0.2 * 0.9  # 50 ms of work at a fifth of a core are a frame in 250 ms


async def test_health_tells_camera_and_decode_time(server: MjpegCamera) -> None:
    """Health carries the camera's and how long a frame takes."""
    server.picture = jpeg(showing(b"SG1:HEALTH"))
    async with running(server) as source:
        assert source.health().camera.state is CameraState.STARTING
        await within(source)
        health = source.health()
    assert health.camera.state is CameraState.LIVE
    assert 0 < health.decode_ms < 1000
    assert health.age_p50_ms is not None
    assert health.age_p99_ms is not None
    assert 0 < health.age_p50_ms <= health.age_p99_ms
    assert health.last_stage in health.reads
    assert source.health().camera.problem == "stopped"


async def test_event_loop_is_free_while_a_frame_is_decoded(server: MjpegCamera) -> None:
    """Decoding holds up its own thread only, and that thread has ended when the source has."""

    class Gated:
        name = "gated"

        def __init__(self) -> None:
            self.entered = threading.Event()
            self.gate = threading.Event()
            self.opened_by_loop = False
            self.thread = ""

        def decode(self, gray: Picture) -> list[Sighting]:
            self.thread = threading.current_thread().name
            self.entered.set()
            self.opened_by_loop = self.gate.wait(10)
            return []

    gated = Gated()
    async with running(server, gated):
        await until(gated.entered.is_set)
        gated.gate.set()
        await until(lambda: gated.opened_by_loop)
    assert gated.thread not in {thread.name for thread in threading.enumerate()}


async def test_failing_decoder_ends_the_source(server: MjpegCamera) -> None:
    """An unexpected failure comes out of `run`; the camera has been stopped by then."""

    class Broken:
        name = "broken"

        def decode(self, gray: Picture) -> list[Sighting]:
            raise ZeroDivisionError

    camera = Camera(CameraSettings(server.address))
    source = CameraSource("lane-1", camera, Broken(), Presentation())
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(source.run(), 10)
    assert camera.health().problem == "stopped"


def test_the_picture_says_which_stage_read_the_code() -> None:
    """Above its outline, wherever the code is; without a code nothing is drawn."""
    gray = scene()

    def drawn(*sightings: Sighting) -> Picture:
        frame = Frame(coloured(gray), 1, 0)
        data = View(frame, sightings, 0).jpeg(95, 1280)
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)

    def seen(stage: str, x: int, y: int) -> Sighting:
        return Sighting(b"A", (Point(x, y), Point(x + 90, y), Point(x + 90, y + 90), Point(x, y + 90)), stage)

    for x, y in ((600, 300), (0, 0), (1189, 0), (1189, 629)):
        changed = np.abs(drawn(seen("zxing", x, y)).astype(int) - drawn(seen("zbar-half-blur", x, y))) > 60
        assert changed.any()
        rows = np.flatnonzero(changed.any(axis=(1, 2)))
        assert rows.max() <= max(y, 30)
    assert np.abs(drawn().astype(int) - coloured(gray)).max() < 30
