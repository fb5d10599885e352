"""Frame to codes: the port every engine fits, zxing-cpp, and the cascade that spends the others sparingly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from scanner.crowd import is_crowd
from scanner.sighting import MAX_PAYLOAD_BYTES, Point, Sighting, capped
from scanner.upright import UprightDecoder, corners_of
from scanner.zbar import PyzbarDecoder

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "MOST_PIXELS",
    "STAGES",
    "CascadeDecoder",
    "Decoder",
    "Point",
    "PyzbarDecoder",
    "QuickDecoder",
    "Sighting",
    "Stage",
    "ZxingDecoder",
    "decode_exhaustive",
    "decode_frame",
    "look_everywhere",
]

Gray = NDArray[np.uint8]

MOST_PIXELS = 1920 * 1088
"""A camera's frame is looked at in no more detail than this: a code held out is large in it."""
LEAST_MICRO_BYTES = 8
"""Less fits into Micro QR versions M1 and M2, whose few check words let chance pass for a code."""
_QR = (zxingcpp.BarcodeFormat.QRCode,)
_QR_FAMILY = (*_QR, zxingcpp.BarcodeFormat.MicroQRCode, zxingcpp.BarcodeFormat.RMQRCode)


class Decoder(Protocol):
    """Reads codes from frames. It never raises for what a frame shows."""

    name: str

    def decode(self, gray: Gray) -> list[Sighting]:
        """The codes in a gray frame (height x width), in no particular order; empty if it reads none."""


class ZxingDecoder:
    """Reads codes with zxing-cpp; the lock of the interpreter is free meanwhile.

    As it is made by default it reads QR, Micro QR and rMQR codes as thoroughly as zxing-cpp can by itself. `formats`
    narrows that; `is_quick` leaves out zxing-cpp's own smaller and turned pictures, `is_inverted_too` says whether
    light codes on dark are read.
    """

    name = "zxing"

    def __init__(
        self,
        formats: tuple[zxingcpp.BarcodeFormat, ...] = _QR_FAMILY,
        *,
        is_quick: bool = False,
        is_inverted_too: bool = True,
    ) -> None:
        self._options: dict[str, Any] = {
            "formats": formats,
            "try_rotate": not is_quick,
            "try_invert": is_inverted_too,
            "try_downscale": not is_quick,
        }

    def decode(self, gray: Gray) -> list[Sighting]:
        if gray.size == 0:
            return []
        return [
            # `.bytes` is what is printed; `.text` rewrites control characters and guesses encodings.
            Sighting(capped(code.bytes), corners_of(code.position), self.name)
            for code in zxingcpp.read_barcodes(gray, **self._options)
            if code.format != zxingcpp.BarcodeFormat.MicroQRCode or len(code.bytes) >= LEAST_MICRO_BYTES
        ]


class QuickDecoder:
    """zxing-cpp on the picture made smaller, and where that reads nothing on the whole of it.

    A code that is held out fills a good part of the frame and is read at half size in a quarter of the time; what noise
    and screen raster hide at full size is often plain there too. A picture larger than a camera's is looked at smaller
    still before that. With `finest_px` it is the look for every frame: the last look is no finer than so many pixels on
    the shorter side, and reads light codes on dark, for which a single picture has other looks.
    """

    name = "zxing"

    def __init__(self, finest_px: int | None = None) -> None:
        # By how much a picture is made smaller, and from how many pixels on its shorter side.
        self._smaller = (
            (4, 1200, ZxingDecoder(_QR)),
            (2, 400, ZxingDecoder(_QR, is_quick=True, is_inverted_too=False)),
        )
        self._whole = ZxingDecoder(_QR, is_quick=True, is_inverted_too=finest_px is not None)
        self._finest_px = finest_px

    def decode(self, gray: Gray) -> list[Sighting]:
        shorter_px = min(gray.shape, default=0)
        for factor, from_px, reader in self._smaller:
            if shorter_px >= from_px and (seen := reader.decode(_shrunk(factor)(gray))):
                return [one.enlarged(factor, factor, self.name) for one in seen]
        if self._finest_px is None or shorter_px <= self._finest_px:
            return self._whole.decode(gray)
        finest = self._finest_px / shorter_px
        return [
            one.enlarged(1 / finest, 1 / finest, self.name)
            for one in self._whole.decode(_scaled(gray, finest, finest))
        ]


