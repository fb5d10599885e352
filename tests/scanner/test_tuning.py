"""How a picture of a code is measured, and what is said about it: pictures of known module, blur and contrast."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from scanner.decoder import ZxingDecoder
from scanner.tuning import CodeMeasure, Measure, advice, measure
from tests.scanner.pictures import Picture, qr, scene

TICKET = b"SG1:" + b"A" * 100


def measured(picture: Picture) -> Measure:
    """The measure of a picture with the one code that zxing-cpp reads in it."""
    (seen,) = ZxingDecoder().decode(picture)
    return measure(picture, seen)


def ticket(scale: int, blur_px: float = 0.0) -> Picture:
    """A ticket code with modules of `scale` pixels, blurred."""
    picture = scene((qr(TICKET, scale), 300, 40))
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), blur_px), np.uint8) if blur_px else picture


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_module_is_measured_in_pixels(scale: int) -> None:
    """Whatever the code's version, a module is as long as it was drawn."""
    code = measured(ticket(scale)).code
    assert code is not None
    assert code.module_px == pytest.approx(scale, rel=0.05)
    assert code.slant == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("scale", [3, 4, 6, 8])
def test_sharpness_falls_with_blur_and_not_with_size(scale: int) -> None:
    """Sharp edges are 100 % at any distance; each blur is less than the one before."""
    codes = [measured(ticket(scale, blur_px)).code for blur_px in (0.0, 0.7, 1.0)]
    sharp, softer, soft = [code.sharpness_pct for code in codes if code]
    assert sharp == 100
    assert softer == pytest.approx(45, abs=5)
    assert soft == pytest.approx(30, abs=5)


GOOD = CodeMeasure("zxing", module_px=5.0, sharpness_pct=50, contrast_pct=80, slant=1.0, fills=0.4)
TABLE: dict[str, tuple[Picture, str]] = {
    "a sharp code": (ticket(6), "good: leave the camera as it is"),
    "far away": (ticket(2), "module 2.0 px: move closer or raise the resolution"),
    "out of focus": (ticket(4, 1.4), "focus on the place where codes are held"),
    "pale": ((ticket(6) // 8 + 100).astype(np.uint8), "contrast 12 %"),
    "too close": (scene((qr(TICKET, 14), 300, 10)), "of the picture: move away"),
}


@pytest.mark.parametrize("case", TABLE)
def test_advice_names_what_to_do(case: str) -> None:
    """One sentence for what is wrong, in both languages."""
    picture, expected = TABLE[case]
    (said,) = advice(measured(picture))
    assert expected in said.en
    assert any("\u4e00" <= letter <= "\u9fff" for letter in said.zh)


def test_a_slanted_code_is_named() -> None:
    """A camera that looks at the code from the side is to be turned."""
    whole = ticket(6)
    narrow = np.asarray(cv2.resize(whole, (int(whole.shape[1] * 0.6), whole.shape[0])), np.uint8)
    (said,) = advice(measured(narrow))
    assert "turn the camera to face it" in said.en


def test_a_picture_without_a_code_says_so_and_a_dark_one_why() -> None:
    """First light, then the code: who sees nothing is not told to hold a ticket out."""
    lit = np.random.default_rng(3).integers(60, 200, (720, 1280)).astype(np.uint8)
    assert "hold a ticket out" in advice(measure(lit, None))[0].en
    (said,) = advice(measure(lit // 50, None))
    assert "take off what covers the lens" in said.en
