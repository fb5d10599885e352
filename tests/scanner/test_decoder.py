"""Engines and the cascade, on drawn codes."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
import segno
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.crowd import is_crowd
from scanner.decoder import (
    MAX_PAYLOAD_BYTES,
    STAGES,
    CascadeDecoder,
    Decoder,
    Point,
    PyzbarDecoder,
    Sighting,
    Stage,
    ZxingDecoder,
    decode_exhaustive,
    decode_frame,
    look_everywhere,
)
from scanner.sighting import capped
from scanner.upright import UprightDecoder
from simulator.pictures import wall
from tests.scanner.pictures import HEIGHT, WIDTH, Picture, qr, scene, showing, symbol

ENGINES: list[Decoder] = [ZxingDecoder(), PyzbarDecoder()]
EVERYTHING: list[Decoder] = [*ENGINES, CascadeDecoder()]

PAYLOADS = [
    b"SG1:6BF+70M0ONCNC2$BLA3$ 14HA",
    b"a\r\nb\x1d\x00\x7f",
    bytes(range(256)),
    bytes(range(128, 256)),
    "武隆 门票".encode(),
    "武隆门票".encode("gb18030"),
]


def by_name(decoder: Decoder) -> str:
    """A test's name for an engine."""
    return decoder.name


class Echo:
    """An engine that says it read the same in whatever it is shown."""

    name = "echo"

    def decode(self, gray: Picture) -> list[Sighting]:
        corner = Point(0, 0)
        return [Sighting(b"shown", (corner, corner, corner, corner), self.name)]


class Blind:
    """An engine that never reads anything and counts how often it was asked."""

    name = "blind"

    def __init__(self) -> None:
        self.asked = 0

    def decode(self, gray: Picture) -> list[Sighting]:
        self.asked += 1
        return []


def stage(name: str, engine: Decoder, cost_ms: float) -> Stage:
    """A stage that only costs."""
    return Stage(name, "a test", lambda gray: gray, engine, cost_ms)


@pytest.mark.parametrize("decoder", EVERYTHING, ids=by_name)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_is_what_was_printed(decoder: Decoder, payload: bytes) -> None:
    """Control bytes, high bytes and other encodings come back byte by byte."""
    assert [seen.payload for seen in decoder.decode(showing(payload))] == [payload]


@pytest.mark.parametrize("decoder", ENGINES, ids=by_name)
def test_corners_are_clockwise_from_the_symbols_top_left(decoder: Decoder) -> None:
    """The corners lie on the symbol, whichever way up it is held."""
    upright = scene((qr(b"CORNERS"), 400, 300))
    (seen,) = decoder.decode(upright)
    size = qr(b"CORNERS").shape[0] - 48
    left, top = 424, 324
    expected = [(left, top), (left + size, top), (left + size, top + size), (left, top + size)]
    assert np.allclose(seen.corners, expected, atol=4)
    (turned,) = decoder.decode(np.ascontiguousarray(np.rot90(upright, 2)))
    rotated = [(WIDTH - x, HEIGHT - y) for x, y in expected]
    assert {tuple(np.round(np.array(corner) / 10)) for corner in turned.corners} == {
        tuple(np.round(np.array(corner) / 10)) for corner in rotated
    }


@pytest.mark.parametrize("decoder", EVERYTHING, ids=by_name)
def test_several_codes_are_kept_apart(decoder: Decoder) -> None:
    """Two codes in one frame are two sightings."""
    seen = decoder.decode(scene((qr(b"first"), 100, 100), (qr(b"second"), 800, 300)))
    assert {sighting.payload for sighting in seen} == {b"first", b"second"}


@pytest.mark.parametrize("decoder", EVERYTHING, ids=by_name)
def test_structured_append_symbols_do_not_raise(decoder: Decoder) -> None:
    """A part of a sequence, alone or beside another part, never breaks the reading and is never joined."""
    parts = segno.make_sequence("STRUCTURED APPEND " * 20, version=4)
    pictures = [symbol(part, scale=4) for part in parts]
    for placed in ([(pictures[0], 100, 100)], [(pictures[0], 100, 100), (pictures[1], 700, 100)]):
        assert all(len(seen.payload) < 100 for seen in decoder.decode(scene(*placed)))


@pytest.mark.parametrize("decoder", EVERYTHING, ids=by_name)
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 500), (3, 2), (19, 21)])
def test_tiny_pictures_are_empty(decoder: Decoder, shape: tuple[int, int]) -> None:
    """A picture too small for a code, or of no size at all, holds none."""
    assert decoder.decode(np.zeros(shape, np.uint8)) == []


