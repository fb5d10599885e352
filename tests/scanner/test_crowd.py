"""What is taken for a crowd of finder patterns, and what never is."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scanner.crowd import LEAST_PX, is_crowd
from simulator.pictures import shots, wall
from tests.scanner.pictures import Picture

HOSTILE = {"finders", "bars", "modules"}


@pytest.mark.parametrize("module_px", [2, 3, 4, 6, 8, 12])
@pytest.mark.parametrize("shape", [(480, 640), (720, 1280), (1080, 1920)])
def test_a_wall_of_finder_patterns_is_one(module_px: int, shape: tuple[int, int]) -> None:
    """Of whatever size, as long as a picture holds many."""
    if module_px * 9 * 12 <= shape[0]:
        assert is_crowd(wall(module_px, *shape))


def test_what_a_gate_sees_is_none() -> None:
    """Showings under every condition, empty scenes, and noise: none is looked at less for it."""
    seen = [shot for shot in islice(shots(7), 300) if shot.kind not in HOSTILE]
    assert len(seen) > 200
    assert [shot.kind for shot in seen if is_crowd(shot.picture)] == []


@given(arrays(np.uint8, st.tuples(st.integers(0, 140), st.integers(0, 140))))
def test_any_picture_is_judged(picture: Picture) -> None:
    """Whatever its size; a small one never is a crowd."""
    if min(picture.shape) < LEAST_PX:
        assert not is_crowd(picture)
    else:
        is_crowd(picture)
