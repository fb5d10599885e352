"""When to try a lost link again. Pure."""

from __future__ import annotations

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 15.0


def backoff_s(attempt: int, chance: float, longest_s: float = LONGEST_WAIT_S) -> float:
    """Return how long to wait before the `attempt`-th try in a row (from 1), with `chance` in [0, 1).

    Doubles up to a bound, then spreads over the upper half: after a broker's restart a hundred boxes must neither
    knock in step nor stay away for minutes.
    """
    full_s: float = min(longest_s, FIRST_WAIT_S * 2.0 ** min(attempt - 1, 30))
    return full_s * (0.5 + chance / 2)
