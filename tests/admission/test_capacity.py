"""Capacity: levels, refusals, and shares that together never exceed what was approved."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.capacity import (
    NO_LIMIT,
    CapacityFacts,
    CapacityLimits,
    Headcount,
    Holding,
    Level,
    Movement,
    Share,
    allot,
    divide,
    refusal,
)
from admission.reasons import Reason

LIMITS = CapacityLimits(max_inside=1000, max_per_day=5000)
DAY_MS = 0


@pytest.mark.parametrize(
    ("inside", "today", "level"),
    [
        (0, 0, Level.NORMAL),
        (799, 3999, Level.NORMAL),
        (800, 0, Level.YELLOW),
        (0, 4000, Level.YELLOW),
        (899, 0, Level.YELLOW),
        (900, 0, Level.ORANGE),
        (900, 4750, Level.RED),
        (999, 0, Level.RED),
        (1000, 0, Level.FULL),
        (0, 5001, Level.FULL),
    ],
)
def test_the_fuller_of_both_counts_sets_the_level(inside: int, today: int, level: Level) -> None:
    """Alerts begin exactly at 80, 90 and 95 percent, and the limit itself is full."""
    assert LIMITS.level(Headcount(inside, today)) is level


@pytest.mark.parametrize(
    ("limits", "room"),
    [
        (CapacityLimits(), None),
        (CapacityLimits(max_inside=10), Headcount(3, NO_LIMIT)),
        (CapacityLimits(max_per_day=5), Headcount(NO_LIMIT, 0)),
    ],
)
def test_room_is_what_is_left_of_each_limit(limits: CapacityLimits, room: Headcount | None) -> None:
    """A limit that is not set leaves room without end, and where none is set there is nothing to divide."""
    assert limits.room(Headcount(7, 7)) == room
    assert CapacityLimits(max_inside=10).level(Headcount(0, 10**6)) is Level.NORMAL


@pytest.mark.parametrize(
    ("inside", "left", "persons", "reserved", "reason"),
    [
        (0, Headcount(1, 1), 1, False, None),
        (0, Headcount(1, 1), 2, False, Reason.CAPACITY_REACHED),
        (0, Headcount(0, 9), 1, True, Reason.CAPACITY_REACHED),
        (0, Headcount(9, 0), 1, True, Reason.CAPACITY_REACHED),
        (949, Headcount(9, 9), 1, False, None),
        (950, Headcount(9, 9), 1, False, Reason.RESERVED_ONLY),
        (950, Headcount(9, 9), 1, True, None),
        (1000, Headcount(9, 9), 1, True, Reason.CAPACITY_REACHED),
    ],
)
def test_at_red_only_reservations_enter_and_at_the_limit_nobody(
    inside: int, left: Headcount, persons: int, reserved: bool, reason: Reason | None
) -> None:
    """What is refused follows from the level, the share and whether the visit was reserved."""
    facts = CapacityFacts(LIMITS, Headcount(inside, 0), left)
    assert refusal(facts, persons, reserved=reserved) is reason


def test_exits_return_room_inside_and_not_the_days_admissions() -> None:
    """Whoever leaves makes room for somebody else, and has been admitted today all the same."""
    share = Share(1, inside=5, today=5, after_seq_no=10, day_start_ms=DAY_MS)
    assert share.left(Movement(entered=4, left=3)) == Headcount(4, 1)


def test_what_a_box_may_hold_is_set_aside_in_full() -> None:
    """Until a box says which share it took, the larger one counts, in each dimension."""
    current, offered = Share(1, 10, 10, 5, DAY_MS), Share(2, 4, 20, 9, DAY_MS)
    assert Holding(current, Movement(3)).set_aside == Headcount(7, 7)
    assert Holding(current, Movement(3), offered, Movement(1)).set_aside == Headcount(7, 19)
    assert Holding(current, Movement(12)).set_aside == Headcount(0, 0)


def _holding(persons: int, offered: int | None = None) -> Holding:
    return Holding(
        Share(1, persons, persons, 0, DAY_MS),
        Movement(),
        None if offered is None else Share(2, offered, offered, 0, DAY_MS),
    )


@pytest.mark.parametrize(
    ("room", "holdings", "weights", "shares"),
    [
        (100, {"a": 0, "b": 0}, {"a": 3, "b": 0}, {"a": 80, "b": 20}),
        (100, {"a": 100, "b": 0}, {"a": 0, "b": 0}, {"a": 50, "b": 0}),
        (100, {"a": 50, "b": 0}, {"a": 0, "b": 0}, {"a": 50, "b": 50}),
        (10, {"a": 30, "b": 0}, {}, {"a": 5, "b": 0}),
    ],
)
def test_shares_follow_the_last_hours_passages(
    room: int, holdings: dict[str, int], weights: dict[str, int], shares: dict[str, int]
) -> None:
    """Busy gates get more, quiet ones something, and nobody what is still set aside for another."""
    given_out = allot(Headcount(room, NO_LIMIT), {box: _holding(n) for box, n in holdings.items()}, weights)
    assert {box: share.inside for box, share in given_out.items()} == shares
    assert all(share.today == NO_LIMIT for share in given_out.values())


def test_a_box_with_a_share_on_offer_gets_no_other() -> None:
    """A box that has not said which share it took keeps both set aside, and the others divide the rest."""
    holdings = {"gone": _holding(30, offered=40), "here": _holding(0)}
    assert allot(Headcount(100, 100), holdings, {}) == {"here": Headcount(60, 60)}
    assert allot(Headcount(100, 100), {"gone": _holding(1, offered=1)}, {}) == {}


@given(st.integers(0, 10_000), st.dictionaries(st.text(max_size=3), st.integers(0, 1000), min_size=1))
def test_division_loses_nobody_and_invents_nobody(persons: int, weights: dict[str, int]) -> None:
    """The parts add up exactly, and no part is more than one off its proportion."""
    parts = divide(persons, weights)
    total = sum(weights.values())
    assert sum(parts.values()) == (persons if total else 0)
    assert all(abs(parts[box] * total - persons * weights[box]) <= total for box in parts)


@dataclass
class _Box:
    """A gate with a ledger that the centre reads late, and shares that it hears late or never."""

    held: Share
    ledger: list[str] = field(default_factory=list)
    inbox: list[Share] = field(default_factory=list)
    read: int = 0

    def moved_since(self, seq_no: int, until: int | None = None) -> Movement:
        since = self.ledger[seq_no:until]
        return Movement(since.count("in"), since.count("out"))

    def enter(self) -> None:
        left = self.held.left(self.moved_since(self.held.after_seq_no))
        if min(left.inside, left.today) >= 1:
            self.ledger.append("in")

    def leave(self) -> None:
        if self.ledger.count("in") > self.ledger.count("out"):
            self.ledger.append("out")

    def take(self) -> None:
        if self.inbox and self.inbox[-1].number > self.held.number:
            self.held = self.inbox[-1]
            self.ledger.append(f"took {self.held.number}")


class _Centre:
    def __init__(self, limit: int, per_day: int, boxes: dict[str, _Box]) -> None:
        self.limits = CapacityLimits(limit, per_day)
        self.boxes = boxes
        self.current = {name: box.held for name, box in boxes.items()}
        self.offered: dict[str, Share] = {}

    def read(self, name: str) -> None:
        box = self.boxes[name]
        box.read = len(box.ledger)
        offer = self.offered.get(name)
        if offer and f"took {offer.number}" in box.ledger:
            self.current[name] = self.offered.pop(name)

    def give(self) -> None:
        moved = [box.moved_since(0, box.read) for box in self.boxes.values()]
        entered = sum(m.entered for m in moved)
        room = self.limits.room(Headcount(entered - sum(m.left for m in moved), entered))
        assert room is not None
        holdings = {name: self._holding(name) for name in self.boxes}
        for name, share in allot(room, holdings, {}).items():
            box = self.boxes[name]
            offer = Share(self.current[name].number + 1, share.inside, share.today, box.read, DAY_MS)
            self.offered[name] = offer
            box.inbox.append(offer)

    def _holding(self, name: str) -> Holding:
        box, current, offered = self.boxes[name], self.current[name], self.offered.get(name)
        return Holding(
            current,
            box.moved_since(current.after_seq_no, box.read),
            offered,
            box.moved_since(offered.after_seq_no, box.read) if offered else Movement(),
        )


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "enter", "leave", "take", "read", "give"]), st.sampled_from("abc")
    ),
    max_size=120,
)


@given(limit=st.integers(0, 12), per_day=st.integers(0, 20), steps=_STEPS)
def test_boxes_apart_never_exceed_the_capacity_together(
    limit: int, per_day: int, steps: list[tuple[str, str]]
) -> None:
    """However late ledgers are read and shares are heard, no more are inside, or enter in a day, than was approved."""
    boxes = {name: _Box(Share(0, 0, 0, 0, DAY_MS)) for name in "abc"}
    centre = _Centre(limit, per_day, boxes)
    for step, name in steps:
        if step == "give":
            centre.give()
        elif step == "read":
            centre.read(name)
        else:
            getattr(boxes[name], step)()
        moved = [box.moved_since(0) for box in boxes.values()]
        assert sum(m.entered - m.left for m in moved) <= limit
        assert sum(m.entered for m in moved) <= per_day


def test_a_share_is_never_less_than_everybody_waits_for() -> None:
    """When all ledgers are read and all shares heard, the whole capacity can be used."""
    boxes = {name: _Box(Share(0, 0, 0, 0, DAY_MS)) for name in "ab"}
    centre = _Centre(10, 10, boxes)
    for _ in range(3):
        centre.give()
        for name, box in boxes.items():
            box.take()
            for _ in range(10):
                box.enter()
            centre.read(name)
    assert sum(box.ledger.count("in") for box in boxes.values()) == 10


def test_a_day_that_begins_with_no_word_has_its_own_share() -> None:
    """From its first millisecond on; the share's own day and those before it change nothing."""
    today_ms, tomorrow_ms = 86_400_000, 2 * 86_400_000
    share = Share(7, 3, 4, 50, today_ms, next_inside=10, next_today=20)
    assert share.on(today_ms) == share.on(0) == share
    assert share.on(tomorrow_ms) == Share(7, 10, 20, 50, tomorrow_ms, 10, 20)
