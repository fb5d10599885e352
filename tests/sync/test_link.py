"""How long a lost link is left alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.link import FIRST_WAIT_S, LONGEST_WAIT_S, backoff_s

CHANCES = st.floats(0, 1, exclude_max=True)


@settings(max_examples=50)
@given(st.integers(1, 10**9), CHANCES)
def test_every_wait_is_bounded(attempt: int, chance: float) -> None:
    """Never at once, never for minutes, however long it has failed."""
    assert FIRST_WAIT_S / 2 <= backoff_s(attempt, chance) <= LONGEST_WAIT_S


def test_waits_double_up_to_the_bound() -> None:
    """At the lowest chance: half a step."""
    waits = [backoff_s(attempt, 0.0) for attempt in range(1, 9)]
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 7.5, 7.5, 7.5]


@settings(max_examples=50)
@given(st.integers(1, 100), CHANCES, CHANCES)
def test_chance_spreads_a_wait_over_its_upper_half(attempt: int, one: float, other: float) -> None:
    """Boxes that lost the same broker do not come back in step, and none comes twice as late as another."""
    low, high = sorted((backoff_s(attempt, one), backoff_s(attempt, other)))
    assert high <= 2 * low
    assert (low == high) or (one != other)