@pytest.mark.parametrize("decoder", ENGINES, ids=by_name)
def test_a_cutout_of_a_frame_is_read(decoder: Decoder) -> None:
    """Rows that do not follow each other in memory are read like any."""
    assert [seen.payload for seen in decoder.decode(showing(b"cutout")[100:600, 400:1000])] == [b"cutout"]


def test_inverted_mirrored_and_micro_codes_are_read() -> None:
    """Light on dark, seen in a mirror, and the small family members."""
    plain = showing(b"SG1:OTHER WAY ROUND")
    micro = scene((symbol(segno.make("123456789", micro=True), scale=10), 500, 200))
    decoder = ZxingDecoder()
    assert [seen.payload for seen in decoder.decode(255 - plain)] == [b"SG1:OTHER WAY ROUND"]
    assert [seen.payload for seen in decoder.decode(np.fliplr(plain))] == [b"SG1:OTHER WAY ROUND"]
    assert [seen.payload for seen in decoder.decode(micro)] == [b"123456789"]


def test_a_micro_code_that_chance_can_make_is_none() -> None:
    """The smallest Micro QR versions hardly check themselves: what is as short as theirs is left unread."""
    assert ZxingDecoder().decode(scene((symbol(segno.make("12345", micro=True), scale=10), 500, 200))) == []


def test_overlong_payload_is_cut_to_one_more_than_allowed() -> None:
    """It stays a sighting, so that its holder gets an answer, and is too long to be a ticket."""
    assert len(capped(bytes(MAX_PAYLOAD_BYTES))) == MAX_PAYLOAD_BYTES
    assert len(capped(bytes(MAX_PAYLOAD_BYTES * 3))) == MAX_PAYLOAD_BYTES + 1


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 200))
def test_noise_is_never_a_code(seed: int, height: int, width: int) -> None:
    """Random pictures of any size hold nothing and raise nothing, whatever stage looks at them."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    assert look_everywhere(noise) == []


PLAIN = [looking for looking in STAGES if not isinstance(looking.engine, UprightDecoder)]


@pytest.mark.parametrize("looking", PLAIN, ids=lambda looking: looking.name)
def test_every_stage_reports_places_in_the_frame_it_was_given(looking: Stage) -> None:
    """A stage that shrinks the frame gives corners of the frame, and its own name."""
    (seen,) = looking.look(scene((qr(b"stage", scale=12), 400, 200)))
    assert seen.engine == looking.name
    assert np.allclose(seen.corners[0], Point(448, 248), atol=10)


@pytest.mark.parametrize("cut_px", [1, 2, 3])
def test_a_picture_of_any_size_is_read_where_the_code_is(cut_px: int) -> None:
    """Sides that no halving divides move a code's corners by no more than the pixels that were left out."""
    large = np.kron(scene((qr(b"large", 12), 300, 100)), np.ones((3, 3), np.uint8))[cut_px:, cut_px:]
    (seen,) = look_everywhere(large)
    assert seen.payload == b"large"
    assert np.allclose(seen.corners[0], Point(3 * (300 + 48) - cut_px, 3 * (100 + 48) - cut_px), atol=12)


def test_what_was_found_and_not_read_is_straightened() -> None:
    """A symbol too damaged for zxing-cpp is read where it was located; what zxing-cpp reads is not looked at again."""
    (upright,) = (looking for looking in STAGES if isinstance(looking.engine, UprightDecoder))
    plain = scene((qr(b"SG1:UPRIGHT", scale=12), 400, 200))
    assert upright.look(plain) == []
    damaged = plain.copy()
    damaged[340:460, 540:660] = 255  # more of the middle than error correction can replace
    located = UprightDecoder(Echo()).decode(damaged)
    assert {seen.payload for seen in located} == {b"shown"}
    assert np.allclose(located[0].corners[0], Point(448, 248), atol=12)


def test_a_frame_larger_than_any_need_is_looked_at_smaller() -> None:
    """Twelve megapixels cost a lane no more than full HD does, and corners stay those of the frame."""
    large = np.full((3024, 4032), 255, np.uint8)
    code = qr(b"SG1:LARGE", scale=40)
    large[400 : 400 + code.shape[0], 800 : 800 + code.shape[1]] = code
    (seen,) = CascadeDecoder().decode(large)
    assert seen.payload == b"SG1:LARGE"
    assert np.allclose(seen.corners[0], Point(800 + 160, 400 + 160), atol=30)


def test_blank_frames_earn_the_next_stage() -> None:
    """A stage runs only when the blank frames before it have paid for it, and the stages take turns."""
    cheap, dear = Blind(), Blind()
    cascade = CascadeDecoder([stage("cheap", cheap, 2.0), stage("dear", dear, 6.0)], extra_ms_per_frame=2.0)
    blank = scene()
    asked = []
    for _ in range(8):
        cascade.decode(blank)
        asked.append((cheap.asked, dear.asked))
    assert asked == [(1, 0), (1, 0), (1, 0), (1, 1), (2, 1), (2, 1), (2, 1), (2, 2)]


