"""How good a camera's picture of a code is, and what would make it better. Pure: pictures are arguments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from scanner.sight import judge, points
from scanner.sighting import Sighting

Gray = NDArray[np.uint8]
_QR = (zxingcpp.BarcodeFormat.QRCode,)

LEAST_MODULE_PX = 3.0
"""Below this a hand's shake and the screen's own raster cost reads."""

LEAST_EDGE = 100
"""Sharpness (per cent) times module (pixels): zxing-cpp stops to read at 40 to 70, whatever the size of the module."""

LEAST_CONTRAST_PCT = 35
MOST_OF_PICTURE = 0.75
MOST_SLANT = 1.4


@dataclass(frozen=True, slots=True)
class Advice:
    """One sentence on what to do, in English and Chinese."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class CodeMeasure:
    """One code in the picture.

    `module_px` is the length of a module along the code's shortest side, None where the number of modules is not
    known. `sharpness_pct` is the variance of the Laplacian in the code's region against that of perfectly sharp
    edges of the same contrast and as dense. `contrast_pct` is of what the camera can tell apart, `slant` the
    longest side over the shortest, `fills` the part of the picture's height or width that the code takes.
    """

    stage: str
    module_px: float | None
    sharpness_pct: int
    contrast_pct: int
    slant: float
    fills: float


@dataclass(frozen=True, slots=True)
class Measure:
    """One picture: mean brightness, and the code in it, if any was read."""

    brightness_pct: int
    trouble: Advice | None
    code: CodeMeasure | None


def measure(gray: Gray, seen: Sighting | None) -> Measure:
    """Measures a gray picture and the code that was read in it."""
    trouble = None if seen else judge(gray)
    return Measure(
        brightness_pct=round(float(points(gray).mean()) / 2.55),
        trouble=Advice(trouble.wording.do_en, trouble.wording.do_zh) if trouble else None,
        code=_measure_code(gray, seen) if seen else None,
    )


def _measure_code(gray: Gray, seen: Sighting) -> CodeMeasure:
    height, width = gray.shape
    sides = [math.dist(p, q) for p, q in zip(seen.corners, (*seen.corners[1:], seen.corners[0]), strict=True)]
    region = _region(gray, seen)
    modules = _modules(gray, seen)
    module_px = min(sides) / modules if modules else None
    darkest, lightest = np.percentile(region, (5, 95))
    return CodeMeasure(
        stage=seen.engine,
        module_px=module_px and round(module_px, 1),
        sharpness_pct=_sharpness_pct(region, lightest - darkest, module_px),
        contrast_pct=round((lightest - darkest) / 2.55),
        slant=round(max(sides) / max(min(sides), 1.0), 2),
        fills=round(max(region.shape[0] / height, region.shape[1] / width), 2),
    )


def _region(gray: Gray, seen: Sighting) -> Gray:
    """The upright box around the code, at least one pixel of it."""
    height, width = gray.shape
    left, right = (limit(p.x for p in seen.corners) for limit in (min, max))
    top, bottom = (limit(p.y for p in seen.corners) for limit in (min, max))
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return gray[top : max(bottom, top + 1), left : max(right, left + 1)]


def _modules(gray: Gray, seen: Sighting) -> int | None:
    """How many modules the code has on a side, as the symbol itself says; None where it cannot be asked."""
    for code in zxingcpp.read_barcodes(gray, formats=zxingcpp.BarcodeFormats(_QR)):
        version = str(cast("Mapping[str, object]", code.extra).get("Version", ""))
        if code.bytes == seen.payload and version.isdigit():
            return 17 + 4 * int(version)
    return None


def _sharpness_pct(region: Gray, contrast: float, module_px: float | None) -> int:
    if contrast < 1:
        return 0
    variance = float(cv2.Laplacian(region, cv2.CV_64F).var())
    # Perfect edges of contrast c, on average every second module across and down, have a variance of 2 c² / module.
    perfect = 2 * contrast**2 / (module_px or LEAST_MODULE_PX)
    return min(100, round(100 * math.sqrt(variance / perfect)))


def advice(seen: Measure) -> tuple[Advice, ...]:
    """What would make the picture better, the most pressing first; one sentence of praise when nothing would."""
    found = tuple(_advice(seen))
    return found or (Advice("good: leave the camera as it is", "良好：请保持摄像头现状"),)


def _advice(seen: Measure) -> Iterator[Advice]:
    if seen.trouble is not None:
        yield seen.trouble
        return
    if seen.code is None:
        yield Advice(
            "no code is read: hold a ticket out where visitors will, with the whole code in the picture",
            "未读到码：请在游客出示的位置举起门票码，让整个码进入画面",
        )
        return
    yield from _advice_on_size(seen.code)
    yield from _advice_on_picture(seen.code)


def _advice_on_size(code: CodeMeasure) -> Iterator[Advice]:
    if code.module_px is not None and code.module_px < LEAST_MODULE_PX:
        yield Advice(
            f"module {code.module_px:.1f} px: move closer or raise the resolution; "
            f"at least {LEAST_MODULE_PX:.0f} px are needed",
            f"模块 {code.module_px:.1f} 像素：请靠近或提高分辨率；至少需要 {LEAST_MODULE_PX:.0f} 像素",
        )
    if code.fills > MOST_OF_PICTURE:
        yield Advice(
            f"the code fills {code.fills:.0%} of the picture: move away, so that a hand can miss the middle",
            f"码占画面 {code.fills:.0%}：请拉远，给游客留出偏移余地",
        )
    if code.slant > MOST_SLANT:
        yield Advice(
            f"the code is seen aslant ({code.slant:.1f} to 1): turn the camera to face it",
            f"码是斜着看到的（{code.slant:.1f} 比 1）：请转动摄像头正对码面",
        )


def _advice_on_picture(code: CodeMeasure) -> Iterator[Advice]:
    if code.contrast_pct < LEAST_CONTRAST_PCT:
        yield Advice(
            f"contrast {code.contrast_pct} %: keep glare off the code, light the paper, or set the exposure by hand",
            f"对比度 {code.contrast_pct} %：请避免反光、为纸票补光，或手动设置曝光",
        )
    if code.sharpness_pct * (code.module_px or LEAST_MODULE_PX) < LEAST_EDGE:
        yield Advice(
            f"sharpness {code.sharpness_pct} %: focus on the place where codes are held; "
            "if only moving codes are blurred, set a shorter exposure and more light",
            f"清晰度 {code.sharpness_pct} %：请对焦到出示码的位置；若只有移动时模糊，请缩短曝光并补光",
        )
