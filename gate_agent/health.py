"""What is well and what is not: one picture of the box for pages, probes and the centre."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from admission.facts import ListInfo
from admission.passage import State
from admission.tickets import Outcome
from gate_agent.clock import Setting
from gate_agent.lane import Lane
from gate_agent.ports import Attendant, Clock
from gate_agent.tally import Shown
from sync.protocol import NeighbourHealth


class Eye(Protocol):
    """A lane's camera, as a page shows it."""

    def status(self) -> CameraStatus:
        """Return how the camera does."""

    def jpeg(self, width: int) -> bytes | None:
        """Return its newest picture with the code outlined, or None before the first."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """How a camera does; `problem` is empty when pictures come that can show a code."""

    state: str
    fps: float
    age_ms: int | None
    decode_ms: float
    problem: str
    decoded: int = 0
    """Pictures looked at since the process started."""
    trouble: str = ""
    """The problem as one word, for machines."""
    do_en: str = ""
    """What to do about it; `do_zh` says it in Chinese."""
    do_zh: str = ""
    stage: str = ""
    """The decoder's stage that read a code last; `reads` has the pictures that each stage read a code in."""
    reads: Mapping[str, int] = field(default_factory=dict)
    decode_age_p50_ms: float | None = None
    """From capture to decoded, over the last seconds; `decode_age_p99_ms` likewise."""
    decode_age_p99_ms: float | None = None
    refused: Sequence[str] = ()
    """Settings that the device did not take, in words."""


@dataclass(frozen=True, slots=True)
class Post:
    """A lane with its camera, if it has one."""

    lane: Lane
    eye: Eye | None
    attendant: Attendant | None = None
    """Who tells of passages where there is no barrier."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """How the box hears the other boxes of its site."""

    is_up: bool
    neighbours: Sequence[NeighbourHealth]
    problems: Sequence[str]


@dataclass(frozen=True, slots=True)
class BoxView:
    """Where the picture of the box comes from."""

    box_id: str
    site_id: str
    session: str
    posts: Mapping[str, Post]
    list_info: Callable[[], ListInfo | None]
    own_problems: Callable[[], list[str]]
    link_is_up: Callable[[], bool]
    link_problems: Callable[[], list[str]]
    backlog: Callable[[], Awaitable[int]]
    diary_backlog: Callable[[], Awaitable[int]]
    clock: Clock
    policy_version: Callable[[], str]
    set_clock: Callable[[int], Setting] = lambda _: Setting.TOO_EARLY
    """Takes a supervisor's word for the time; False when it cannot be."""
    neighbourhood: Callable[[], Neighbourhood | None] = lambda: None
    """None where the box has no site broker."""

    def problems(self) -> list[str]:
        """Return everything that is wrong and can be worked with, for people; empty when all is well."""
        found = self.own_problems()
        if self.list_info() is None:
            found.append("no list: only signed tickets within the bootstrap limit are admitted")
        found += self.link_problems()
        if (neighbourhood := self.neighbourhood()) is not None:
            found += neighbourhood.problems
        for lane_id, post in self.posts.items():
            if post.eye is not None and (problem := post.eye.status().problem):
                found.append(f"lane {lane_id}: {problem}")
            if post.lane.state is State.LOST:
                found.append(f"lane {lane_id}: the turnstile is not connected")
            if post.lane.state is State.OVERDUE:
                found.append(f"lane {lane_id}: the barrier does not say that it has closed")
        return found

    def list_age_s(self) -> int:
        """Return how old the list is, seconds; 0 without one."""
        info = self.list_info()
        return max(0, self.clock.wall_ms() // 1000 - info.tickets_as_of_s) if info else 0

    async def state(self) -> dict[str, Any]:
        """Return the whole picture as JSON values."""
        info = self.list_info()
        neighbourhood = self.neighbourhood()
        return {
            "box": {
                "box_id": self.box_id,
                "site_id": self.site_id,
                "session": self.session,
                "link_up": self.link_is_up(),
                "site_link_up": neighbourhood.is_up if neighbourhood else None,
                "neighbours": msgspec.to_builtins(neighbourhood.neighbours) if neighbourhood else [],
                "list_version": info.version if info else 0,
                "list_age_s": self.list_age_s(),
                "policy_version": self.policy_version(),
                "backlog": await self.backlog(),
                "diary_backlog": await self.diary_backlog(),
                "problems": self.problems(),
            },
            "lanes": [_lane_state(lane_id, post) for lane_id, post in self.posts.items()],
        }


def _lane_state(lane_id: str, post: Post) -> dict[str, Any]:
    tally = post.lane.tally
    return {
        "id": lane_id,
        "barrier": post.lane.state.name,
        "camera": _camera_state(post.eye.status()) if post.eye else None,
        "last": _shown_state(tally.last) if tally.last else None,
        "reasons": {reason.value: count for reason, count in sorted(tally.reasons.items())},
        "passed": tally.outcomes[Outcome.PASSED],
        "abandoned": tally.outcomes[Outcome.ABANDONED],
        "frame_to_release_ms": {"p50": tally.wait_ms(0.5), "p99": tally.wait_ms(0.99)},
    }


def _camera_state(status: CameraStatus) -> dict[str, Any]:
    return {
        "state": status.state,
        "fps": status.fps,
        "age_ms": status.age_ms,
        "decode_ms": round(status.decode_ms, 1),
        "problem": status.problem,
        "trouble": status.trouble,
        "do_en": status.do_en,
        "do_zh": status.do_zh,
        "stage": status.stage,
        "reads": dict(status.reads),
        "decode_age_ms": {"p50": status.decode_age_p50_ms, "p99": status.decode_age_p99_ms},
        "refused": list(status.refused),
    }


def _shown_state(shown: Shown) -> dict[str, Any]:
    reason = shown.answer.decision.reason
    wording = reason.wording
    return {
        "verdict": reason.verdict.value,
        "reason": reason.value,
        "zh": wording.zh,
        "en": wording.en,
        "staff_zh": wording.staff_zh,
        "staff_en": wording.staff_en,
        "detail": shown.answer.decision.detail,
        "record": shown.answer.record,
        "at_ms": shown.at_ms,
    }
