"""The one way to ask for the time."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the wall time, UTC milliseconds."""


def wall_clock_ms() -> int:
    """Return the machine's time, UTC milliseconds."""
    return time.time_ns() // 1_000_000
