"""A code brought to a gate's camera under difficult light: gray 720p frames at 30 a second, with the truth.

Every sequence follows from its seed alone: the condition, the code, the hand's way and the camera's faults.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from central.images import ticket_symbol
from simulator.plaza import HEIGHT, PLAZAS, WIDTH, plaza

FPS = 30
FRAMES = 45
_ALPHABET = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", np.uint8)
_MODULE_PX = 6
_FOCAL_PX = 1400
_ARRIVES_AT = 12
Gray = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Condition(enum.Enum):
    """What makes a showing difficult."""

    PLAIN = "plain"
    SHAKY = "shaky"
    TILTED = "tilted"
    GLARE = "glare"
    DIM_SCREEN = "dim screen"
    DARK_MODE = "dark mode"
    CREASED_PAPER = "creased paper"
    SNOW = "snow-bright background"
    NIGHT = "night"
    FAR = "far"
    CRACKED = "cracked screen"
    SCREEN_RASTER = "screen raster"


@dataclass(frozen=True, slots=True)
class Sequence:
    """One visitor's showing: its seed, what makes it difficult, and the bytes that are shown."""

    seed: int
    condition: Condition
    payload: bytes

    @classmethod
    def of(cls, seed: int, characters: int | None = None) -> Sequence:
        """The sequence of a seed; conditions take turns. Codes are of several lengths, or of so many characters."""
        rng = np.random.default_rng((seed, 0))
        condition = tuple(Condition)[seed % len(Condition)]
        length = int(rng.choice((40, 90, 150, 180))) if characters is None else characters
        return cls(seed, condition, b"SG1:" + rng.choice(_ALPHABET, length).tobytes())

    def frames(self) -> Iterator[Gray]:
        """Its frames, 1280x720, oldest first; the hand arrives in the first twelve and stays."""
        take = _Take(self)
        for at in range(FRAMES):
            yield take.frame(at)


def still(payload: bytes, module_px: float, seed: int) -> Gray:
    """One frame of a code held still in ordinary light, its modules `module_px` camera pixels wide."""
    take = _Take(Sequence(seed, Condition.PLAIN, payload), module_px)
    return take.frame(_ARRIVES_AT + seed % (FRAMES - _ARRIVES_AT))


