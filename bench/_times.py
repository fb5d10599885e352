"""How times are summed up, the same in every benchmark."""

from __future__ import annotations

from collections.abc import Sequence


def at_share(values: Sequence[float], share: float) -> float:
    """Return the value that the share of all values lies below, three digits behind the point."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


def summed_up(values: Sequence[float]) -> dict[str, float]:
    """Return how many there are, the middle one, the one in a hundred, and the worst."""
    shares = {"p50": 0.5, "p99": 0.99, "worst": 1.0}
    return {"count": len(values)} | {name: at_share(values, share) for name, share in shares.items()}
