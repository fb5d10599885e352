"""What every signed code must satisfy: its time, and a key that is still trusted."""

from __future__ import annotations

from admission.answers import Decision
from admission.reasons import Reason


def outside(from_s: int, until_s: int, now_s: int) -> Reason | None:
    """Return why `now_s` lies outside [`from_s`, `until_s`), or None when it lies inside."""
    if now_s < from_s:
        return Reason.TOO_EARLY
    return Reason.EXPIRED if now_s >= until_s else None


def withdrawn(key_id: bytes) -> Decision:
    """Return the decision on a code whose key was withdrawn and that nothing else vouches for."""
    return Decision(Reason.KEY_WITHDRAWN, detail=f"key {key_id.hex()} was withdrawn")