class _Take:
    """One recording: what is chosen once, then frame by frame."""

    def __init__(self, sequence: Sequence, module_px: float | None = None) -> None:
        self._condition = sequence.condition
        self._rng = rng = np.random.default_rng((sequence.seed, 1))
        self._shown = _shown(sequence, rng)
        self._modules = self._shown.shape[0] / _MODULE_PX
        self._scene = _behind(int(rng.integers(PLAZAS))).astype(np.float32)
        usual_px = self._of({Condition.FAR: rng.uniform(1.8, 2.6)}, rng.uniform(2.8, 5.5))
        self._module_px = module_px or usual_px
        self._home = rng.uniform((0.4, 0.4), (0.6, 0.6)) * (WIDTH, HEIGHT)
        self._come = rng.uniform((-400, 250), (400, 420))
        steep = rng.choice((-1, 1), 2) * rng.uniform((0.35, 0.35), (0.85, 0.85))
        self._tilt = steep if self._condition is Condition.TILTED else rng.normal(0, 0.15, 2)
        self._turn = (
            rng.uniform(-np.pi, np.pi) if self._condition is Condition.TILTED else rng.normal(0, 0.15)
        )
        self._phase = rng.uniform(0, 2 * np.pi, 6)
        self._shake_px = self._of({Condition.SHAKY: rng.uniform(14, 30)}, rng.uniform(1, 4))
        self._blur_px = rng.uniform(0.3, 1.1)
        self._noise = self._of({Condition.NIGHT: rng.uniform(3, 9)}, rng.uniform(1.5, 5))

    def _of(self, special: dict[Condition, float], usual: float) -> float:
        return float(special.get(self._condition, usual))

    def frame(self, at: int) -> Gray:
        picture = self._lit_scene()
        before, now = self._projection(at - 0.5), self._projection(at)
        self._lay(picture, now)
        self._smear(picture, before, now)
        if self._condition is Condition.GLARE:
            self._shine(picture, at)
        if self._condition is Condition.NIGHT:
            picture *= 0.22
        picture += self._rng.normal(0, self._noise, picture.shape).astype(np.float32)
        if self._condition is Condition.NIGHT:
            picture *= 1.8
        gray = picture.clip(0, 255).astype(np.uint8)
        _, jpeg = cv2.imencode(".jpg", gray, (cv2.IMWRITE_JPEG_QUALITY, 80))
        return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), np.uint8)

    def _lit_scene(self) -> Floats:
        match self._condition:
            case Condition.SNOW:
                return np.asarray(215 + self._scene * 0.15, np.float32)
            case Condition.DIM_SCREEN:
                return np.asarray(self._scene * 0.9, np.float32)
            case _:
                return self._scene.copy()

    def _projection(self, at: float) -> NDArray[np.float64]:
        away = max(0.0, 1 - at / _ARRIVES_AT) ** 1.5
        sway = np.sin(np.array((0.9, 1.1, 0.17, 0.21, 0.27)) * at + self._phase[:5])
        x, y = self._home + away * self._come + self._shake_px * sway[:2]
        tilt_x, tilt_y = self._tilt + 0.05 * sway[2:4]
        turned = cv2.Rodrigues(np.array((0.0, 0.0, self._turn + 0.03 * sway[4])))[0]
        rotation = cv2.Rodrigues(np.array((tilt_x, tilt_y, 0.0)))[0] @ turned
        lens = np.array([[_FOCAL_PX, 0, x], [0, _FOCAL_PX, y], [0, 0, 1]], np.float64)
        placed = np.column_stack((rotation[:, 0], rotation[:, 1], (0, 0, _FOCAL_PX)))
        scale, middle = self._module_px / _MODULE_PX, self._shown.shape[0] / 2
        return np.asarray(
            lens @ placed @ np.array([[scale, 0, -scale * middle], [0, scale, -scale * middle], [0, 0, 1]])
        )

    def _lay(self, picture: Floats, projection: NDArray[np.float64]) -> None:
        side = self._shown.shape[0]
        corners = np.array([[[0, 0], [side, 0], [side, side], [0, side]]], np.float64)
        outline = cv2.perspectiveTransform(corners, projection).round().astype(np.int32)
        # Averaged over each camera pixel, as a lens does: a plain warp would alias small modules.
        fine = cv2.warpPerspective(
            self._shown,
            np.diag((2.0, 2.0, 1.0)) @ projection,
            (2 * WIDTH, 2 * HEIGHT),
            flags=cv2.INTER_LINEAR,
        )
        layer = cv2.resize(fine, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        layer = cv2.GaussianBlur(layer, (0, 0), self._blur_px)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.fillPoly(mask, [outline[0]], 1)
        np.copyto(picture, layer, where=mask.astype(bool), casting="unsafe")

    def _smear(self, picture: Floats, before: NDArray[np.float64], now: NDArray[np.float64]) -> None:
        """The shutter is open for a part of the frame's time, at night for most of it."""
        middle = np.array([[[self._shown.shape[0] / 2] * 2]], np.float64)
        moved = cv2.perspectiveTransform(middle, now) - cv2.perspectiveTransform(middle, before)
        way = moved[0, 0] * (1.2 if self._condition is Condition.NIGHT else 0.5)
        length = float(np.hypot(*way))
        if length < 1.5:
            return
        size = min(61, int(length)) | 1
        kernel = np.zeros((size, size), np.float32)
        reach = way / length * (size // 2)
        ends = (size // 2 + np.array((-reach, reach))).round().astype(int)
        cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0)
        cv2.filter2D(picture, -1, kernel / kernel.sum(), picture)

    def _shine(self, picture: Floats, at: int) -> None:
        across = self._home[0] + 130 * np.sin(0.12 * at + self._phase[5])
        picture += _lamp(int(across), int(self._home[1] - 40))


def _shown(sequence: Sequence, rng: np.random.Generator) -> Gray:
    """The drawn code with its surroundings, flat."""
    symbol = ticket_symbol(sequence.payload.decode())
    modules = np.array(list(symbol.matrix_iter(scale=1, border=4)), np.uint8)
    pixels = modules.repeat(_MODULE_PX, 0).repeat(_MODULE_PX, 1)
    match sequence.condition:
        case Condition.DIM_SCREEN:
            dark, light = 18.0, rng.uniform(48, 75)
        case Condition.DARK_MODE:
            dark, light = 225.0, 25.0
        case Condition.CREASED_PAPER:
            dark, light = 60.0, 205.0
        case Condition.SNOW:
            dark, light = 15.0, rng.uniform(110, 150)
        case (
            Condition.PLAIN | Condition.SHAKY | Condition.TILTED | Condition.GLARE | Condition.NIGHT
            | Condition.FAR | Condition.CRACKED | Condition.SCREEN_RASTER
        ):  # fmt: skip
            dark, light = 22.0, 240.0
        case _:
            assert_never(sequence.condition)
    shown = np.where(pixels, dark, light).astype(np.float32)
    return _worn(shown, sequence.condition, rng).clip(0, 255).astype(np.uint8)


def _worn(shown: Floats, condition: Condition, rng: np.random.Generator) -> Floats:
    side = shown.shape[0]
    if condition is Condition.CREASED_PAPER:
        for _ in range(3):
            at, slope = rng.uniform(0.2, 0.8) * side, rng.uniform(-0.4, 0.4)
            rows, columns = np.mgrid[0:side, 0:side]
            off = columns - at - slope * (rows - side / 2)
            shown += np.asarray(45 * np.exp(-((off / 9) ** 2)) - 25 * (off > 0), np.float32)
        bend = np.mgrid[0:side, 0:side].astype(np.float32)
        wave = np.asarray(0.008 * side * np.sin(bend[0] / side * rng.uniform(4, 9)), np.float32)
        return np.asarray(cv2.remap(shown, bend[1] + wave, bend[0], cv2.INTER_LINEAR), np.float32)
    if condition is Condition.CRACKED:
        for _ in range(4):
            ends = (rng.uniform(0, 1, (2, 2)) * side).astype(int)
            cv2.line(shown, ends[0].tolist(), ends[1].tolist(), float(rng.choice((20, 250))), 2)
    if condition is Condition.SCREEN_RASTER:
        shown[::2] *= 0.55
        shown[:, ::3] *= 0.7
    return shown


@functools.cache
def _behind(kind: int) -> Gray:
    return np.asarray(cv2.cvtColor(plaza(kind), cv2.COLOR_BGR2GRAY), np.uint8)


def _lamp(x: int, y: int) -> Floats:
    light = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.circle(light, (x, y), 45, 230.0, cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(light, (0, 0), 24), np.float32)
