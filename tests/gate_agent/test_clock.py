"""What time it is when the clock is wrong: ten years back, ten years ahead, at dawn without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from admission.codes import ticket_key
from admission.reasons import Reason
from gate_agent.clock import AHEAD_MS, BEHIND_MS, Setting, TrustedClock
from offline_cache.neighbours import Neighbours
from offline_cache.proved_time import ProvedTime
from simulator.fakes import FakeClock
from tests.admission.makers import HOUR_S, NOW_MS, NOW_S, ticket
from tests.gate_agent.gate import TICKET_IDS, Gate, opened_gate, ticket_code

YEARS_MS = 10 * 365 * 86_400_000
MINUTE_MS = 60_000


def clock(wall_ms: int, proved_ms: int = 0) -> tuple[TrustedClock, FakeClock]:
    """A clock that shows a time, after so much was proved."""
    system = FakeClock(wall_ms)
    trusted = TrustedClock(system)
    trusted.prove(proved_ms)
    return trusted, system


@pytest.mark.parametrize("wall_ms", [0, NOW_MS - YEARS_MS, NOW_MS, NOW_MS + YEARS_MS])
def test_with_nothing_proved_the_wall_clock_is_all_there_is(wall_ms: int) -> None:
    """A new box that has never heard of its centre."""
    trusted, _ = clock(wall_ms)
    assert (trusted.wall_ms(), trusted.is_sure, trusted.least_ms(), trusted.problem) == (wall_ms, True, 0, "")


@pytest.mark.parametrize(
    ("off_ms", "is_sure"),
    [
        (0, True),
        (-BEHIND_MS, True),
        (-BEHIND_MS - 1, False),
        (AHEAD_MS, True),
        (AHEAD_MS + 1, False),
        (-YEARS_MS, False),
        (YEARS_MS, False),
    ],
)
def test_a_clock_behind_what_was_proved_or_far_ahead_of_it_is_not_believed(
    off_ms: int, is_sure: bool
) -> None:
    """The time is then the least that it can be, and goes on as the monotonic clock does."""
    trusted, system = clock(NOW_MS + off_ms, NOW_MS)
    assert (trusted.is_sure, bool(trusted.problem)) == (is_sure, not is_sure)
    assert trusted.wall_ms() == (NOW_MS + max(0, off_ms) if is_sure else NOW_MS)
    system.advance(MINUTE_MS)
    assert trusted.least_ms() == NOW_MS + MINUTE_MS
    if not is_sure:
        assert trusted.wall_ms() == NOW_MS + MINUTE_MS


def test_what_is_proved_only_ever_rises() -> None:
    """An old word proves nothing more than a newer one."""
    trusted, system = clock(NOW_MS, NOW_MS)
    system.advance(MINUTE_MS)
    trusted.prove(NOW_MS + 1)
    assert trusted.least_ms() == NOW_MS + MINUTE_MS
    trusted.prove(NOW_MS + 2 * MINUTE_MS)
    assert trusted.least_ms() == NOW_MS + 2 * MINUTE_MS


def test_ten_years_ahead_and_then_corrected() -> None:
    """As soon as the machine's clock is right it is believed again."""
    trusted, system = clock(NOW_MS + YEARS_MS, NOW_MS)
    assert trusted.wall_ms() == NOW_MS
    system.turn(-YEARS_MS)
    assert (trusted.is_sure, trusted.wall_ms()) == (True, NOW_MS)


def test_a_supervisors_word_holds_and_goes_on() -> None:
    """Until the process ends; it cannot be earlier than what was proved, nor absurdly far behind it."""
    trusted, system = clock(0, NOW_MS)
    assert trusted.set(NOW_MS - BEHIND_MS - 1) is Setting.TOO_EARLY
    assert trusted.set(NOW_MS + AHEAD_MS + 1) is Setting.TOO_LATE
    assert not trusted.is_sure
    assert trusted.set(NOW_MS + HOUR_S * 1000) is Setting.TAKEN
    system.advance(MINUTE_MS)
    assert (trusted.is_sure, trusted.wall_ms()) == (True, NOW_MS + HOUR_S * 1000 + MINUTE_MS)
    trusted.prove(NOW_MS + 2 * HOUR_S * 1000)
    assert trusted.wall_ms() == NOW_MS + 2 * HOUR_S * 1000