@dataclass(frozen=True, slots=True)
class Stage:
    """One more way to look at a frame that zxing-cpp could not read as it is.

    `cost_ms` is what an empty 1280x720 frame takes on a small amd64 machine; only the proportions matter. A stage with
    `most_px` looks at the middle of the frame, where a code is held out, and at no more than so many pixels each way.
    """

    name: str
    purpose: str
    prepare: Callable[[Gray], Gray]
    engine: Decoder
    cost_ms: float
    most_px: int | None = None

    def look(self, gray: Gray) -> list[Sighting]:
        """The codes it reads, in the coordinates of the frame it was given."""
        if gray.size == 0:
            return []
        height, width = gray.shape
        left, top = self._margin(width), self._margin(height)
        part = gray[top : height - top, left : width - left]
        prepared = self.prepare(part)
        x_factor, y_factor = part.shape[1] / prepared.shape[1], part.shape[0] / prepared.shape[0]
        return [
            seen.enlarged(x_factor, y_factor, self.name).moved(left, top)
            for seen in self.engine.decode(prepared)
        ]

    def _margin(self, length_px: int) -> int:
        return 0 if self.most_px is None else max(0, length_px - self.most_px) // 2


def _as_it_is(gray: Gray) -> Gray:
    return gray


def _scaled(gray: Gray, x_factor: float, y_factor: float) -> Gray:
    height, width = gray.shape
    size = (max(1, round(width * x_factor)), max(1, round(height * y_factor)))
    least = min(x_factor, y_factor)
    # Down to half, linear takes every pixel into account as well, and a tenth of the time for factors that are not 1/n.
    how = cv2.INTER_CUBIC if least >= 1 else cv2.INTER_LINEAR if least > 0.5 else cv2.INTER_AREA
    return np.asarray(cv2.resize(gray, size, interpolation=how), np.uint8)


