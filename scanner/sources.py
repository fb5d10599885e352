"""Scan sources: what a lane listens to. Here the camera, from newest frame to scan."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from admission.scan import Scan
from scanner.camera import Camera, CameraHealth, Frame
from scanner.decoder import Decoder
from scanner.presentation import Presentation
from scanner.sighting import Sighting

_WAIT_FOR_FRAME_S = 0.25
_OUTLINE_FOR_MS = 400
_OUTLINE_BGR = (80, 220, 60)
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a camera source does: its camera, how many frames it decoded, and how long the last of them took."""

    camera: CameraHealth
    decoded: int
    decode_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a page shows of a camera: its newest frame, and the codes last seen with their age."""

    frame: Frame
    sightings: tuple[Sighting, ...]
    sightings_age_ms: int | None

    def jpeg(self, quality: int, width: int) -> bytes:
        """The frame as JPEG, at most `width` pixels wide, with the outline of what was just seen."""
        full_height, full_width = self.frame.image.shape[:2]
        scale = min(1.0, width / full_width)
        size = (round(full_width * scale), max(1, round(full_height * scale)))
        picture = cv2.resize(self.frame.image, size, interpolation=cv2.INTER_AREA)
        if self.sightings_age_ms is not None and self.sightings_age_ms <= _OUTLINE_FOR_MS:
            outlines = [np.rint(np.array(seen.corners) * scale).astype(np.int32) for seen in self.sightings]
            cv2.polylines(picture, outlines, isClosed=True, color=_OUTLINE_BGR, thickness=3)
        return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What the decode thread leaves for the event loop."""

    frames: int = 0
    sightings: tuple[Sighting, ...] = ()
    seen_ns: int | None = None
    decode_ms: float = 0.0


class CameraSource:
    """Scans from one camera, for one lane. Frames are decoded on a thread of its own, off the event loop.

    `run` must be running for scans to come; one task at a time waits in `next_scan`.
    """

    def __init__(self, name: str, camera: Camera, decoder: Decoder, presentation: Presentation) -> None:
        self.name = name
        self._camera = camera
        self._decoder = decoder
        self._presentation = presentation
        self._lock = threading.Lock()  # for the presentation: both threads change it
        self._decoded = _Decoded()
        self._stopping = threading.Event()
        self._seen = asyncio.Event()

    async def run(self) -> None:
        """Captures and decodes until cancelled; raises what the threads raise. Both have ended on return."""
        self._stopping.clear()
        loop = asyncio.get_running_loop()
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
        self._camera.start()
        try:
            await loop.run_in_executor(executor, self._decode_frames, loop)
        finally:
            self._stopping.set()
            await asyncio.to_thread(self._camera.stop)
            await asyncio.to_thread(executor.shutdown)

    async def next_scan(self) -> Scan:
        """Waits for a code that is held out and takes it: once per showing. A cancelled wait takes nothing."""
        waiting_since_ns = time.monotonic_ns()
        while True:
            self._seen.clear()
            if (scan := self._take(waiting_since_ns)) is not None:
                return scan
            await self._seen.wait()

    def health(self) -> SourceHealth:
        """How the source does at this moment."""
        return SourceHealth(self._camera.health(), self._decoded.frames, self._decoded.decode_ms)

    def view(self) -> View | None:
        """What the camera sees; None before its first frame."""
        frame = self._camera.wait_newer(0, timeout_s=0)
        if frame is None:
            return None
        decoded = self._decoded
        age_ms = None
        if decoded.seen_ns is not None:
            age_ms = (time.monotonic_ns() - decoded.seen_ns) // _NS_PER_MS
        return View(frame, decoded.sightings, age_ms)

    def _take(self, waiting_since_ns: int) -> Scan | None:
        with self._lock:
            shown = self._presentation.take(time.monotonic_ns(), waiting_since_ns)
        return Scan(shown.sighting.payload, self.name, shown.captured_ns) if shown else None

    def _decode_frames(self, loop: asyncio.AbstractEventLoop) -> None:
        number = 0
        while not self._stopping.is_set():
            frame = self._camera.wait_newer(number, _WAIT_FOR_FRAME_S)
            if frame is None:
                continue
            number = frame.number
            if self._decode(frame):
                loop.call_soon_threadsafe(self._seen.set)

    def _decode(self, frame: Frame) -> bool:
        """Notes what a frame shows; whether it shows any code."""
        began_ns = time.monotonic_ns()
        gray = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8)
        sightings = tuple(self._decoder.decode(gray))
        decode_ms = (time.monotonic_ns() - began_ns) / _NS_PER_MS
        height, width = gray.shape
        with self._lock:
            self._presentation.observe(sightings, width, height, frame.captured_ns)
        last = self._decoded
        if sightings:
            self._decoded = _Decoded(last.frames + 1, sightings, frame.captured_ns, decode_ms)
        else:
            self._decoded = _Decoded(last.frames + 1, last.sightings, last.seen_ns, decode_ms)
        return bool(sightings)
