"""How long a decoder rests: tables and an invariant over any course of work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.share import Share


def test_work_within_the_share_never_rests() -> None:
    """25 frames a second of 3 ms leave the decoder alone."""
    share = Share(80)
    assert [share.rest_s(0.003, 0.04) for _ in range(1000)] == [0.0] * 1000


def test_a_visitor_gets_a_burst() -> None:
    """A few costly looks at once are paid from what was saved up."""
    share = Share(50)
    assert share.rest_s(0.12, 0.12) == 0.0
    assert share.rest_s(0.12, 0.12) == 0.0


def test_rest_is_bounded() -> None:
    """Whatever one picture cost, its lane looks again 0.2 s later."""
    assert Share(10).rest_s(30.0, 30.0) == pytest.approx(0.2)


@given(st.integers(10, 100), st.lists(st.floats(0.0, 0.15), min_size=1, max_size=200))
def test_the_share_is_kept(share_pct: int, course: list[float]) -> None:
    """Over any course of frames work stays within the share of the time that passed, and one burst."""
    share = Share(share_pct)
    worked_s = passed_s = rest_s = 0.0
    for frame_s in course:
        worked_s += frame_s
        passed_s += frame_s + rest_s
        rest_s = share.rest_s(frame_s, frame_s + rest_s)
        assert 0.0 <= rest_s <= 0.2 + 1e-9
    longest_debt_s = 0.15  # of the last frame, still to be rested off
    forgiven_s = sum(max(0.0, frame_s - 0.2 * share_pct / 100) for frame_s in course)
    assert worked_s <= passed_s * share_pct / 100 + 0.2 + longest_debt_s + forgiven_s
