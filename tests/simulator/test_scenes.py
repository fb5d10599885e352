"""The camera's pictures: readable as promised, different per seed, the same for the same seed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import zxingcpp

from simulator.scenes import APPROACH_FRAMES, Medium, render_empty, render_showing

TICKET = ("SG1:" + "6BF.G38Q*T0$%A " * 12)[:180]


def seen_in(jpeg: bytes) -> list[bytes]:
    """What an ordinary reader finds in a picture."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert picture.shape == (720, 1280)
    return [code.bytes for code in zxingcpp.read_barcodes(picture)]


@pytest.mark.parametrize("medium", Medium)
@pytest.mark.parametrize("seed", range(4))
def test_every_frame_after_the_approach_can_be_read(medium: Medium, seed: int) -> None:
    """What is shown is readably shown, on the phone and on paper."""
    frames = render_showing(TICKET, medium, np.random.default_rng(seed), 8)
    assert len(frames) == 8
    assert [seen_in(frame) for frame in frames[APPROACH_FRAMES:]] == [[TICKET.encode()]] * 6


@pytest.mark.parametrize(
    "text", ["https://example.com/map?from=gate", "OTA-2026-00417", "武隆 https://example.com"]
)
def test_other_codes_are_shown_as_readably(text: str) -> None:
    """A poster's address, another issuer's code, and Chinese arrive byte for byte."""
    frames = render_showing(text, Medium.PHONE, np.random.default_rng(7), 4)
    assert seen_in(frames[-1]) == [text.encode()]


def test_nothing_is_read_while_the_hand_moves_in() -> None:
    """The first frame of a showing is too blurred to read."""
    frames = render_showing(TICKET, Medium.PHONE, np.random.default_rng(3), 3)
    assert seen_in(frames[0]) == []


def test_an_empty_scene_shows_no_code_and_is_never_still() -> None:
    """Noise and passers-by change the picture; no code appears in it."""
    frames = render_empty(np.random.default_rng(5), 4)
    assert [seen_in(frame) for frame in frames] == [[], [], [], []]
    assert len(set(frames)) == 4


def test_a_seed_gives_the_same_pictures_again() -> None:
    """The same seed, text and medium give the same bytes; another seed gives others."""
    first, again, other = (
        render_showing(TICKET, Medium.PAPER, np.random.default_rng(seed), 3) for seed in (11, 11, 12)
    )
    assert first == again
    assert first != other


def test_a_text_too_long_for_the_camera_is_refused() -> None:
    """A code that no camera at this distance could read is an error, not an unreadable picture."""
    with pytest.raises(ValueError, match="cannot be shown readably"):
        render_showing("x" * 2300, Medium.PHONE, np.random.default_rng(1), 3)
