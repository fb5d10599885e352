"""Scan sources: what a lane listens to. Here the camera, from newest frame to scan."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from admission.scan import Scan
from scanner.camera import Camera, CameraHealth, Frame
from scanner.decoder import Decoder
from scanner.presentation import Presentation
from scanner.settings import WHOLE_PICTURE, Region
from scanner.share import Share
from scanner.sighting import Sighting

_WAIT_FOR_FRAME_S = 0.25
_OUTLINE_FOR_MS = 400
_OUTLINE_BGR = (80, 220, 60)
_SHADOW_BGR, _LETTER_BGR = (0, 0, 0), (255, 255, 255)
_LETTER_SCALE = 0.7
_NS_PER_MS = 1_000_000
_AGES_KEPT = 250
_DECODE_NICENESS = 5
"""Decoding steps back behind the event loop and the store: an answer under way goes first."""


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a camera source does: its camera, how many frames it decoded, and how long the last of them took.

    `age_ms` are the ages that frames had once they were decoded (p50 and p99 of the last few seconds; None
    before the first), `reads` the frames that each stage read a code in, `last_stage` the newest of these.
    """

    camera: CameraHealth
    decoded: int
    decode_ms: float
    age_p50_ms: float | None
    age_p99_ms: float | None
    reads: Mapping[str, int]
    last_stage: str


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a page shows of a camera: its newest frame, and the codes last seen with their age."""

    frame: Frame
    sightings: tuple[Sighting, ...]
    sightings_age_ms: int | None

    def jpeg(self, quality: int, width: int) -> bytes:
        """The frame as JPEG, at most `width` pixels wide: what was just seen, outlined, and the stage that read it."""
        full_height, full_width = self.frame.image.shape[:2]
        scale = min(1.0, width / full_width)
        size = (round(full_width * scale), max(1, round(full_height * scale)))
        picture = np.asarray(cv2.resize(self.frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)
        if self.sightings_age_ms is not None and self.sightings_age_ms <= _OUTLINE_FOR_MS:
            outlines = [np.rint(np.array(seen.corners) * scale).astype(np.int32) for seen in self.sightings]
            cv2.polylines(picture, outlines, isClosed=True, color=_OUTLINE_BGR, thickness=3)
            for seen, outline in zip(self.sightings, outlines, strict=True):
                _write(picture, seen.engine, outline)
        return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _write(picture: NDArray[np.uint8], word: str, outline: NDArray[np.int32]) -> None:
    """Write a word above an outline, or into the picture's corner where there is no room above it."""
    (width, height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, _LETTER_SCALE, 2)
    left = int(np.clip(outline[:, 0].min(), 0, max(0, picture.shape[1] - width)))
    foot = max(int(outline[:, 1].min()) - 8, height + 4)
    for colour, thickness in ((_SHADOW_BGR, 5), (_LETTER_BGR, 2)):
        cv2.putText(
            picture,
            word,
            (left, foot),
            cv2.FONT_HERSHEY_SIMPLEX,
            _LETTER_SCALE,
            colour,
            thickness,
            cv2.LINE_AA,
        )


@dataclass(slots=True)
class _Decoded:
    """What the decode thread leaves for the event loop; changed and read under the source's lock."""

    frames: int = 0
    sightings: tuple[Sighting, ...] = ()
    seen_ns: int | None = None
    decode_ms: float = 0.0
    reads: Counter[str] = field(default_factory=Counter)
    ages_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_AGES_KEPT))

    def note(self, sightings: tuple[Sighting, ...], captured_ns: int, decode_ms: float) -> None:
        """Counts one more frame."""
        self.frames += 1
        self.decode_ms = decode_ms
        self.ages_ms.append((time.monotonic_ns() - captured_ns) / _NS_PER_MS)
        if sightings:
            self.sightings, self.seen_ns = sightings, captured_ns
            self.reads[sightings[0].engine] += 1

    def age_ms(self, quantile: float) -> float | None:
        """The age that so large a part of the last frames stayed within."""
        return round(float(np.quantile(self.ages_ms, quantile)), 1) if self.ages_ms else None


class CameraSource:
    """Scans from one camera, for one lane. Frames are decoded on a thread of its own, off the event loop.

    `run` must be running for scans to come; one task at a time waits in `next_scan`. Codes are looked for in the
    `region` only, and decoding takes at most `share_pct` per cent of a core: frames are skipped above that.
    """

    def __init__(
        self,
        name: str,
        camera: Camera,
        decoder: Decoder,
        presentation: Presentation,
        *,
        region: Region = WHOLE_PICTURE,
        share_pct: int = 100,
    ) -> None:
        self.name = name
        self._region = region
        self._share = Share(share_pct)
        self._camera = camera
        self._decoder = decoder
        self._presentation = presentation
        self._lock = threading.Lock()  # for the presentation, which both threads change, and what was decoded
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
        camera = self._camera.health()
        with self._lock:
            decoded = self._decoded
            return SourceHealth(
                camera=camera,
                decoded=decoded.frames,
                decode_ms=decoded.decode_ms,
                age_p50_ms=decoded.age_ms(0.5),
                age_p99_ms=decoded.age_ms(0.99),
                reads=dict(decoded.reads),
                last_stage=decoded.sightings[0].engine if decoded.sightings else "",
            )

    def view(self) -> View | None:
        """What the camera sees; None before its first frame."""
        frame = self._camera.wait_newer(0, timeout_s=0)
        if frame is None:
            return None
        with self._lock:
            sightings, seen_ns = self._decoded.sightings, self._decoded.seen_ns
        age_ms = None if seen_ns is None else (time.monotonic_ns() - seen_ns) // _NS_PER_MS
        return View(frame, sightings, age_ms)

    def _take(self, waiting_since_ns: int) -> Scan | None:
        with self._lock:
            shown = self._presentation.take(time.monotonic_ns(), waiting_since_ns)
        return Scan(shown.sighting.payload, self.name, shown.captured_ns) if shown else None

    def _decode_frames(self, loop: asyncio.AbstractEventLoop) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _DECODE_NICENESS)
        number = 0
        worked_s, passed_s = time.thread_time(), time.monotonic()
        while not self._stopping.is_set():
            frame = self._camera.wait_newer(number, _WAIT_FOR_FRAME_S)
            if frame is None:
                continue
            number = frame.number
            if self._decode(frame):
                loop.call_soon_threadsafe(self._seen.set)
            worked_before_s, passed_before_s = worked_s, passed_s
            worked_s, passed_s = time.thread_time(), time.monotonic()
            rest_s = self._share.rest_s(worked_s - worked_before_s, passed_s - passed_before_s)
            if rest_s:
                self._stopping.wait(rest_s)

    def _decode(self, frame: Frame) -> bool:
        """Notes what a frame shows; whether it shows any code."""
        began_ns = time.monotonic_ns()
        gray = np.asarray(cv2.cvtColor(self._region.crop(frame.image), cv2.COLOR_BGR2GRAY), np.uint8)
        height, width = gray.shape
        sightings = sorted(
            self._decoder.decode(gray), key=lambda seen: seen.prominence(width, height), reverse=True
        )
        decode_ms = (time.monotonic_ns() - began_ns) / _NS_PER_MS
        left, top = self._region.origin(*frame.image.shape[:2])
        in_frame = tuple(seen.moved(left, top) for seen in sightings)
        with self._lock:
            self._presentation.observe(sightings, width, height, frame.captured_ns)
            self._decoded.note(in_frame, frame.captured_ns, decode_ms)
        return bool(sightings)
