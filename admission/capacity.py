"""How many may be in: levels, what is refused at which, and the shares that keep boxes below it together.

The approved capacity of a site is global, and a gate cannot ask before each visitor. So the centre gives each box a
numbered *share* of the room that is left, and a box admits within its share whether or not anybody can be asked.
The sum of what is known to be in and of all that boxes may still spend never exceeds the limit:

- a share counts from a ledger entry of its box, up to which the centre has counted; what the box admitted after it is
  taken from the share;
- a box holds one share, the one with the highest number, and says in its ledger when it took it;
- until the centre has read that, the box may be spending either of the two, and the larger one is set aside for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from admission.reasons import Reason


class Level(IntEnum):
    """How full a site is; the alerts are those of LB/T 068-2017."""

    NORMAL = 0
    YELLOW = 1
    ORANGE = 2
    RED = 3
    FULL = 4


@dataclass(frozen=True, slots=True)
class Headcount:
    """Persons in the site at this moment, and persons admitted on its local day."""

    inside: int
    today: int


@dataclass(frozen=True, slots=True)
class CapacityLimits:
    """The approved capacity of a site; None where there is no such limit. `percents` begin yellow, orange and red."""

    max_inside: int | None = None
    max_per_day: int | None = None
    percents: tuple[int, int, int] = (80, 90, 95)

    def level(self, count: Headcount) -> Level:
        """Return the level of the fuller of the two."""
        return max(
            self._level(count.inside, self.max_inside),
            self._level(count.today, self.max_per_day),
        )

    def room(self, count: Headcount) -> Headcount | None:
        """Return how many more may be inside and be admitted today; None where nothing is limited."""
        if self.max_inside is None and self.max_per_day is None:
            return None
        return Headcount(_left(self.max_inside, count.inside), _left(self.max_per_day, count.today))

    def _level(self, persons: int, limit: int | None) -> Level:
        if limit is None:
            return Level.NORMAL
        if persons >= limit:
            return Level.FULL
        return Level(sum(persons * 100 >= percent * limit for percent in self.percents))


NO_LIMIT = 1 << 31
"""What is left where there is no limit: more persons than any site admits."""


def _left(limit: int | None, persons: int) -> int:
    return NO_LIMIT if limit is None else max(0, limit - persons)


@dataclass(frozen=True, slots=True)
class Share:
    """What a box may let in beyond its ledger entry `after_seq_no`, on the local day that began at `day_start_ms`.

    `inside` is how many more may be in, entries less exits; `today` how many more may enter. The highest `number`
    holds. On a later day that begins with no word from the centre, `next_inside` and `next_today` hold instead, for
    what the box sees on that day.
    """

    number: int
    inside: int
    today: int
    after_seq_no: int
    day_start_ms: int
    next_inside: int = 0
    next_today: int = 0

    def on(self, day_start_ms: int) -> Share:
        """Return the share as it is on the local day that began then."""
        if day_start_ms <= self.day_start_ms:
            return self
        return replace(self, inside=self.next_inside, today=self.next_today, day_start_ms=day_start_ms)

    def left(self, moved: Movement) -> Headcount:
        """Return what is left when the box has seen `moved` since; below zero after more than was granted."""
        return Headcount(self.inside - moved.entered + moved.left, self.today - moved.entered)


@dataclass(frozen=True, slots=True)
class Movement:
    """Persons who entered and left through one box's lanes since a ledger entry; uses given back do not count.

    Whoever comes back on the same ticket undoes the leaving and is no further entry of the day.
    """

    entered: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class CapacityFacts:
    """What a box knows when it decides: the site's limits and count as last told, and what is left of its share."""

    limits: CapacityLimits
    count: Headcount
    share_left: Headcount

    @property
    def level(self) -> Level:
        """How full the site is, as far as the box knows."""
        return self.limits.level(self.count)


def refusal(facts: CapacityFacts, persons: int, *, reserved: bool) -> Reason | None:
    """Return why `persons` may not enter now, or None; at red those who reserved still may, walk-ups do not."""
    if facts.level is Level.FULL or min(facts.share_left.inside, facts.share_left.today) < persons:
        return Reason.CAPACITY_REACHED
    if facts.level is Level.RED and not reserved:
        return Reason.RESERVED_ONLY
    return None


# What the centre gives.


@dataclass(frozen=True, slots=True)
class Holding:
    """What one box may still spend, by all that the centre has read of it.

    `current` is the share that the box said it took; `offered` a newer one that it may hold or not. `moved` is what the
    box's ledger, as far as read, saw since each of them.
    """

    current: Share
    current_moved: Movement
    offered: Share | None = None
    offered_moved: Movement = Movement()

    @property
    def set_aside(self) -> Headcount:
        """How many the box may still let in, whichever of the shares it holds."""
        left = self.current.left(self.current_moved)
        if self.offered is None:
            return Headcount(max(0, left.inside), max(0, left.today))
        other = self.offered.left(self.offered_moved)
        return Headcount(max(0, left.inside, other.inside), max(0, left.today, other.today))


def allot(
    room: Headcount, holdings: Mapping[str, Holding], weights: Mapping[str, int]
) -> dict[str, Headcount]:
    """Return the new shares of the boxes that can get one: those with no share on offer. `room` is what is left at all.

    Each box gets by its weight (the last hour's passages) of what is not set aside for the others. One that loses
    frees its part only once it has said that it took the smaller share, so that two rounds reach any division.
    """
    able = sorted(box for box in holdings if holdings[box].offered is None)
    if not able:
        return {}
    aside = {box: holding.set_aside for box, holding in holdings.items()}
    inside = _grow(room.inside, {box: kept.inside for box, kept in aside.items()}, able, weights)
    today = _grow(room.today, {box: kept.today for box, kept in aside.items()}, able, weights)
    return {box: Headcount(inside[box], today[box]) for box in able}


def _grow(room: int, aside: Mapping[str, int], able: list[str], weights: Mapping[str, int]) -> dict[str, int]:
    if room >= NO_LIMIT:
        return dict.fromkeys(able, NO_LIMIT)
    pool = max(0, room - sum(persons for box, persons in aside.items() if box not in able))
    targets = divide(pool, {box: weights.get(box, 0) + 1 for box in able})
    free = max(0, pool - sum(aside[box] for box in able))
    growth = divide(free, {box: max(0, targets[box] - aside[box]) for box in able})
    return {box: min(targets[box], aside[box] + growth[box]) for box in able}


def divide(persons: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Return `persons` divided by `weights`, to the last one; nothing for anyone where no weight is above zero."""
    total = sum(weights.values())
    if total <= 0:
        return dict.fromkeys(weights, 0)
    parts = {box: persons * weight // total for box, weight in weights.items()}
    by_rest = sorted(weights, key=lambda box: (-(persons * weights[box] % total), box))
    for box in by_rest[: persons - sum(parts.values())]:
        parts[box] += 1
    return parts
