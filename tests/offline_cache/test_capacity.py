"""A box's share of the capacity: what it lets in by it, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from admission.capacity import Headcount, Level, Share
from admission.events import LedgerEvent, ShareTaken, decode_entry
from admission.tickets import Outcome
from offline_cache.capacity import CapacityMemory
from tests.support.capacity_box import DAY_MS, DAY_START_MS, CapacityBox, word
from tests.support.site_box import NOW_MS, SiteBox, site_box


def opened(box: SiteBox) -> CapacityBox:
    """The box with its share's memory."""
    return CapacityBox(box, CapacityMemory(box.database, box.box_id))


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[CapacityBox]:
    """A box that was told nothing yet."""
    async with site_box(tmp_path, "box-1") as box:
        yield opened(box)


async def ledger(gate: CapacityBox) -> list[LedgerEvent]:
    """The events of the box's ledger."""
    return [decode_entry(entry).event for entry in (await gate.box.outbox.ledger_after(0, 1000)).entries]


async def test_box_that_was_told_nothing_has_no_limit(gate: CapacityBox) -> None:
    """There may be none at this site."""
    assert await gate.known() is None
    assert await gate.enter() is not None


async def test_share_is_spent_by_entries(gate: CapacityBox) -> None:
    """And then nobody enters, whoever they are."""
    await gate.told(1, inside=2, today=3)
    assert [await gate.enter() is not None for _ in range(3)] == [True, True, False]
    assert await gate.left() == (0, 1)


async def test_exit_makes_room_inside_but_not_today(gate: CapacityBox) -> None:
    """Whoever comes back after it counts inside again, and not as a new visitor."""
    await gate.told(1, inside=1, today=2)
    await gate.enter()
    await gate.leave()
    assert await gate.left() == (1, 1)
    assert await gate.come_back() is not None
    assert await gate.left() == (0, 1)
    assert await gate.come_back() is None


@pytest.mark.parametrize(
    ("outcomes", "left"),
    [
        ((), 4),
        ((Outcome.PASSED,), 4),
        ((Outcome.UNKNOWN,), 4),
        ((Outcome.ABANDONED,), 5),
        ((Outcome.ABANDONED, Outcome.ABANDONED), 5),
        ((Outcome.ABANDONED, Outcome.PASSED), 4),
        ((Outcome.UNKNOWN, Outcome.RELEASED), 5),
    ],
)
async def test_whoever_did_not_go_in_takes_no_room(
    gate: CapacityBox, outcomes: tuple[Outcome, ...], left: int
) -> None:
    """What ends the use gives the room back, and a later word on the same admission takes it again."""
    await gate.told(1, inside=5, today=5)
    admission_id = await gate.enter()
    assert admission_id is not None
    for outcome in outcomes:
        await gate.box.close(admission_id, outcome)
    assert await gate.left() == (left, left)


async def test_new_share_counts_from_its_entry(gate: CapacityBox) -> None:
    """What the centre had counted by then is in the share's numbers; what came after is taken from them."""
    for _ in range(3):
        await gate.enter()
    await gate.told(1, inside=10, today=20, after_seq_no=2)
    assert await gate.left() == (9, 19)


async def test_use_from_before_the_share_gives_it_nothing_back(gate: CapacityBox) -> None:
    """The centre's count returns that room, in the next share."""
    admission_id = await gate.enter()
    assert admission_id is not None
    await gate.told(1, inside=10, today=20, after_seq_no=1)
    await gate.box.close(admission_id, Outcome.ABANDONED)
    assert await gate.left() == (10, 20)


async def test_taking_a_share_is_in_the_ledger_once(gate: CapacityBox) -> None:
    """The same word again only brings the count; an older one brings nothing."""
    await gate.told(2, inside=5, today=5)
    await gate.memory.take(word("box-1", Share(2, 5, 5, 0, DAY_START_MS), Headcount(96, 120)), NOW_MS)
    await gate.told(1, inside=50, today=50)
    assert await ledger(gate) == [ShareTaken(2, 5, 5, 0, DAY_START_MS)]
    known = await gate.known()
    assert known is not None
    assert (known.level, known.count) == (Level.RED, Headcount(96, 120))
    assert await gate.left() == (5, 5)


async def test_day_that_begins_with_no_word_has_its_own_share(gate: CapacityBox) -> None:
    """Yesterday's visitors are gone; a clock that goes back does not bring yesterday's share again."""
    await gate.told(1, inside=2, today=2, next_inside=3, next_today=7)
    await gate.enter()
    tomorrow = NOW_MS + DAY_MS
    assert await gate.left(tomorrow) == (3, 7)
    await gate.enter(tomorrow)
    assert await gate.left(tomorrow) == (2, 6)
    assert await gate.left(NOW_MS) == (2, 6)
    known = await gate.known(tomorrow)
    assert known is not None
    assert known.count == Headcount(0, 0)


async def test_uses_before_a_clock_was_wrong_count(gate: CapacityBox) -> None:
    """The wrong one's own are of another day."""
    for at_ms in (NOW_MS, NOW_MS, NOW_MS - DAY_MS, NOW_MS - DAY_MS, NOW_MS):
        await gate.enter(at_ms)
    await gate.told(1, inside=10, today=20)
    assert await gate.left() == (7, 17)


async def test_share_outlives_the_process(tmp_path: Path) -> None:
    """With what was spent of it."""
    async with site_box(tmp_path, "box-1") as box:
        gate = opened(box)
        await gate.told(1, inside=5, today=5)
        await gate.enter()
    async with site_box(tmp_path, "box-1") as box:
        assert await opened(box).left() == (4, 4)
