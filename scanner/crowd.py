"""Whether a picture is a crowd of finder patterns: readers would try every three of them, for as long as that takes.

Pure. A sample of rows is searched for the 1:1:3:1:1 of a finder pattern's middle; it counts where three rows that lie
beside each other show it in the same place, as noise hardly ever does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MANY = 40
"""More than these in the sample is a crowd: a page of twenty codes shows about half as many, noise a few."""
LEAST_PX = 100
"""A smaller picture costs no reader much."""
_SAMPLES = 12
_BESIDE = 3
_BIN_PX = 2
_SLACK = 0.5
"""By how much of a module each run may be off."""


def is_crowd(gray: NDArray[np.uint8]) -> bool:
    """Whether readers had better look at a part of `gray` (height x width) only."""
    height, width = gray.shape
    if min(height, width) < LEAST_PX:
        return False
    tops = np.linspace(0, height - _BESIDE, _SAMPLES).astype(np.intp)
    found = _finders(gray[tops])
    for beside in range(1, _BESIDE):
        if np.count_nonzero(found) <= MANY:
            return False  # as nearly always: the rows beside them need not be looked at
        found &= _finders(gray[tops + beside])
    return int(np.count_nonzero(found)) > MANY


def _finders(rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the rows show a finder pattern's middle: rows x bins of the width."""
    count, width = rows.shape
    is_dark = rows < rows.mean(axis=1, keepdims=True)
    flat = is_dark.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    found = np.zeros((count, width // _BIN_PX + 2), bool)
    if len(edges) < 6:
        return found
    runs = np.diff(edges).astype(np.float32)
    windows = [runs[at : len(runs) - 4 + at] for at in range(5)]
    module = sum(windows[1:], windows[0]) / 7
    fits = flat[edges[: len(windows[0])]]
    for window, modules in zip(windows, (1, 1, 3, 1, 1), strict=True):
        fits = fits & (np.abs(window - modules * module) <= _SLACK * module * modules)
    starts = edges[: len(fits)][fits] + (3.5 * module[fits]).astype(np.intp)
    row, column = np.divmod(starts, width)
    inside = row < count
    found[row[inside], column[inside] // _BIN_PX] = True
    found[row[inside], column[inside] // _BIN_PX + 1] = True  # a middle may lie on the bins' border
    return found
