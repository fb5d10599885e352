"""What a gate's camera sees: a hand holds a phone or a paper ticket up in front of a plaza, or nobody is there."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from simulator.held import Held, draw_paper, draw_phone
from simulator.paint import Picture, as_picture, lay, lay_at
from simulator.plaza import HEIGHT, PASSERS_BY, PLAZAS, WIDTH, passer_by, plaza

APPROACH_FRAMES = 2  # of every showing: the hand still moves in, too fast to read
_FOCAL_PX = 1400
_QR_CODES = zxingcpp.barcode_formats_from_str("QRCode")


class Medium(enum.Enum):
    """What the code is shown on."""

    PHONE = "phone"
    PAPER = "paper"


@dataclass(frozen=True, slots=True)
class _Pose:
    """Where the held thing is for one frame: pixels of the camera and radians."""

    x: float
    y: float
    scale: float
    tilt_x: float
    tilt_y: float
    turn: float


def render_showing(text: str, medium: Medium, rng: np.random.Generator, frames: int) -> list[bytes]:
    """JPEG frames (1280x720) of `text` shown as a QR code; all but the first two can be read by zxing-cpp.

    Raises ValueError when the text makes a code too large to be shown readably.
    """
    match medium:
        case Medium.PHONE:
            held = draw_phone(text, rng)
        case Medium.PAPER:
            held = draw_paper(text, rng)
        case _:
            assert_never(medium)
    take = _Take(held, rng)
    approach = [take.frame(at, strength=1.0) for at in range(min(frames, APPROACH_FRAMES))]
    return approach + list(_readable(take, range(APPROACH_FRAMES, frames), text.encode()))


def render_empty(rng: np.random.Generator, frames: int) -> list[bytes]:
    """JPEG frames (1280x720) of the plaza with nobody in front of the camera."""
    take = _Take(None, rng)
    return [take.frame(at, strength=1.0) for at in range(frames)]


def _readable(take: _Take, ats: range, payload: bytes) -> Iterator[bytes]:
    """The frames, milder from the first one on that could not be read: a hand does not jump back."""
    strengths = [1.0, 0.6, 0.3, 0.0]
    for at in ats:
        while not _shows(jpeg := take.frame(at, strengths[0]), payload):
            strengths.pop(0)
            if not strengths:
                raise ValueError(f"a text of {len(payload)} bytes makes a code that cannot be shown readably")
        yield jpeg


def _shows(jpeg: bytes, payload: bytes) -> bool:
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    found = zxingcpp.read_barcodes(grey, formats=_QR_CODES, try_invert=False)
    return any(code.bytes == payload for code in found)


# The camera ------------------------------------------------------------------------------------------------


class _Take:
    """One recording: chosen once, the plaza, light and motion; then frame by frame."""

    def __init__(self, held: Held | None, rng: np.random.Generator) -> None:
        self._held = held
        self._plaza = plaza(int(rng.integers(PLAZAS)))
        self._walker = passer_by(int(rng.integers(PASSERS_BY)))
        self._walk = (rng.uniform(-150, WIDTH), rng.uniform(-9, 9))
        self._gain = rng.uniform(0.86, 1.12)
        self._noise = _noise(int(rng.integers(2, 5)))
        self._noise_at = rng.integers(0, 64, (256, 2))
        self._glare = _glare(int(rng.integers(3)))
        self._glare_strength = rng.uniform(0.0, 0.8)
        self._blur_px = rng.uniform(0.3, 1.7)
        self._phase = rng.uniform(0, 2 * np.pi, 6)
        self._home = (rng.uniform(0.42, 0.58) * WIDTH, rng.uniform(0.42, 0.52) * HEIGHT)
        self._tilt = rng.normal(0, (0.24, 0.24, 0.14)).clip(-0.45, 0.45)
        self._come = (rng.uniform(-260, 260), rng.uniform(300, 420))
        self._scale = 0.0 if held is None else _fitting_scale(held, rng)

    def frame(self, at: int, strength: float) -> bytes:
        """JPEG of frame `at`; `strength` 0 to 1 is how hard tilt, blur, glare and noise make it to read."""
        picture = self._plaza.copy()
        lay_at(picture, self._walker, round(self._walk[0] + at * self._walk[1]), 236)
        if self._held is not None:
            self._lay_held(picture, self._held, at, strength)
        flicker = self._gain + 0.012 * np.sin(1.9 * at + self._phase[5])
        cv2.convertScaleAbs(picture, picture, float(flicker))
        if strength > 0:
            dx, dy = self._noise_at[at % 256]
            cv2.add(picture, self._noise[dy : dy + HEIGHT, dx : dx + WIDTH], picture, dtype=cv2.CV_8U)
        return cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 80))[1].tobytes()

    def _pose(self, at: int, strength: float) -> _Pose:
        sway = np.sin(np.array((0.23, 0.31, 0.17, 0.21, 0.27)) * at + self._phase[:5])
        away = max(0.0, 1 - at / APPROACH_FRAMES) ** 1.3
        tilt_x, tilt_y, turn = strength * (self._tilt + 0.045 * sway[2:5]) + away * self._tilt
        x = self._home[0] + 9 * sway[0] + away * self._come[0]
        y = self._home[1] + 7 * sway[1] + away * self._come[1]
        return _Pose(x, y, self._scale * (1 + 0.015 * sway[3]), tilt_x, tilt_y, turn)

    def _lay_held(self, picture: Picture, held: Held, at: int, strength: float) -> None:
        pose = self._pose(at, strength)
        matrix = _projection(held, pose)
        height, width = held.picture.shape[:2]
        corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
        x, y, w, h = cv2.boundingRect(cv2.perspectiveTransform(corners, matrix).astype(np.int32))
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, WIDTH), min(y + h, HEIGHT)
        if left >= right or top >= bottom:
            return
        shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
        layer = cv2.warpPerspective(held.picture, shift @ matrix, (right - left, bottom - top))
        glare = self._glare[top:bottom, left:right] * (strength * self._glare_strength)
        layer = self._blurred(as_picture(layer), at, strength)
        lay(picture[top:bottom, left:right], layer, glare.astype(np.uint8))

    def _blurred(self, layer: Picture, at: int, strength: float) -> Picture:
        if at < APPROACH_FRAMES:
            return _smeared(layer, 61 // (at + 1), self._come)
        if strength * self._blur_px < 0.4:
            return layer
        return as_picture(cv2.GaussianBlur(layer, (5, 5), strength * self._blur_px))


def _smeared(layer: Picture, length_px: int, direction: tuple[float, float]) -> Picture:
    """Motion blur: the mean along a line, taken on a quarter of the pixels, for a smear has no detail."""
    small = cv2.resize(layer, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    size = length_px // 2 | 1
    kernel = np.zeros((size, size), np.float32)
    reach = np.array(direction) / np.hypot(*direction) * (size // 2)
    ends = (size // 2 + np.array((-reach, reach))).round().astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0)
    smeared = cv2.filter2D(small, -1, kernel / kernel.sum())
    return as_picture(cv2.resize(smeared, (layer.shape[1], layer.shape[0])))


def _fitting_scale(held: Held, rng: np.random.Generator) -> float:
    """A distance at which a module is 4-8 camera pixels wide and the code well inside the picture."""
    widest = min(8.0, 430 / held.modules)
    module_px = rng.uniform(max(4.0, 0.6 * widest), max(4.2, widest))
    return float(module_px * held.modules / held.code_px)


def _projection(held: Held, pose: _Pose) -> NDArray[np.float64]:
    """From the drawn thing's pixels to the camera's."""
    turns = cv2.Rodrigues(np.array((0, 0, pose.turn)))[0]
    rotation = cv2.Rodrigues(np.array((pose.tilt_x, pose.tilt_y, 0)))[0] @ turns
    lens = np.array([[_FOCAL_PX, 0, pose.x], [0, _FOCAL_PX, pose.y], [0, 0, 1]], np.float64)
    placed = np.column_stack((rotation[:, 0], rotation[:, 1], (0, 0, _FOCAL_PX)))
    s, x, y = pose.scale, held.code_x, held.code_y
    projection: NDArray[np.float64] = lens @ placed @ np.array([[s, 0, -s * x], [0, s, -s * y], [0, 0, 1]])
    return projection


@functools.cache
def _noise(sigma: int) -> NDArray[np.int16]:
    rng = np.random.default_rng(sigma)
    grain = rng.normal(0, sigma, (HEIGHT + 64, WIDTH + 64, 1)) + rng.normal(
        0, sigma / 2, (HEIGHT + 64, WIDTH + 64, 3)
    )
    return grain.round().astype(np.int16)


@functools.cache
def _glare(kind: int) -> Picture:
    """Reflections in the camera's picture: a window, the sky in a slanting band, a lamp."""
    glare = np.zeros((HEIGHT, WIDTH), np.uint8)
    if kind == 0:
        cv2.fillPoly(glare, [np.array([[700, 90], [840, 60], [860, 290], [720, 310]])], 255)
    elif kind == 1:
        cv2.fillPoly(glare, [np.array([[460, 0], [600, 0], [900, 720], [700, 720]])], 150)
    else:
        cv2.circle(glare, (560, 230), 60, 255, cv2.FILLED)
    return as_picture(cv2.GaussianBlur(glare, (0, 0), 26))