def _shrunk(factor: int) -> Callable[[Gray], Gray]:
    if factor % 2:
        return lambda gray: _scaled(gray, 1 / factor, 1 / factor)
    # By half at a time, and half of an even number of pixels: OpenCV's area filter takes a tenth of the time for that.
    return _halved if factor == 2 else lambda gray: _shrunk(factor // 2)(_halved(gray))


def _halved(gray: Gray) -> Gray:
    height, width = (max(1, length // 2) for length in gray.shape)
    return np.asarray(
        cv2.resize(gray[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA), np.uint8
    )


def _equalised_half(gray: Gray) -> Gray:
    return _equalised(_halved(gray))


def _blurred_half(gray: Gray) -> Gray:
    return _blurred(_halved(gray))


def _flattened(gray: Gray) -> Gray:
    return _scaled(gray, 1, 0.5)


def _narrowed(gray: Gray) -> Gray:
    return _scaled(gray, 0.5, 1)


def _blurred(gray: Gray) -> Gray:
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), 1.5), np.uint8)


def _equalised(gray: Gray) -> Gray:
    # Made anew each time: the object keeps buffers and must not be shared between threads.
    return np.asarray(cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(gray), np.uint8)


def _doubled(gray: Gray) -> Gray:
    return _scaled(gray, 2, 2)


def _equalised_doubled(gray: Gray) -> Gray:
    # Equalised before it is enlarged: the other way round takes three times as long and reads no more.
    return _doubled(_equalised(gray))


_ZXING = ZxingDecoder()
_ZXING_QR = ZxingDecoder(_QR)
_ZBAR = PyzbarDecoder()
_UPRIGHT = UprightDecoder(_ZBAR)
_QUICK = QuickDecoder()
_EVERY_FRAME = QuickDecoder(finest_px=720)
_QUICK_MIDDLE = Stage("middle", "a crowd of finder patterns", _as_it_is, _EVERY_FRAME, 1.0, most_px=400)

# First comes what reads most for its price of what the looks before it left unread: `python -m bench.scan --stages`.
STAGES: tuple[Stage, ...] = (
    Stage("zxing-third", "screen raster, coarse moire, very large codes", _shrunk(3), _ZXING_QR, 0.9),
    Stage("zbar-quarter", "the same for another reader, bent and damaged codes", _shrunk(4), _ZBAR, 1.9),
    Stage("zxing-half-clahe", "glare, shadow, dim screens", _equalised_half, _ZXING_QR, 1.9),
    Stage("zxing-half-blur", "gaps between printed dots, raster", _blurred_half, _ZXING_QR, 1.2),
    Stage("zxing-flat", "codes tilted away, seen too tall", _flattened, _ZXING_QR, 1.5),
    Stage("zxing-double", "small codes", _doubled, _ZXING_QR, 6.0, most_px=720),
    Stage("zxing-double-clahe", "small and faint codes", _equalised_doubled, _ZXING_QR, 10.5, most_px=720),
    Stage("zxing-half", "light codes on dark, Micro QR and rMQR", _shrunk(2), _ZXING, 1.0),
    Stage("zxing-narrow", "codes turned away, seen too wide", _narrowed, _ZXING_QR, 1.5),
    Stage("zxing", "all that zxing-cpp does by itself, Micro QR and rMQR too", _as_it_is, _ZXING, 2.5),
    Stage("zxing-blur", "grain of paper", _blurred, _ZXING_QR, 2.4),
    Stage("zbar-third", "bent and damaged codes", _shrunk(3), _ZBAR, 3.0),
    Stage("zbar-upright", "codes that were found and not read: straightened", _shrunk(2), _UPRIGHT, 3.0),
    Stage("zxing-clahe", "uneven light on small codes", _equalised, _ZXING_QR, 5.7),
    Stage("zbar-half", "bent and damaged codes farther away", _shrunk(2), _ZBAR, 7.1),
    Stage("zbar-blur", "damaged codes and broken edges", _blurred, _ZBAR, 30.0),
    Stage("zbar", "small codes, for another reader's eye", _as_it_is, _ZBAR, 30.0),
)

FRAME_STAGES = tuple(replace(stage, most_px=900) if stage.cost_ms > 20 else stage for stage in STAGES)
"""The same for frames: the costliest looks are at the middle, so that none takes longer than a frame may."""
_MOST_ROUNDS_OUT = 63


class CascadeDecoder:
    """The quick look on every frame; on blank frames the other stages in turn, as far as the allowance reaches.

    Every blank frame earns `extra_ms_per_frame`, and the next stage runs when its cost has been earned. So an
    empty scene costs only that much more on average, and a code that needs a costlier look gets one within a
    second. Frames of more than MOST_PIXELS are looked at smaller, so that no camera's setting makes a frame cost more
    than its lane has; of a crowd of finder patterns only the middle is looked at, and only quickly. A stage that has
    worked for longer than `budget_ms` sits out a round, and twice as many and one the next time: whatever a camera is
    shown, such frames get rare; a machine that is busy with something else is no reason. It remembers whose turn it is:
    one instance per camera, called from one thread.
    """

    name = "cascade"

    def __init__(
        self,
        stages: Sequence[Stage] = FRAME_STAGES,
        extra_ms_per_frame: float = 2.5,
        budget_ms: float = 50.0,
        worked_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._turns = [_Turn(stage) for stage in stages]
        self._extra_ms_per_frame = extra_ms_per_frame
        self._budget_ns = budget_ms * 1e6
        self._worked_ns = worked_ns
        self._earned_ms = 0.0
        self._next = 0

    def decode(self, gray: Gray) -> list[Sighting]:
        if gray.size <= MOST_PIXELS:
            return self._look(gray)
        factor = math.sqrt(gray.size / MOST_PIXELS)
        # By a whole number first: that takes OpenCV a tenth of the time.
        smaller = _shrunk(int(factor))(gray)
        smaller = _scaled(smaller, int(factor) / factor, int(factor) / factor)
        x_factor, y_factor = gray.shape[1] / smaller.shape[1], gray.shape[0] / smaller.shape[0]
        return [one.enlarged(x_factor, y_factor, one.engine) for one in self._look(smaller)]

    def _look(self, gray: Gray) -> list[Sighting]:
        if is_crowd(gray):
            return _QUICK_MIDDLE.look(gray)
        return _EVERY_FRAME.decode(gray) or self._another_look(gray)

    def _another_look(self, gray: Gray) -> list[Sighting]:
        self._earned_ms += self._extra_ms_per_frame
        turn = self._turns[self._next]
        if self._earned_ms < turn.stage.cost_ms:
            return []
        self._next = (self._next + 1) % len(self._turns)
        if turn.sits_out():
            return []
        self._earned_ms -= turn.stage.cost_ms
        began_ns = self._worked_ns()
        seen = turn.stage.look(gray)
        turn.note(overran=not seen and self._worked_ns() - began_ns > self._budget_ns)
        return seen


@dataclass(slots=True)
class _Turn:
    """A stage's place in the rotation: how many rounds it still sits out, and how many it did the last time."""

    stage: Stage
    _left: int = 0
    _last: int = 0

    def sits_out(self) -> bool:
        """Whether it gives up its turn."""
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def note(self, *, overran: bool) -> None:
        """Take how it did: a stage that reads, or is quick again, is back in every round."""
        self._last = self._left = min(_MOST_ROUNDS_OUT, 2 * self._last + 1) if overran else 0


def look_everywhere(gray: Gray) -> list[Sighting]:
    """The codes that the first successful stage reads, all stages tried: for single pictures, not for frames."""
    if seen := _QUICK.decode(gray):
        return seen
    return next((seen for stage in STAGES if (seen := stage.look(gray))), [])


def decode_frame(gray: Gray) -> list[str]:
    """The texts that the every-frame path reads in a gray picture."""
    look = _QUICK_MIDDLE.look if is_crowd(gray) else _EVERY_FRAME.decode
    return [_text(seen.payload) for seen in look(gray)]


def decode_exhaustive(gray: Gray) -> list[str]:
    """The texts that all stages together read in a gray picture."""
    return [_text(seen.payload) for seen in look_everywhere(gray)]


def _text(payload: bytes) -> str:
    """For people and measurements only: UTF-8 or the symbology's own Shift JIS, else one character per byte."""
    for encoding in ("utf-8", "cp932"):
        with suppress(UnicodeDecodeError):
            return payload.decode(encoding)
    return payload.decode("latin-1")
