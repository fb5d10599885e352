"""What counts as progress, and what as stuck."""

from __future__ import annotations

import pytest

from gate_agent.watchdog import ANSWER_LIMIT_MS, Signs, Watchdog
from simulator.fakes import FakeClock

LANE = "1"
SIGHT_LIMIT_MS = 18_000
SEEING = Signs(waiting_ms=0, is_seeing=True, decoded=7)


class Looks:
    """A watchdog on one lane, and a clock that moves between its looks."""

    def __init__(self) -> None:
        self.clock = FakeClock(0)
        self.watchdog = Watchdog({LANE: SIGHT_LIMIT_MS})

    def look(self, signs: Signs, *, after_ms: int = 0) -> list[str]:
        """What is stuck, so much later."""
        self.clock.advance(after_ms)
        return self.watchdog.look({LANE: signs}, self.clock.monotonic_ns())


@pytest.fixture
def looks() -> Looks:
    """A watchdog that has not looked yet."""
    return Looks()


def seeing(decoded: int) -> Signs:
    """A lane whose camera delivers, so many frames on."""
    return Signs(waiting_ms=0, is_seeing=True, decoded=decoded)


def test_a_lane_that_decodes_is_not_stuck(looks: Looks) -> None:
    """However long it goes on."""
    assert [looks.look(seeing(n), after_ms=15_000) for n in range(4)] == [[]] * 4


def test_a_lane_that_decodes_nothing_is_stuck_after_its_limit(looks: Looks) -> None:
    """And not before."""
    looks.look(SEEING)
    assert looks.look(SEEING, after_ms=SIGHT_LIMIT_MS) == []
    assert looks.look(SEEING, after_ms=1) == [
        "lane 1: no frame was decoded for 18001 ms, and its camera is not lost"
    ]


def test_a_lost_camera_is_no_reason_to_end_the_process(looks: Looks) -> None:
    """It is an operating condition: its adapter opens it again."""
    lost = Signs(waiting_ms=0, is_seeing=False, decoded=7)
    assert [looks.look(lost, after_ms=60_000) for _ in range(3)] == [[]] * 3


def test_the_limit_runs_from_the_moment_the_camera_is_back(looks: Looks) -> None:
    """The hour without it does not count."""
    looks.look(Signs(waiting_ms=0, is_seeing=False, decoded=7), after_ms=3_600_000)
    assert looks.look(SEEING, after_ms=SIGHT_LIMIT_MS) == []
    assert len(looks.look(SEEING, after_ms=1)) == 1


def test_a_lane_that_decodes_again_is_not_stuck_any_more(looks: Looks) -> None:
    """The watchdog is fed again."""
    looks.look(SEEING)
    assert looks.look(SEEING, after_ms=SIGHT_LIMIT_MS + 1)
    assert looks.look(seeing(8)) == []


def test_an_answer_that_waits_too_long_is_stuck(looks: Looks) -> None:
    """Also on a lane without a camera."""
    waiting = Signs(waiting_ms=ANSWER_LIMIT_MS + 1, is_seeing=False, decoded=0)
    assert looks.look(waiting) == ["lane 1: an answer has waited for 10001 ms"]


def test_an_answer_on_its_way_is_not_stuck(looks: Looks) -> None:
    """Up to the limit."""
    assert looks.look(Signs(waiting_ms=ANSWER_LIMIT_MS, is_seeing=False, decoded=0)) == []


def test_one_stuck_lane_is_enough() -> None:
    """The others' progress does not feed for it."""
    stuck = Signs(waiting_ms=ANSWER_LIMIT_MS + 1, is_seeing=False, decoded=0)
    assert Watchdog({}).look({"1": Signs(0, is_seeing=False, decoded=0), "2": stuck}, now_ns=0) == [
        "lane 2: an answer has waited for 10001 ms"
    ]
