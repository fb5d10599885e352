"""Endless pictures for a reader's endurance: showings, empty scenes and hostile ones, each with what may be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import segno
from numpy.typing import NDArray

from simulator.difficult import Sequence
from simulator.plaza import PLAZAS, plaza

Gray = NDArray[np.uint8]
_POOLED_SEQUENCES = 12
_FRAMES_BETWEEN = 9
_LEAST_PX = 100
_ODD_SIZES = ((0, 0), (1, 1), (1, 1280), (2, 3), (7, 7), (720, 1), (33, 1000))


@dataclass(frozen=True, slots=True)
class Shot:
    """A gray picture, what kind it is, and all payloads that may rightly be read in it."""

    kind: str
    picture: Gray
    payloads: frozenset[bytes]


def shots(seed: int) -> Iterator[Shot]:
    """Endless shots that follow from the seed; a third each show a code, nothing, and something hostile."""
    rng = np.random.default_rng(seed)
    shown = [
        Shot(sequence.condition.value, frame, frozenset((sequence.payload,)))
        for sequence in (Sequence.of(seed * _POOLED_SEQUENCES + at) for at in range(_POOLED_SEQUENCES))
        for frame in list(sequence.frames())[::_FRAMES_BETWEEN]
    ]
    empty = [
        Shot("empty", np.asarray(cv2.cvtColor(plaza(at), cv2.COLOR_BGR2GRAY), np.uint8), frozenset())
        for at in range(PLAZAS)
    ]
    while True:
        yield _sized(_varied(shown[int(rng.integers(len(shown)))], rng), rng)
        yield _sized(_varied(empty[int(rng.integers(len(empty)))], rng), rng)
        yield _sized(HOSTILE[int(rng.integers(len(HOSTILE)))](rng), rng)


def _sized(shot: Shot, rng: np.random.Generator) -> Shot:
    """The same from a camera of any resolution up to its own; what is tiny already stays so."""
    if min(shot.picture.shape) < _LEAST_PX:
        return shot
    scale = float(rng.uniform(0.3, 1.0))
    how = cv2.INTER_LINEAR if scale > 0.5 else cv2.INTER_AREA
    picture = cv2.resize(shot.picture, None, fx=scale, fy=scale, interpolation=how)
    return Shot(shot.kind, np.asarray(picture, np.uint8), shot.payloads)


def _varied(shot: Shot, rng: np.random.Generator) -> Shot:
    """The same under other light, from elsewhere, with a patch of it hidden or scratched; never another truth."""
    gray: NDArray[Any] = np.roll(shot.picture, rng.integers(-60, 60, 2), (0, 1))
    gray = cv2.convertScaleAbs(gray, alpha=float(rng.uniform(0.4, 1.3)), beta=float(rng.uniform(-20, 40)))
    if rng.random() < 0.5:
        gray = cv2.flip(gray, int(rng.integers(-1, 2)))
    y, x = rng.integers(0, gray.shape[0] - 60), rng.integers(0, gray.shape[1] - 60)
    height, width = rng.integers(4, 60, 2)
    gray[y : y + height, x : x + width] = rng.integers(0, 256, (height, width) if rng.random() < 0.5 else ())
    return Shot(shot.kind, np.asarray(gray, np.uint8), shot.payloads)


# Hostile pictures -----------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator) -> Shot:
    size = (int(rng.integers(1, 1080)), int(rng.integers(1, 1920)))
    return Shot("noise", rng.integers(0, 256, size).astype(np.uint8), frozenset())


def wall(module_px: int, height: int = 720, width: int = 1280) -> Gray:
    """Finder patterns side by side over a whole picture."""
    finder = np.zeros((7, 7), np.uint8)
    finder[1:6, 1:6] = 255
    finder[2:5, 2:5] = 0
    tile = np.kron(np.pad(finder, 1, constant_values=255), np.ones((module_px, module_px), np.uint8))
    times = (height // tile.shape[0] + 1, width // tile.shape[1] + 1)
    return np.asarray(np.tile(tile, times)[:height, :width], np.uint8)


def _finders(rng: np.random.Generator) -> Shot:
    """A wall of finder patterns: nothing to read, and much to try."""
    return Shot("finders", wall(int(rng.integers(2, 9))), frozenset())


def _modules(rng: np.random.Generator) -> Shot:
    """Black and white modules by chance, as a code has them, and no code."""
    module_px = int(rng.integers(2, 12))
    modules = rng.integers(0, 2, (720 // module_px, 1280 // module_px)).astype(np.uint8) * 255
    return Shot("modules", np.kron(modules, np.ones((module_px, module_px), np.uint8)), frozenset())


def _bars(rng: np.random.Generator) -> Shot:
    """Stripes like those of a product's bar code, which no gate reads."""
    columns = np.repeat(255 * rng.integers(0, 2, 800), rng.integers(1, 5, 800))[:1280]
    return Shot("bars", np.asarray(np.tile(columns, (720, 1)), np.uint8), frozenset())


def _spoilt(rng: np.random.Generator) -> Shot:
    """A code of which a growing share of modules is flipped: it is read rightly or not at all."""
    payload = b"SG1:" + rng.integers(48, 58, int(rng.integers(8, 120))).astype(np.uint8).tobytes()
    symbol = segno.make_qr(payload.decode(), error=str(rng.choice(list("lmqh"))))
    modules = np.array(list(symbol.matrix_iter(scale=1, border=4)), np.uint8)
    modules ^= (rng.random(modules.shape) < rng.uniform(0, 0.3)).astype(np.uint8)
    return Shot("spoilt", _drawn(modules, int(rng.integers(2, 9))), frozenset((payload,)))


def _joined(rng: np.random.Generator) -> Shot:
    """One part of a structured append: a part is no ticket, and its bytes are its own."""
    text = "".join(rng.choice(list("0123456789ABCDEF"), 60))
    parts = segno.make_sequence(text, symbol_count=2)
    modules = np.array(list(parts[int(rng.integers(len(parts)))].matrix_iter(scale=1, border=4)), np.uint8)
    whole = {text, *(text[:at] for at in range(1, 60)), *(text[at:] for at in range(1, 60))}
    return Shot("joined", _drawn(modules, 6), frozenset(part.encode() for part in whole))


def _odd(rng: np.random.Generator) -> Shot:
    height, width = _ODD_SIZES[int(rng.integers(len(_ODD_SIZES)))]
    return Shot("odd size", rng.integers(0, 256, (height, width)).astype(np.uint8), frozenset())


def _strided(rng: np.random.Generator) -> Shot:
    """Every other row and column of a picture, as a view: no reader may take its memory for contiguous."""
    return Shot("strided", rng.integers(0, 256, (1440, 2560)).astype(np.uint8)[::2, ::2], frozenset())


def _drawn(modules: NDArray[np.uint8], module_px: int) -> Gray:
    pixels = np.where(modules, 20, 235).astype(np.uint8)
    return np.asarray(np.kron(pixels, np.ones((module_px, module_px), np.uint8)), np.uint8)


HOSTILE: tuple[Callable[[np.random.Generator], Shot], ...] = (
    _noise,
    _finders,
    _modules,
    _bars,
    _spoilt,
    _joined,
    _odd,
    _strided,
)
