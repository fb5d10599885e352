"""The machine's clocks."""

from __future__ import annotations

import time


class SystemClock:
    """Wall time from the system, monotonic time from the kernel."""

    def wall_ms(self) -> int:
        """Return UTC milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary start."""
        return time.monotonic_ns()
