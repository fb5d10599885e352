"""Frame to codes: the port every engine fits, zxing-cpp, and the cascade that spends the others sparingly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from scanner.sighting import MAX_PAYLOAD_BYTES, Corners, Point, Sighting, capped
from scanner.zbar import PyzbarDecoder

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "STAGES",
    "CascadeDecoder",
    "Decoder",
    "Point",
    "PyzbarDecoder",
    "Sighting",
    "Stage",
    "ZxingDecoder",
    "decode_exhaustive",
    "decode_frame",
    "look_everywhere",
]

Gray = NDArray[np.uint8]

_QR_FAMILY = zxingcpp.BarcodeFormats(
    (zxingcpp.BarcodeFormat.QRCode, zxingcpp.BarcodeFormat.MicroQRCode, zxingcpp.BarcodeFormat.RMQRCode)
)


class Decoder(Protocol):
    """Reads codes from frames. It never raises for what a frame shows."""

    name: str

    def decode(self, gray: Gray) -> list[Sighting]:
        """The codes in a gray frame (height x width), in no particular order; empty if it reads none."""


class ZxingDecoder:
    """Reads QR, Micro QR and rMQR codes with zxing-cpp; the lock of the interpreter is free meanwhile."""

    name = "zxing"

    def decode(self, gray: Gray) -> list[Sighting]:
        if gray.size == 0:
            return []
        return [
            # `.bytes` is what is printed; `.text` rewrites control characters and guesses encodings.
            Sighting(capped(code.bytes), _corners(code.position), self.name)
            for code in zxingcpp.read_barcodes(gray, formats=_QR_FAMILY)
        ]


def _corners(position: zxingcpp.Position) -> Corners:
    a, b, c, d = (
        Point(corner.x, corner.y)
        for corner in (position.top_left, position.top_right, position.bottom_right, position.bottom_left)
    )
    return (a, b, c, d)


@dataclass(frozen=True, slots=True)
class Stage:
    """One more way to look at a frame that zxing-cpp could not read as it is.

    `cost_ms` is what an empty 1280x720 frame takes on a small amd64 machine; only the proportions matter.
    """

    name: str
    purpose: str
    prepare: Callable[[Gray], Gray]
    engine: Decoder
    cost_ms: float

    def look(self, gray: Gray) -> list[Sighting]:
        """The codes it reads, in the coordinates of the frame it was given."""
        if gray.size == 0:
            return []
        prepared = self.prepare(gray)
        x_factor, y_factor = gray.shape[1] / prepared.shape[1], gray.shape[0] / prepared.shape[0]
        return [seen.enlarged(x_factor, y_factor, self.name) for seen in self.engine.decode(prepared)]


def _as_it_is(gray: Gray) -> Gray:
    return gray


def _shrunk(factor: int) -> Callable[[Gray], Gray]:
    def shrink(gray: Gray) -> Gray:
        height, width = gray.shape
        size = (max(1, width // factor), max(1, height // factor))
        return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)

    return shrink


def _blurred(gray: Gray) -> Gray:
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), 1.5), np.uint8)


def _equalised(gray: Gray) -> Gray:
    # Made anew each time: the object keeps buffers and must not be shared between threads.
    return np.asarray(cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(gray), np.uint8)


_ZXING = ZxingDecoder()
_ZBAR = PyzbarDecoder()

# Cheapest first, and what reads more for its price before what reads less.
STAGES: tuple[Stage, ...] = (
    Stage("zxing-half", "screen raster and noise", _shrunk(2), _ZXING, 1.0),
    Stage("zxing-quarter", "coarse moire, very large codes", _shrunk(4), _ZXING, 0.6),
    Stage("zxing-blur", "grain of paper, gaps between printed dots", _blurred, _ZXING, 2.4),
    Stage("zxing-clahe", "glare, shadow, dim screens", _equalised, _ZXING, 5.7),
    Stage("zbar-half", "another reader's eye for bent and damaged codes", _shrunk(2), _ZBAR, 7.1),
    Stage("zbar", "the same at full size, for small codes", _as_it_is, _ZBAR, 30.0),
)


class CascadeDecoder:
    """zxing-cpp on every frame; on blank frames the other stages in turn, as far as the allowance reaches.

    Every blank frame earns `extra_ms_per_frame`, and the next stage runs when its cost has been earned. So an
    empty scene costs only that much more on average, and a code that needs a costlier look gets one within a
    second. It remembers whose turn it is: one instance per camera, called from one thread.
    """

    name = "cascade"

    def __init__(self, stages: Sequence[Stage] = STAGES, extra_ms_per_frame: float = 2.5) -> None:
        self._stages = stages
        self._extra_ms_per_frame = extra_ms_per_frame
        self._earned_ms = 0.0
        self._turn = 0

    def decode(self, gray: Gray) -> list[Sighting]:
        return _ZXING.decode(gray) or self._another_look(gray)

    def _another_look(self, gray: Gray) -> list[Sighting]:
        self._earned_ms += self._extra_ms_per_frame
        stage = self._stages[self._turn]
        if self._earned_ms < stage.cost_ms:
            return []
        self._earned_ms -= stage.cost_ms
        self._turn = (self._turn + 1) % len(self._stages)
        return stage.look(gray)


def look_everywhere(gray: Gray) -> list[Sighting]:
    """The codes that the first successful stage reads, all stages tried: for single pictures, not for frames."""
    if seen := _ZXING.decode(gray):
        return seen
    return next((seen for stage in STAGES if (seen := stage.look(gray))), [])


def decode_frame(gray: Gray) -> list[str]:
    """The texts that the every-frame path reads in a gray picture."""
    return [_text(seen.payload) for seen in _ZXING.decode(gray)]


def decode_exhaustive(gray: Gray) -> list[str]:
    """The texts that all stages together read in a gray picture."""
    return [_text(seen.payload) for seen in look_everywhere(gray)]


def _text(payload: bytes) -> str:
    """For people and measurements only: UTF-8, or else one character per byte, which loses nothing."""
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        return payload.decode("latin-1")
