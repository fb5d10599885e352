"""Histograms of waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gate_agent.buckets import Buckets


def test_a_value_on_a_bound_lies_within_it() -> None:
    """Bounds are inclusive, as Prometheus has them, and what lies beyond all of them counts in the last."""
    buckets = Buckets((1, 2))
    for value in (0.5, 1, 1.5, 2, 3):
        buckets.add(value)
    assert buckets.cumulative() == [("1", 2), ("2", 4), ("+Inf", 5)]
    assert buckets.total == 8


@given(st.lists(st.floats(0, 10)))
def test_counts_only_grow_from_bound_to_bound(values: list[float]) -> None:
    """The cumulative counts never fall, and the last holds every value."""
    buckets = Buckets()
    for value in values:
        buckets.add(value)
    counts = [count for _, count in buckets.cumulative()]
    assert counts == sorted(counts)
    assert counts[-1] == len(values)