def test_a_frame_that_zxing_reads_costs_nothing_more() -> None:
    """The other stages see only frames that the first engine could not read."""
    other = Blind()
    cascade = CascadeDecoder([stage("other", other, 0.0)])
    cascade.decode(showing(b"plain"))
    assert other.asked == 0


def rounds_looked_at(costs_ms: list[float], *, reads: bool = False) -> list[int]:
    """On which blank frames a stage looks that takes so long each time, where another look is earned by every frame."""
    looked: list[int] = []
    clock_ns = [0]

    class Slow:
        name = "slow"

        def decode(self, gray: Picture) -> list[Sighting]:
            clock_ns[0] += int(costs_ms[len(looked)] * 1e6)
            looked.append(frame)
            return [code] if reads else []

    code = Sighting(b"A", (Point(0, 0), Point(9, 0), Point(9, 9), Point(0, 9)), "slow")
    cascade = CascadeDecoder([stage("slow", Slow(), 0.0)], budget_ms=50, worked_ns=lambda: clock_ns[0])
    frame, blank = 0, scene()
    while len(looked) < len(costs_ms):
        cascade.decode(blank)
        frame += 1
    return looked


@pytest.mark.parametrize(
    ("costs_ms", "reads", "looked"),
    [
        ([50.0] * 4, False, [0, 1, 2, 3]),
        ([51.0] * 4, False, [0, 2, 6, 14]),
        ([51.0, 51.0, 1.0, 1.0, 51.0, 1.0], False, [0, 2, 6, 7, 8, 10]),
        ([51.0] * 4, True, [0, 1, 2, 3]),
        ([51.0] * 9, False, [0, 2, 6, 14, 30, 62, 126, 190, 254]),
    ],
)
def test_a_stage_that_overruns_sits_out_ever_longer(
    costs_ms: list[float], reads: bool, looked: list[int]
) -> None:
    """Up to every sixty-fourth round; one that is quick again, or reads, is back at once."""
    assert rounds_looked_at(costs_ms, reads=reads) == looked


def test_of_a_crowd_of_finder_patterns_the_middle_is_read() -> None:
    """A code held out before such a wall is in the middle; the wall itself costs a look at no more than that."""
    crowd = wall(8)
    held = qr(b"held out", 6)
    top, left = ((whole - part) // 2 for whole, part in zip(crowd.shape, held.shape, strict=True))
    crowd[top : top + held.shape[0], left : left + held.shape[1]] = held
    assert is_crowd(crowd)
    (seen,) = CascadeDecoder().decode(crowd)
    assert seen.payload == b"held out"
    assert all(left <= corner.x <= left + held.shape[1] for corner in seen.corners)
    assert decode_frame(crowd) == ["held out"]


def test_cascade_reads_within_a_second_what_needs_another_look() -> None:
    """A code that zxing-cpp alone cannot read is read when its stage's turn comes."""
    raster = scene((qr(b"SG1:SCREEN RASTER", scale=10), 400, 150))
    raster[:, ::2] = 255 - (255 - raster[:, ::2]) // 6
    raster[::2, :] = 255 - (255 - raster[::2, :]) // 6
    if ZxingDecoder().decode(raster):
        pytest.fail("the picture is too easy to show anything")
    cascade = CascadeDecoder()
    reads = [cascade.decode(raster) for _ in range(25)]
    assert b"SG1:SCREEN RASTER" in {seen.payload for read in reads for seen in read}


def test_texts_are_given_for_measurements() -> None:
    """UTF-8 where it is UTF-8, otherwise the symbology's Shift JIS, otherwise one character per byte."""
    assert decode_frame(showing("武隆".encode())) == ["武隆"]
    assert decode_exhaustive(showing("切符".encode("cp932"))) == ["切符"]
    assert decode_exhaustive(showing(b"\xff\xfe\xe9")) == ["\xff\xfe\xe9"]


def test_threads_share_the_stages() -> None:
    """Two cameras on two threads read their own codes with the same stages."""
    frames = {payload: cv2.GaussianBlur(showing(payload), (0, 0), 2.0) for payload in (b"left", b"right")}
    wrong: list[bytes] = []

    def look(payload: bytes) -> None:
        for looking in STAGES * 3:
            wrong.extend(
                seen.payload for seen in looking.look(np.asarray(frames[payload])) if seen.payload != payload
            )

    threads = [threading.Thread(target=look, args=(payload,)) for payload in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
