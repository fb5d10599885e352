"""The barrier's state machine, row by row."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.passage import Signal, State, Step, may_release, step
from admission.tickets import Outcome, is_held

S, I, O = State, Signal, Outcome  # noqa: E741 - a table is read as columns

# state, signal, next state, how the admission ended, what happened without one
TABLE: list[tuple[State, Signal, State, Outcome | None, Outcome | None]] = [
    (S.CLOSED, I.RELEASE, S.RELEASED, None, None),
    (S.CLOSED, I.PASSED, S.CLOSED, None, O.FORCED),
    (S.CLOSED, I.TAILGATED, S.CLOSED, None, O.TAILGATED),
    (S.CLOSED, I.FORCED, S.FORCED, None, O.FORCED),
    (S.CLOSED, I.LOST, S.LOST, None, None),
    (S.RELEASED, I.PASSED, S.PASSING, O.PASSED, None),
    (S.RELEASED, I.CLOSED, S.CLOSED, O.ABANDONED, None),
    (S.RELEASED, I.TAILGATED, S.PASSING, O.TAILGATED, None),
    (S.RELEASED, I.FORCED, S.FORCED, O.FORCED, None),
    (S.RELEASED, I.TIME_UP, S.OVERDUE, O.UNKNOWN, None),
    (S.RELEASED, I.LOST, S.LOST, O.UNKNOWN, None),
    (S.PASSING, I.PASSED, S.PASSING, None, O.TAILGATED),
    (S.PASSING, I.CLOSED, S.CLOSED, None, None),
    (S.PASSING, I.TAILGATED, S.PASSING, None, O.TAILGATED),
    (S.PASSING, I.FORCED, S.FORCED, None, O.FORCED),
    (S.PASSING, I.LOST, S.LOST, None, None),
    (S.OVERDUE, I.PASSED, S.PASSING, O.PASSED, None),
    (S.OVERDUE, I.CLOSED, S.CLOSED, None, None),
    (S.OVERDUE, I.TAILGATED, S.OVERDUE, None, O.TAILGATED),
    (S.OVERDUE, I.FORCED, S.FORCED, None, O.FORCED),
    (S.OVERDUE, I.LOST, S.LOST, None, None),
    (S.FORCED, I.PASSED, S.FORCED, None, O.FORCED),
    (S.FORCED, I.CLOSED, S.CLOSED, None, None),
    (S.FORCED, I.LOST, S.LOST, None, None),
    (S.LOST, I.RECOVERED, S.CLOSED, None, None),
    (S.LOST, I.CLOSED, S.CLOSED, None, None),
    (S.LOST, I.PASSED, S.LOST, O.PASSED, None),
]
MEANT = {(state, signal): Step(after, outcome, incident) for state, signal, after, outcome, incident in TABLE}


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)), ids=lambda value: value.name)
def test_every_signal_means_what_the_table_says(state: State, signal: Signal) -> None:
    """A signal that is not in the table changes nothing and closes nothing."""
    assert step(state, signal) == MEANT.get((state, signal), Step(state))


@pytest.mark.parametrize("state", State)
def test_only_a_closed_barrier_lets_the_next_visitor_in(state: State) -> None:
    """In every other state someone may be in the lane, or nobody knows."""
    assert may_release(state) is (state is State.CLOSED)


@pytest.mark.parametrize("state", State)
def test_a_working_turnstile_always_gets_back_to_closed(state: State) -> None:
    """No state is a trap."""
    assert step(step(state, Signal.RECOVERED).state, Signal.CLOSED).state is State.CLOSED


@settings(max_examples=80)
@given(
    st.lists(st.sampled_from(sorted(set(Signal) - {I.RELEASE, I.LOST}, key=lambda s: s.value)), max_size=8)
)
def test_nobody_goes_through_unseen(signals: list[Signal]) -> None:
    """After one release, each passage that a connected sensor reports is the admission's or an incident of its own."""
    state = State.RELEASED
    passages, outcomes, incidents = 0, set[Outcome](), 0
    for signal in signals:
        after = step(state, signal)
        passages += signal is Signal.PASSED
        incidents += signal is Signal.PASSED and after.incident is not None
        outcomes |= {after.outcome} if after.outcome else set()
        state = after.state
    assert passages == incidents + (Outcome.PASSED in outcomes)
    assert Outcome.PASSED not in outcomes or is_held(outcomes)