TOMORROW = ticket(valid_from_s=NOW_S + 6 * HOUR_S, valid_until_s=NOW_S + 12 * HOUR_S)


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    """A box with lanes to be put up."""
    async with opened_gate(tmp_path) as gate:
        yield gate


async def test_a_lane_asks_its_clock_whether_it_is_sure(gate: Gate) -> None:
    """And once it is, the same ticket is told to be too early."""
    await gate.box.install(version=8, tickets={ticket_key(TICKET_IDS[0]): TOMORROW})
    post = await gate.add_ready_lane()
    answers = []
    for is_sure in (False, True):
        gate.clock.is_sure = is_sure
        answers.append((await post.present(ticket_code(0))).decision.reason)
    assert answers == [Reason.CLOCK_UNSURE, Reason.TOO_EARLY]


async def test_what_was_proved_outlives_the_process(gate: Gate) -> None:
    """The next start begins with it."""
    proved = ProvedTime(gate.box.database)
    assert await proved.read_ms() == 0
    await proved.keep(NOW_MS)
    assert await proved.read_ms() == NOW_MS


async def test_a_repair_holds_once(gate: Gate) -> None:
    """A lower number, or the same again, takes back nothing that was proved since."""
    proved, neighbours = ProvedTime(gate.box.database), Neighbours(gate.box.database)
    await proved.keep(NOW_MS + YEARS_MS)
    await neighbours.keep_boxes(NOW_MS + YEARS_MS, b"then")
    assert await proved.take_back(5, NOW_MS)
    assert await proved.read_ms() == NOW_MS
    assert await neighbours.kept_boxes() == b"then"
    assert await neighbours.keep_boxes(NOW_MS, b"now")
    await proved.keep(NOW_MS + MINUTE_MS)
    assert not await proved.take_back(5, NOW_MS)
    assert not await proved.take_back(4, 0)
    assert await proved.read_ms() == NOW_MS + MINUTE_MS


def test_what_is_taken_back_proves_nothing_any_more() -> None:
    """What the centre's wrong clock proved, and what people said because of it; the right clock is sure at once."""
    trusted, system = clock(NOW_MS, proved_ms=NOW_MS + YEARS_MS)
    assert trusted.set(NOW_MS + YEARS_MS) is Setting.TAKEN
    system.advance(MINUTE_MS)
    trusted.take_back(NOW_MS)
    assert (trusted.is_sure, trusted.wall_ms(), trusted.least_ms()) == (True, NOW_MS + MINUTE_MS, NOW_MS)


def test_a_neighbour_s_word_serves_while_the_clock_is_wrong() -> None:
    """It goes on with the kernel's time, proves nothing, and is dropped once the clock is right again."""
    trusted, system = clock(NOW_MS - YEARS_MS, proved_ms=NOW_MS)
    trusted.hear(NOW_MS + MINUTE_MS)
    system.advance(MINUTE_MS)
    assert (trusted.wall_ms(), trusted.is_sure, trusted.is_hearsay) == (NOW_MS + 2 * MINUTE_MS, True, True)
    assert trusted.least_ms() == NOW_MS + MINUTE_MS
    system.turn(YEARS_MS)
    assert (trusted.wall_ms(), trusted.is_hearsay) == (NOW_MS + MINUTE_MS, False)


def test_a_supervisor_s_word_counts_more_than_a_neighbour_s() -> None:
    """Whichever came first."""
    trusted, _ = clock(NOW_MS - YEARS_MS, proved_ms=NOW_MS)
    trusted.hear(NOW_MS + MINUTE_MS)
    assert trusted.set(NOW_MS + 3 * MINUTE_MS) is Setting.TAKEN
    trusted.hear(NOW_MS + 2 * MINUTE_MS)
    assert (trusted.wall_ms(), trusted.is_hearsay) == (NOW_MS + 3 * MINUTE_MS, False)


@pytest.mark.parametrize("off_ms", [-YEARS_MS, -BEHIND_MS - 1, AHEAD_MS + 1, YEARS_MS])
def test_a_neighbour_that_cannot_be_right_is_not_heard(off_ms: int) -> None:
    """Before what was proved, or absurdly far behind it."""
    trusted, _ = clock(NOW_MS - YEARS_MS, proved_ms=NOW_MS)
    trusted.hear(NOW_MS + off_ms)
    assert (trusted.wall_ms(), trusted.is_sure) == (NOW_MS, False)
