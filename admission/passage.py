"""The state machine of one lane's barrier: what each signal means for the admission in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from admission.tickets import Outcome


class State(Enum):
    """What the barrier is doing."""

    CLOSED = auto()
    RELEASED = auto()
    PASSING = auto()
    OVERDUE = auto()
    FORCED = auto()
    LOST = auto()


class Signal(Enum):
    """What the lane, its timer or the turnstile reports."""

    RELEASE = auto()
    PASSED = auto()
    CLOSED = auto()
    TAILGATED = auto()
    FORCED = auto()
    TIME_UP = auto()
    LOST = auto()
    RECOVERED = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """Where a signal leads.

    `outcome` closes the admission in the lane. `incident` is recorded although no admission covers it.
    """

    state: State
    outcome: Outcome | None = None
    incident: Outcome | None = None


_S, _I = State, Signal

_STEPS: dict[tuple[State, Signal], Step] = {
    (_S.CLOSED, _I.RELEASE): Step(_S.RELEASED),
    (_S.RELEASED, _I.PASSED): Step(_S.PASSING, outcome=Outcome.PASSED),
    # Closed and nobody passed, said by a working sensor: the right goes back to its holder.
    (_S.RELEASED, _I.CLOSED): Step(_S.CLOSED, outcome=Outcome.ABANDONED),
    # The turnstile never said what happened: held as used until someone knows better.
    (_S.RELEASED, _I.TIME_UP): Step(_S.OVERDUE, outcome=Outcome.UNKNOWN),
    (_S.RELEASED, _I.LOST): Step(_S.LOST, outcome=Outcome.UNKNOWN),
    (_S.RELEASED, _I.TAILGATED): Step(_S.PASSING, outcome=Outcome.TAILGATED),
    (_S.RELEASED, _I.FORCED): Step(_S.FORCED, outcome=Outcome.FORCED),
    # The visitor is through; until the barrier closes, whoever follows has no admission.
    (_S.PASSING, _I.CLOSED): Step(_S.CLOSED),
    (_S.PASSING, _I.LOST): Step(_S.LOST),
    (_S.PASSING, _I.TAILGATED): Step(_S.PASSING, incident=Outcome.TAILGATED),
    (_S.PASSING, _I.PASSED): Step(_S.PASSING, incident=Outcome.TAILGATED),
    (_S.PASSING, _I.FORCED): Step(_S.FORCED, incident=Outcome.FORCED),
    (_S.OVERDUE, _I.CLOSED): Step(_S.CLOSED),
    (_S.OVERDUE, _I.PASSED): Step(_S.PASSING, outcome=Outcome.PASSED),
    (_S.OVERDUE, _I.TAILGATED): Step(_S.OVERDUE, incident=Outcome.TAILGATED),
    (_S.OVERDUE, _I.FORCED): Step(_S.FORCED, incident=Outcome.FORCED),
    (_S.OVERDUE, _I.LOST): Step(_S.LOST),
    (_S.FORCED, _I.CLOSED): Step(_S.CLOSED),
    (_S.FORCED, _I.LOST): Step(_S.LOST),
    (_S.FORCED, _I.PASSED): Step(_S.FORCED, incident=Outcome.FORCED),
    # A turnstile that is heard again says that its barrier is closed, or will say so when it is.
    (_S.LOST, _I.RECOVERED): Step(_S.CLOSED),
    (_S.LOST, _I.CLOSED): Step(_S.CLOSED),
    (_S.LOST, _I.PASSED): Step(_S.LOST, outcome=Outcome.PASSED),
    (_S.CLOSED, _I.LOST): Step(_S.LOST),
    (_S.CLOSED, _I.FORCED): Step(_S.FORCED, incident=Outcome.FORCED),
    (_S.CLOSED, _I.PASSED): Step(_S.CLOSED, incident=Outcome.FORCED),
    (_S.CLOSED, _I.TAILGATED): Step(_S.CLOSED, incident=Outcome.TAILGATED),
}


def step(state: State, signal: Signal) -> Step:
    """Return where `signal` leads from `state`; a signal that means nothing there changes nothing."""
    return _STEPS.get((state, signal), Step(state))


def may_release(state: State) -> bool:
    """Return whether the next visitor can be let in."""
    return state is State.CLOSED
