"""When a sighting is a scan: tables of frames and of what a lane could take, without clocks or cameras."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.presentation import Presentation
from scanner.sighting import Point, Sighting

WIDTH, HEIGHT = 1280, 720
NS_PER_MS = 1_000_000


def sighting(payload: str, x: int = 640, y: int = 360, size: int = 200) -> Sighting:
    """A square code with its centre at (x, y)."""
    half = size // 2
    corners = (
        Point(x - half, y - half),
        Point(x + half, y - half),
        Point(x + half, y + half),
        Point(x - half, y + half),
    )
    return Sighting(payload.encode(), corners, "test")


A, B, C = sighting("A"), sighting("B"), sighting("C")
SMALL_B = sighting("B", size=80)
ASIDE_B = sighting("B", x=1150)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame at a time, and whether a lane then tries to take."""

    at_ms: int
    seen: tuple[Sighting, ...]
    takes: bool = True


def taken(frames: list[Frame]) -> list[tuple[int, str]]:
    """When a lane that tries at the marked frames gets which payload."""
    presentation = Presentation(gone_after_ms=700)
    scans = []
    for frame in frames:
        presentation.observe(frame.seen, WIDTH, HEIGHT, frame.at_ms * NS_PER_MS)
        if frame.takes and (shown := presentation.take(frame.at_ms * NS_PER_MS, 0)):
            scans.append((frame.at_ms, shown.sighting.payload.decode()))
    return scans


def held(seen: tuple[Sighting, ...], start_ms: int, end_ms: int, *, takes: bool = True) -> list[Frame]:
    """The same sightings on 25 frames a second."""
    return [Frame(at_ms, seen, takes) for at_ms in range(start_ms, end_ms, 40)]


