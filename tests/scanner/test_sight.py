"""What pictures show nothing, for how long, and when that is said: tables of pictures and times."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.sight import Image, Sight, judge
from scanner.trouble import Trouble
from tests.scanner.pictures import HEIGHT, WIDTH, coloured, qr, scene

NS_PER_MS = 1_000_000
RNG = np.random.default_rng(5)


def noisy(mean: float, sigma: float) -> Image:
    """A sensor's picture of an even surface."""
    return np.clip(RNG.normal(mean, sigma, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)


def lit_phone_at_night() -> Image:
    """A dark scene with a bright screen that fills a tenth of the picture."""
    image = noisy(10, 4)
    image[200:480, 500:840] = 200
    return image


CODE = coloured(scene((qr(b"SG1:SIGHT", 10), 500, 200)))
TABLE: dict[str, tuple[Image, Trouble | None]] = {
    "a code": (CODE, None),
    "a wall in shade": (noisy(120, 12), None),
    "a cap on the lens": (noisy(4, 2), Trouble.DARK),
    "night": (noisy(20, 6), Trouble.DARK),
    "a lit phone at night": (lit_phone_at_night(), None),
    "the sun in the lens": (noisy(254, 4), Trouble.BLINDED),
    "snow all over, and a code": (np.where(CODE > 100, 245, CODE).astype(np.uint8), None),
    "a sticker on the lens": (noisy(120, 2), Trouble.COVERED),
    "dew on the lens": (noisy(180, 3), Trouble.COVERED),
    "no picture at all": (np.zeros((0, 0, 3), np.uint8), Trouble.COVERED),
}


@pytest.mark.parametrize("case", TABLE)
def test_one_picture_is_judged(case: str) -> None:
    """A picture that cannot show a code is named by its cause; one that can is not."""
    image, expected = TABLE[case]
    assert judge(image) is expected


def said(pictures: list[tuple[int, Image]], *, is_live: bool = True) -> list[tuple[int, Trouble | None]]:
    """The changes of what is said about a course of pictures, by time (ms)."""
    sight = Sight(frozen_after_ms=1000, lasting_ms=500)
    course = [(at_ms, sight.observe(image, at_ms * NS_PER_MS, is_live=is_live)) for at_ms, image in pictures]
    return [course[0], *(after for before, after in pairwise(course) if before[1] is not after[1])]


def shown(image: Image, start_ms: int, end_ms: int) -> list[tuple[int, Image]]:
    """A picture ten times a second, with a different lowest bit each time."""
    return [(at_ms, image ^ np.uint8(at_ms // 100 % 2)) for at_ms in range(start_ms, end_ms, 100)]


def test_trouble_counts_when_it_has_lasted_and_ends_at_once() -> None:
    """A sleeve before the lens is no fault; a cover is, until it is taken off."""
    dark = np.full((72, 128, 3), 4, np.uint8)
    light = CODE[::10, ::10]
    sleeve = shown(light, 0, 300) + shown(dark, 300, 700) + shown(light, 700, 1000)
    assert said(sleeve) == [(0, None)]
    cover = shown(light, 0, 300) + shown(dark, 300, 1500) + shown(light, 1500, 2000)
    assert said(cover) == [(0, None), (800, Trouble.DARK), (1500, None)]


def test_a_picture_that_stays_the_same_is_frozen() -> None:
    """To the bit and for long enough; the first different picture ends it."""
    still = [(at_ms, CODE) for at_ms in range(0, 1500, 100)]
    assert said(still) == [(0, None), (1000, Trouble.FROZEN)]
    assert said(still + shown(CODE, 1500, 2000))[-1] == (1500, None)
    assert said(still, is_live=False) == [(0, None)]


def test_a_dark_picture_that_stands_still_is_called_dark() -> None:
    """A dark sensor can be free of noise: the cover is what staff can do something about."""
    black = np.zeros((72, 128, 3), np.uint8)
    assert said([(at_ms, black) for at_ms in range(0, 2000, 100)]) == [(0, None), (500, Trouble.DARK)]


def test_reopening_is_asked_for_once_each_time_it_froze() -> None:
    """A camera that still sends the old picture is not knocked at again and again."""
    sight = Sight(frozen_after_ms=1000)
    asked = []
    for at_ms in range(0, 6000, 100):
        image = CODE if at_ms < 3000 else np.roll(CODE, 100, axis=1)
        sight.observe(image, at_ms * NS_PER_MS, is_live=True)
        if sight.wants_reopening(at_ms * NS_PER_MS):
            asked.append(at_ms)
    assert asked == [1000, 4000]


def test_zero_never_says_frozen() -> None:
    """Whoever plays a still picture on purpose can switch the look-out off."""
    sight = Sight(frozen_after_ms=0)
    verdicts = {sight.observe(CODE, at_ms * NS_PER_MS, is_live=True) for at_ms in range(0, 60_000, 1000)}
    assert verdicts == {None}


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from((1, 3)), st.integers(0, 2**32 - 1))
def test_any_picture_is_judged(height: int, width: int, channels: int, seed: int) -> None:
    """Whatever its size and content, gray or colour, judging never raises."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    assert judge(image) in {None, *Trouble}


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_says_what_to_do(trouble: Trouble) -> None:
    """In English, and in Chinese characters."""
    wording = trouble.wording
    assert wording.problem
    assert wording.do_en.isascii()
    assert any("\u4e00" <= letter <= "\u9fff" for letter in wording.do_zh)
