"""The smoke's day in phases: who comes in each, to which lane, and what is done to the site meanwhile."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from demo.cast import Casting, Guest, Story, Visit

STORIES = {
    "valid": 12,
    "used": 1,
    "short": 1,
    "mistyped": 1,
    "copy": 1,
    "copy_elsewhere": 3,
    "screenshot": 1,
    "forged": 1,
    "wrong_key": 1,
    "refunded": 1,
    "wrong_site": 1,
    "too_early": 1,
    "expired": 1,
    "not_a_ticket": 1,
    "external": 2,
    "external_unlisted": 1,
    "elder": 1,
    "document": 1,
    "member": 1,
    "credit": 1,
    "abandoned": 1,
}
LATER_COPIES = 3
"""Codes used while the boxes are apart and shown at another box when they are together again."""


class Act(Enum):
    """What is done to the site."""

    CUT_CENTRE = auto()
    RESTORE_CENTRE = auto()
    CUT_SITE = auto()
    RESTORE_SITE = auto()
    KILL_FIRST_AGENT = auto()
    KILL_SECOND_AGENT = auto()
    KILL_BROKERS = auto()
    KILL_CENTRE = auto()


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the day: what begins it, and what happens when a share of its visitors have left."""

    name: str
    first: tuple[Act, ...]
    then: tuple[tuple[float, Act], ...] = ()
    is_apart: bool = False


DAY = (
    Phase("everything works", ()),
    Phase("without the centre", (Act.CUT_CENTRE,), ((0.5, Act.KILL_FIRST_AGENT),)),
    Phase("without the neighbours", (Act.CUT_SITE, Act.RESTORE_CENTRE), is_apart=True),
    Phase("alone", (Act.CUT_CENTRE,), ((0.5, Act.KILL_SECOND_AGENT),), is_apart=True),
    Phase(
        "together again",
        (Act.RESTORE_CENTRE, Act.RESTORE_SITE),
        ((0.3, Act.KILL_BROKERS), (0.6, Act.KILL_CENTRE)),
    ),
)
"""The last phase but one is the one whose codes are shown again in the last."""


async def invite(
    casting: Casting, boxes: Mapping[str, Sequence[str]], share: float, rng: random.Random
) -> list[list[Guest]]:
    """Return the guests of each phase of the day; `boxes` names each box's lanes."""
    counts = {kind: max(1, round(count * share)) for kind, count in STORIES.items()}
    later = await casting.stories({"copy_elsewhere": max(1, round(LATER_COPIES * share))})
    usher = _Usher(boxes, rng)
    return [
        list(usher.line_up(await casting.stories(counts), _parts(later, number), phase.is_apart))
        for number, phase in enumerate(DAY)
    ]


def _parts(later: Sequence[Story], number: int) -> dict[int, Visit]:
    """Return the visits of the stories told over two phases that belong to this phase, by story."""
    part = number - (len(DAY) - 2)
    return {story: visits[part] for story, visits in enumerate(later)} if part in (0, 1) else {}


class _Usher:
    """Numbers the guests, mingles the stories, and sends each visit to the lane that has the fewest so far."""

    def __init__(self, boxes: Mapping[str, Sequence[str]], rng: random.Random) -> None:
        self._box_of = {lane: box_id for box_id, lanes in boxes.items() for lane in lanes}
        self._rng = rng
        self._load: Counter[str] = Counter()
        self._invited = 0
        self._later: dict[int, Guest] = {}

    def line_up(
        self, stories: Sequence[Story], later: Mapping[int, Visit], is_apart: bool
    ) -> Iterator[Guest]:
        """Yield a phase's guests in one order; while the boxes are apart only copies go to another box."""
        order = [number for number, story in enumerate(stories) for _ in story]
        order += [len(stories) + number for number in later]
        self._rng.shuffle(order)
        told: Counter[int] = Counter()
        last: dict[int, Guest] = {len(stories) + number: guest for number, guest in self._later.items()}
        for number in order:
            is_later = number >= len(stories)
            visit = later[number - len(stories)] if is_later else stories[number][told[number]]
            told[number] += 1
            last[number] = self._guest(visit, last.get(number), is_apart)
            if is_later:
                self._later[number - len(stories)] = last[number]
            yield last[number]

    def _guest(self, visit: Visit, before: Guest | None, is_apart: bool) -> Guest:
        lane = min(self._lanes_for(visit, before, is_apart), key=lambda lane: (self._load[lane], lane))
        self._load[lane] += 1
        self._invited += 1
        return Guest(
            id=f"v{self._invited:03d}",
            kind=visit.kind,
            code=visit.code,
            expected=((visit.verdict, visit.reason),),
            key=visit.key,
            passes=visit.passes,
            follows=before.id if before else "",
            lane=lane,
        )

    def _lanes_for(self, visit: Visit, before: Guest | None, is_apart: bool) -> list[str]:
        lanes = list(self._box_of)
        if before is None:
            return lanes
        home = self._box_of[before.lane]
        if visit.kind == "copy_elsewhere":
            return [lane for lane in lanes if self._box_of[lane] != home]
        if is_apart:
            return [lane for lane in lanes if self._box_of[lane] == home]
        return [lane for lane in lanes if visit.kind != "copy" or lane != before.lane]