TABLE: dict[str, tuple[list[Frame], list[tuple[int, str]]]] = {
    "nothing seen": (held((), 0, 2000), []),
    "held for seconds": (held((A,), 0, 5000), [(0, "A")]),
    "blinks shorter than leaving": (
        held((A,), 0, 400) + held((), 400, 1000) + held((A,), 1000, 2000),
        [(0, "A")],
    ),
    "shown again after leaving": (
        held((A,), 0, 400) + held((), 400, 1200) + held((A,), 1200, 2000),
        [(0, "A"), (1200, "A")],
    ),
    "no frames at all for a while": (
        held((A,), 0, 400) + held((A,), 5000, 6000),
        [(0, "A"), (5000, "A")],
    ),
    "one after the other": (held((A,), 0, 400) + held((B,), 400, 900), [(0, "A"), (400, "B")]),
    "two phones in turn": (
        [Frame(at_ms, (A,) if at_ms % 80 else (B,)) for at_ms in range(0, 4000, 40)],
        [(0, "B"), (40, "A")],
    ),
    "lane busy, code still there": (
        held((A,), 0, 2000, takes=False) + held((A,), 2000, 2400),
        [(2000, "A")],
    ),
    "lane busy, code blinks when it is free": (
        held((A,), 0, 2000, takes=False) + held((), 2000, 2400),
        [(2000, "A")],
    ),
    "lane busy, code has left": (
        held((A,), 0, 400, takes=False) + held((), 400, 1200, takes=False) + held((), 1200, 2000),
        [],
    ),
    "lane busy, newest wins": (
        held((A,), 0, 400, takes=False) + held((B,), 400, 800, takes=False) + [Frame(800, (B,))],
        [(800, "B")],
    ),
    "lane busy, two phones in turn": (
        [Frame(at_ms, (A,) if at_ms % 80 else (B,), at_ms >= 2000) for at_ms in range(0, 4000, 40)],
        [(2000, "A"), (2040, "B")],
    ),
    "two at once, the larger": (held((SMALL_B, A), 0, 2000), [(0, "A")]),
    "two at once, the nearer to the centre": (held((ASIDE_B, A), 0, 2000), [(0, "A")]),
    "two at once, the other remains": (
        held((A, SMALL_B), 0, 400) + held((SMALL_B,), 400, 2000),
        [(0, "A"), (1080, "B")],
    ),
    "two at once, one of them blinks": (
        [Frame(at_ms, (A, SMALL_B) if at_ms % 120 else (SMALL_B,)) for at_ms in range(40, 4000, 40)],
        [(40, "A")],
    ),
    "a sticker always in view": (
        held((A,), 0, 2000) + held((A, SMALL_B), 2000, 3000) + held((A,), 3000, 4000),
        [(0, "A"), (2000, "B")],
    ),
    "three in turn while busy, then free": (
        [Frame(at_ms, ((A, B, C)[at_ms // 40 % 3],), at_ms >= 1200) for at_ms in range(0, 2400, 40)],
        [(1200, "C"), (1240, "B"), (1280, "A")],
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_scans_of_a_course_of_frames(case: str) -> None:
    """A lane that tries at the marked frames takes exactly these payloads at these times (ms)."""
    frames, expected = TABLE[case]
    assert taken(frames) == expected


def test_a_waiting_lane_is_measured_from_the_first_frame() -> None:
    """The wait of a visitor at a free lane began with the first frame that showed the code."""
    presentation = Presentation()
    presentation.observe([A], WIDTH, HEIGHT, 100)
    presentation.observe([A], WIDTH, HEIGHT, 200)
    shown = presentation.take(300, waiting_since_ns=50)
    assert shown is not None
    assert shown.captured_ns == 100


def test_a_lane_that_was_busy_is_measured_from_the_newest_frame() -> None:
    """The time that the lane was busy with the visitor before is not counted."""
    presentation = Presentation()
    presentation.observe([A], WIDTH, HEIGHT, 100)
    presentation.observe([A], WIDTH, HEIGHT, 200)
    shown = presentation.take(300, waiting_since_ns=250)
    assert shown is not None
    assert shown.captured_ns == 200


def test_what_is_handed_out_is_the_newest_sighting() -> None:
    """Corners are those of the newest frame."""
    presentation = Presentation()
    moved = sighting("A", x=700)
    presentation.observe([A], WIDTH, HEIGHT, 100)
    presentation.observe([moved], WIDTH, HEIGHT, 200)
    shown = presentation.take(300, waiting_since_ns=0)
    assert shown is not None
    assert shown.sighting == moved


def test_a_wall_of_codes_is_bounded() -> None:
    """However many codes pass, memory stays the same, and the newest can be taken."""
    presentation = Presentation()
    for number in range(2000):
        wall = [sighting(f"{number}-{i}", x=40 * i, size=30 + i) for i in range(30)]
        presentation.observe(wall, WIDTH, HEIGHT, number * NS_PER_MS)
    showings = presentation._showings
    assert len(showings) == 16
    assert all(showing.beside <= showings.keys() for showing in showings.values())
    shown = presentation.take(2000 * NS_PER_MS, waiting_since_ns=0)
    assert shown is not None
    assert shown.sighting.payload.startswith(b"1999-")


@given(st.lists(st.sets(st.sampled_from("ABCDE")), max_size=60), st.lists(st.booleans(), min_size=60))
def test_a_showing_is_taken_at_most_once(frames: list[set[str]], tries: list[bool]) -> None:
    """Between two scans of a code there is a gap without it longer than the leaving time; none is made up."""
    presentation = Presentation(gone_after_ms=100)
    last_seen: dict[str, int] = {}
    left: dict[str, bool] = {}
    for number, (codes, tries_now) in enumerate(zip(frames, tries, strict=False)):
        at_ns = number * 40 * NS_PER_MS
        for code in codes:
            gap_ns = at_ns - last_seen.get(code, -(10**12))
            left[code] = left.get(code, True) or gap_ns > 100 * NS_PER_MS
            last_seen[code] = at_ns
        presentation.observe([sighting(code) for code in sorted(codes)], WIDTH, HEIGHT, at_ns)
        if tries_now and (shown := presentation.take(at_ns, 0)):
            payload = shown.sighting.payload.decode()
            assert left[payload]
            assert at_ns - last_seen[payload] <= 100 * NS_PER_MS
            left[payload] = False


# A code that changes while it is shown -----------------------------------------------------------------------


def live(at_s: int) -> Sighting:
    """What a phone shows at a second: the same ticket, another proof."""
    return sighting(f"ticket|{at_s}")


def presented(frames: Iterable[tuple[int, tuple[Sighting, ...]]]) -> list[tuple[int, str]]:
    """When which payload is taken by a lane that tries at every frame, of codes that are one up to a bar."""
    presentation = Presentation(same=lambda payload: payload.partition(b"|")[0])
    scans = []
    for at_ms, seen in frames:
        presentation.observe(seen, WIDTH, HEIGHT, at_ms * NS_PER_MS)
        if shown := presentation.take(at_ms * NS_PER_MS, 0):
            scans.append((at_ms, shown.sighting.payload.decode()))
    return scans


def test_a_phone_that_renews_its_code_is_one_showing() -> None:
    """It is taken once, for however long it is held there."""
    frames = [(at_ms, (live(at_ms // 3000),)) for at_ms in range(0, 12_000, 100)]
    assert presented(frames) == [(0, "ticket|0")]


def test_a_busy_lane_takes_the_newest_code_of_a_phone() -> None:
    """The one that it showed first may be too old by then."""
    presentation = Presentation(same=lambda payload: payload.partition(b"|")[0])
    for at_ms in range(0, 7000, 100):
        presentation.observe((live(at_ms // 3000),), WIDTH, HEIGHT, at_ms * NS_PER_MS)
    shown = presentation.take(6900 * NS_PER_MS, 0)
    assert shown is not None
    assert shown.sighting.payload == b"ticket|2"


def test_a_phone_taken_away_and_shown_again_counts_anew() -> None:
    """With the code that it shows then."""
    frames = [(0, (live(0),)), (1000, ()), (3000, (live(1),))]
    assert presented(frames) == [(0, "ticket|0"), (3000, "ticket|1")]


def test_two_phones_side_by_side_stay_two() -> None:
    """Each renews its own: the smaller one's turn comes when the other has gone."""
    big, small = sighting("a|1"), sighting("b|1", x=1100, size=80)
    big_later, small_later = sighting("a|2"), sighting("b|2", x=1100, size=80)
    frames = [(0, (big, small)), (100, (big_later, small_later)), (3000, (small_later,))]
    assert presented(frames) == [(0, "a|1"), (3000, "b|2")]
