"""How long a thread rests so that it takes no more than its share of a core. Pure: times are arguments."""

from __future__ import annotations

_BURST_S = 0.2
_LONGEST_REST_S = 0.2


class Share:
    """A budget of processor time that fills as time goes by.

    `share_pct` is per cent of one core. Up to 0.2 s are saved up, so that a visitor's code gets every look it
    needs at once; what was overdrawn is rested off, at most 0.2 s at a time, so that a costly picture holds its
    own lane up no longer than that.
    """

    def __init__(self, share_pct: int) -> None:
        self._share = share_pct / 100
        self._saved_s = _BURST_S

    def rest_s(self, worked_s: float, passed_s: float) -> float:
        """How long to rest after `worked_s` of processor time within the `passed_s` since the last call."""
        saved_s = self._saved_s + passed_s * self._share - worked_s
        self._saved_s = min(_BURST_S, max(saved_s, -_LONGEST_REST_S * self._share))
        return max(0.0, -self._saved_s / self._share)
